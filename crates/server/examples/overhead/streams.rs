//! Streams with the server and without it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Instant;

use ds4_engine::{Engine, Output, Request, Sampling, SamplingFields, end_of_turn};
use ds4_prompt::dsml::{Reading, Tools};

/// Pairs of runs, in turns, so that whatever else the machine does falls on both.
const PAIRS: usize = 7;

/// Prints how fast streams are with the server and without it.
pub(crate) fn compare(engine: &Engine, address: SocketAddr, sessions: usize, tokens: u32) {
    let ends = end_of_turn(engine.tokenizer().unwrap());
    let mut spent = [0.0; 2];
    let mut pairs: Vec<(f64, f64, f64)> = (0..PAIRS)
        .map(|_| {
            let begun = processor();
            let alone = alone(engine, sessions, tokens);
            let between = processor();
            let served = served(address, &ends, sessions, tokens);
            spent[0] += between - begun;
            spent[1] += processor() - between;
            (served / alone, alone, served)
        })
        .collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (ratio, alone, served) = pairs[PAIRS / 2];
    println!(
        "{sessions} sessions: engine {alone:.0} t/s, served {served:.0} t/s, {:.1} % (median of \
         {PAIRS} pairs; {:.1} to {:.1} %)",
        100.0 * ratio,
        100.0 * pairs[0].0,
        100.0 * pairs[PAIRS - 1].0
    );
    let [alone, served] = spent;
    println!("processor time {alone:.2} s and {served:.2} s, clients included");
}

/// Seconds of processor time that this process has had, in hundredths; 0 where the system does not
/// tell.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name: state, ten fields, user time, system time.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let times = fields.split_whitespace().skip(11).take(2);
    times
        .filter_map(|time| time.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}

/// Tokens a second of the engine alone, read into pieces as the server reads them.
fn alone(engine: &Engine, sessions: usize, tokens: u32) -> f64 {
    let begun = Instant::now();
    let told: u32 = thread::scope(|scope| {
        let one = |seed: u64| {
            let session = engine.session().unwrap();
            let fields = SamplingFields {
                seed,
                min_p: 0.05,
                logit_bias: vec![(1, -1000.0)],
                ..SamplingFields::default()
            };
            let reading = Reading {
                tools: Tools::Inactive,
                ..Reading::default()
            };
            let request = Request {
                reading: Some(reading),
                ..Request::tokens(vec![0, 300, 301], tokens, Sampling::new(fields).unwrap())
            };
            let outputs = session.generate(request).unwrap();
            outputs
                .filter(|output| matches!(output, Output::Token(_)))
                .count() as u32
        };
        let all: Vec<_> = (0..sessions as u64)
            .map(|seed| scope.spawn(move || one(seed)))
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).sum()
    });
    f64::from(told) / begun.elapsed().as_secs_f64()
}

pub(crate) fn send(address: SocketAddr, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Tokens a second of streams over sockets.
fn served(address: SocketAddr, ends: &[u32], sessions: usize, tokens: u32) -> f64 {
    // Nothing ends a turn before its time.
    let ends: Vec<String> = ends.iter().map(|id| format!("\"{id}\": -1000")).collect();
    let bias = ends.join(", ");
    let body = format!(
        r#"{{"messages": [{{"role": "user", "content": "a"}}], "think": false, "stream": true,
            "stream_options": {{"include_usage": true}}, "max_tokens": {tokens},
            "logit_bias": {{{bias}}}}}"#
    );
    let begun = Instant::now();
    let told: u32 = thread::scope(|scope| {
        let one = || {
            let mut reply = String::new();
            send(address, &body).read_to_string(&mut reply).unwrap();
            assert!(reply.contains("data: [DONE]"), "{reply}");
            let (_, usage) = reply.rsplit_once("\"completion_tokens\":").unwrap();
            let end = usage.find(|c: char| !c.is_ascii_digit()).unwrap();
            usage[..end].parse::<u32>().unwrap()
        };
        let all: Vec<_> = (0..sessions).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|one| one.join().unwrap()).sum()
    });
    let took = begun.elapsed().as_secs_f64();
    assert_eq!(told, tokens * sessions as u32);
    f64::from(told) / took
}

/// Milliseconds until the first event, the median of many.
pub(crate) fn first_event(address: SocketAddr) -> f64 {
    let body =
        r#"{"messages": [{"role": "user", "content": "a"}], "stream": true, "max_tokens": 1}"#;
    let mut times: Vec<f64> = (0..50)
        .map(|_| {
            let begun = Instant::now();
            let mut stream = send(address, body);
            let (mut seen, mut bytes) = (Vec::new(), [0; 4096]);
            while !seen.windows(6).any(|part| part == b"data: ") {
                let count = stream.read(&mut bytes).unwrap();
                seen.extend_from_slice(&bytes[..count]);
            }
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
