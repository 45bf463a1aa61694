//! What the server adds to the engine: tokens a second with and without it, at 1 and 8 sessions;
//! how long the first event takes; how long a large request takes to become a prompt; how long a
//! prompt takes that is in memory already.
//!
//!     cargo run --release -p ds4-server --example overhead -- [MODEL] [TOKENS] [LONG] [DEVICE]
//!
//! MODEL is a file, the demo model by default, or `tiny`: a model so small that the engine is as
//! fast as it ever will be and nothing hides the server's share. TOKENS are those of an answer, LONG
//! those of the long prompt. DEVICE is `cuda`, or the number of threads that compute: all of them
//! by default, which leaves none for the server.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and stops where something is wrong"
)]

mod prompts;
mod streams;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ds4_cpu::Options as CpuOptions;
use ds4_engine::{CudaOptions, Engine, Machine, Options, PAGE_TOKENS, load_cpu, load_cuda};
use ds4_gguf::Gguf;
use ds4_model::Recipe;
use ds4_model::synthetic::{Synthetic, tiny};
use ds4_prompt::Tokenizer;
use ds4_server::{Config, Model, Server};

const SESSIONS: usize = 8;

fn engine(file: &Gguf, long: usize, device: Option<&str>) -> Engine {
    let context = (long + 4096).next_multiple_of(PAGE_TOKENS);
    let pages = 2 * context / PAGE_TOKENS + 80;
    let machine: Box<dyn Machine> = if device == Some("cuda") {
        let cuda = CudaOptions {
            slots: SESSIONS,
            pages,
            ..CudaOptions::default()
        };
        println!("on the card");
        Box::new(load_cuda(file, cuda, &mut |_, _| ControlFlow::Continue(())).unwrap())
    } else {
        let defaults = CpuOptions::default();
        let cpu = CpuOptions {
            slots: SESSIONS,
            pages,
            threads: device.map_or(defaults.threads, |threads| threads.parse().unwrap()),
            ..defaults
        };
        println!("{} threads", cpu.threads);
        Box::new(load_cpu(file, cpu).unwrap())
    };
    let options = Options {
        context,
        sessions: 2 * SESSIONS,
        ..Options::default()
    };
    let tokenizer = Arc::new(Tokenizer::from_gguf(file).unwrap());
    Engine::start(machine, Some(tokenizer), options).unwrap()
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |at: usize| words.get(at).map(String::as_str);
    let tokens = word(1).map_or(1000, |word| word.parse().unwrap());
    let long = word(2).map_or(100_000, |word| word.parse().unwrap());
    let file = match word(0).unwrap_or("models/demo/demo.gguf") {
        "tiny" => Synthetic::reference(tiny(), 1, Recipe::FLOAT)
            .model()
            .unwrap(),
        path => Gguf::open(path.as_ref()).unwrap(),
    };
    let engine = engine(&file, long, word(3));
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
    println!("becomes a prompt in {:.1} ms", prompts::large());
    let first = streams::first_event(address);
    println!("first event after {first:.2} ms (median of 50)");
    for sessions in [1, SESSIONS] {
        streams::compare(&engine, address, sessions, tokens);
    }
    let tokenizer = engine.tokenizer().unwrap();
    let host = prompts::cached(address, tokenizer, long);
    println!("found in memory: {host:.1} ms besides the step");
    stop.store(true, Ordering::Relaxed);
    running.join().unwrap();
}
