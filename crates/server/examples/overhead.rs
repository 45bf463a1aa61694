//! What the server adds to the engine: tokens a second with and without it, at 1 and 8 sessions;
//! how long the first event takes; how long a large request takes to become a prompt; how long a
//! prompt takes that is in memory already.
//!
//!     cargo run --release -p ds4-server --example overhead -- [MODEL] [TOKENS] [LONG]
//!
//! MODEL is a file, the demo model by default, or `tiny`: a model so small that the engine is as
//! fast as it ever will be and nothing hides the server's share. TOKENS are those of an answer, LONG
//! those of the long prompt.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and stops where something is wrong"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use ds4_cpu::Options as CpuOptions;
use ds4_engine::{
    Engine, Options, Output, PAGE_TOKENS, Request, Sampling, SamplingFields, end_of_turn, load_cpu,
};
use ds4_gguf::Gguf;
use ds4_model::Recipe;
use ds4_model::synthetic::{Synthetic, tiny};
use ds4_prompt::Tokenizer;
use ds4_prompt::dsml::{Reading, Tools};
use ds4_server::{Config, Model, Server, request_prompt};
use serde_json::Value;

const SESSIONS: usize = 8;

fn engine(file: &Gguf, long: usize) -> Engine {
    let context = (long + 4096).next_multiple_of(PAGE_TOKENS);
    let cpu = CpuOptions {
        slots: SESSIONS,
        pages: 2 * context / PAGE_TOKENS + 80,
        ..CpuOptions::default()
    };
    let options = Options {
        context,
        sessions: 2 * SESSIONS,
        ..Options::default()
    };
    let tokenizer = Arc::new(Tokenizer::from_gguf(file).unwrap());
    println!("{} threads", cpu.threads);
    let machine = Box::new(load_cpu(file, cpu).unwrap());
    Engine::start(machine, Some(tokenizer), options).unwrap()
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

fn send(address: SocketAddr, body: &str) -> TcpStream {
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
fn first_event(address: SocketAddr) -> f64 {
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

/// Milliseconds from a body of 4.4 MB to its rendered prompt, the best of several.
fn large() -> f64 {
    let text = "fn main() { println!(\\\"hello\\\"); }\\n".repeat(600);
    let turn = format!(
        r#"{{"role": "assistant", "content": "", "tool_calls": [{{"id": "c", "type": "function",
            "function": {{"name": "read", "arguments": "{{\"path\": \"a\"}}"}}}}]}},
            {{"role": "tool", "tool_call_id": "c", "content": "{text}"}}"#
    );
    let turns = vec![turn; 4_400_000 / 22_000].join(",");
    let body = format!(r#"{{"messages": [{{"role": "user", "content": "go"}}, {turns}]}}"#);
    let times = (0..5).map(|_| {
        let begun = Instant::now();
        request_prompt("/v1/chat/completions", &body).unwrap();
        begun.elapsed().as_secs_f64() * 1e3
    });
    println!("a request of {:.1} MB", body.len() as f64 / 1e6);
    times.fold(f64::INFINITY, f64::min)
}

/// A prompt of so many tokens that is in memory: milliseconds of its answer besides the one step of
/// the model that it takes, the best of several.
fn cached(address: SocketAddr, tokenizer: &Tokenizer, long: usize) -> f64 {
    let mut text = String::new();
    let mut tokens = 0;
    for line in 0.. {
        let piece = format!("{line}. The quick brown fox jumps over the lazy dog again.\\n");
        tokens += tokenizer.encode(&piece).len();
        if tokens > long {
            break;
        }
        text.push_str(&piece);
    }
    let ask = |most: u32| {
        let body = format!(
            r#"{{"messages": [{{"role": "user", "content": "{text}"}}], "think": false,
                "max_tokens": {most}, "logit_bias": {{"1": -1000}}}}"#
        );
        let begun = Instant::now();
        let mut reply = String::new();
        send(address, &body).read_to_string(&mut reply).unwrap();
        let took = begun.elapsed().as_secs_f64() * 1e3;
        let (_, json) = reply.split_once("\r\n\r\n").unwrap();
        let json: Value = serde_json::from_str(json).unwrap();
        let usage = &json["usage"];
        let prompt = usage["prompt_tokens"].as_u64().unwrap();
        let found = &usage["prompt_tokens_details"]["cached_tokens"];
        (took, prompt, prompt - found.as_u64().unwrap())
    };
    let (took, prompt, computed) = ask(1);
    println!("{prompt} tokens, {computed} of them computed: {took:.0} ms");
    let best = |most| {
        let asked = (0..5).map(|_| ask(most));
        asked.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
    };
    let (one, nine) = (best(1), best(9));
    let step = (nine.0 - one.0) / 8.0;
    let computed = one.2;
    println!(
        "again, {computed} computed: {:.1} ms, a step {step:.1} ms",
        one.0
    );
    one.0 - step
}

fn main() {
    let mut words = std::env::args().skip(1);
    let model = words.next();
    let model = model.as_deref().unwrap_or("models/demo/demo.gguf");
    let number = |word: Option<String>, usual| word.map_or(usual, |word| word.parse().unwrap());
    let tokens = number(words.next(), 1000) as u32;
    let long = number(words.next(), 100_000);
    let file = match model {
        "tiny" => Synthetic::reference(tiny(), 1, Recipe::FLOAT)
            .model()
            .unwrap(),
        path => Gguf::open(path.as_ref()).unwrap(),
    };
    let engine = engine(&file, long);
    let config = Config {
        address: "127.0.0.1:0".parse().unwrap(),
        ..Config::default()
    };
    let server = Server::bind(config, Box::new(std::io::sink())).unwrap();
    let address = server.address();
    server
        .loading()
        .ready(Model::new(engine.clone(), "measured").unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let running = thread::spawn(move || server.run(&stopped).unwrap());
    println!("becomes a prompt in {:.1} ms", large());
    let first = first_event(address);
    println!("first event after {first:.2} ms (median of 50)");
    let ends = end_of_turn(engine.tokenizer().unwrap());
    for sessions in [1, SESSIONS] {
        // In turns, so that whatever else the machine does falls on both.
        let mut spent = [0.0; 2];
        let mut ratios: Vec<(f64, f64, f64)> = (0..5)
            .map(|_| {
                let begun = processor();
                let alone = alone(&engine, sessions, tokens);
                let between = processor();
                let served = served(address, &ends, sessions, tokens);
                spent[0] += between - begun;
                spent[1] += processor() - between;
                (served / alone, alone, served)
            })
            .collect();
        ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (ratio, alone, served) = ratios[ratios.len() / 2];
        println!(
            "{sessions} sessions: engine {alone:.0} t/s, served {served:.0} t/s, {:.1} % (median of \
             5 pairs; {:.1} to {:.1} %)",
            100.0 * ratio,
            100.0 * ratios[0].0,
            100.0 * ratios[ratios.len() - 1].0
        );
        let [alone, served] = spent;
        println!("processor time {alone:.2} s and {served:.2} s, clients included");
    }
    let tokenizer = engine.tokenizer().unwrap();
    let host = cached(address, tokenizer, long);
    println!("found in memory: {host:.1} ms besides the step");
    stop.store(true, Ordering::Relaxed);
    running.join().unwrap();
}
