//! What the server adds to the engine: tokens a second with and without it, at 1 and 8 sessions;
//! how long the first event takes; how long a large request takes to become a prompt.
//!
//!     cargo run --release -p ds4-server --example overhead
//!
//! The model is small, so that the engine is as fast as it ever will be and nothing hides the
//! server's share.

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
use ds4_engine::{Engine, Options, Output, Request, Sampling, SamplingFields, load_cpu};
use ds4_model::Recipe;
use ds4_model::synthetic::{Synthetic, tiny};
use ds4_prompt::Tokenizer;
use ds4_prompt::dsml::{Reading, Tools};
use ds4_server::{Config, Model, Server, request_prompt};

const TOKENS: u32 = 2000;

fn engine() -> Engine {
    let file = Synthetic::reference(tiny(), 1, Recipe::FLOAT)
        .model()
        .unwrap();
    let cpu = CpuOptions {
        threads: 1,
        slots: 8,
        pages: 80,
        ..CpuOptions::default()
    };
    let options = Options {
        context: 4096,
        ..Options::default()
    };
    let tokenizer = Arc::new(Tokenizer::from_gguf(&file).unwrap());
    let machine = Box::new(load_cpu(&file, cpu).unwrap());
    Engine::start(machine, Some(tokenizer), options).unwrap()
}

/// Tokens a second of the engine alone, read into pieces as the server reads them.
fn alone(engine: &Engine, sessions: usize) -> f64 {
    let begun = Instant::now();
    let tokens: u32 = thread::scope(|scope| {
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
                ..Request::tokens(vec![0, 300, 301], TOKENS, Sampling::new(fields).unwrap())
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
    f64::from(tokens) / begun.elapsed().as_secs_f64()
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
fn served(address: SocketAddr, sessions: usize) -> f64 {
    let body = format!(
        r#"{{"messages": [{{"role": "user", "content": "a"}}], "think": false, "stream": true,
            "max_tokens": {TOKENS}, "logit_bias": {{"1": -1000}}}}"#
    );
    let begun = Instant::now();
    thread::scope(|scope| {
        let one = || {
            let mut reply = String::new();
            send(address, &body).read_to_string(&mut reply).unwrap();
            assert!(reply.contains("data: [DONE]"), "{reply}");
        };
        let all: Vec<_> = (0..sessions).map(|_| scope.spawn(one)).collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    });
    f64::from(TOKENS) * sessions as f64 / begun.elapsed().as_secs_f64()
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

fn main() {
    let engine = engine();
    let config = Config {
        address: "127.0.0.1:0".parse().unwrap(),
        ..Config::default()
    };
    let server = Server::bind(config, Box::new(std::io::sink())).unwrap();
    let address = server.address();
    server
        .loading()
        .ready(Model::new(engine.clone(), "tiny").unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let running = thread::spawn(move || server.run(&stopped).unwrap());
    println!("becomes a prompt in {:.1} ms", large());
    println!(
        "first event after {:.2} ms (median of 50)",
        first_event(address)
    );
    for sessions in [1, 8] {
        // In turns, so that whatever else the machine does falls on both.
        let rounds: Vec<(f64, f64)> = (0..3)
            .map(|_| (alone(&engine, sessions), served(address, sessions)))
            .collect();
        let best = |pick: fn(&(f64, f64)) -> f64| rounds.iter().map(pick).fold(0.0, f64::max);
        let (alone, served) = (best(|round| round.0), best(|round| round.1));
        println!(
            "{sessions} sessions: engine {alone:.0} t/s, served {served:.0} t/s, {:.1} %",
            100.0 * served / alone
        );
    }
    stop.store(true, Ordering::Relaxed);
    running.join().unwrap();
}
