//! Mixed agents at eight sessions, for as long as wanted: every answer is checked, memory is
//! watched, and at the end every slot must be free.
//!
//! ```sh
//! cargo run -p ds4-server --example load -- [MINUTES] [SEED]
//! ```
//!
//! A small model, all in one process, loopback only. Agents of three dialects have tool round trips
//! whose words a script forces through the sampler; others ask what the model says by itself, which
//! must be what it said when it was asked alone, whatever is computed next to it and whatever of the
//! prompt was found in memory. Some leave in the middle, some read slowly. Conversations are kept
//! in memory and on disk, within bounds that are reached early: from then on memory is flat.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and stops where something is wrong"
)]

mod agents;
mod memory;
mod talk;

#[path = "../../tests/server/client.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod client;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ds4_cpu::{Arithmetic, Options as CpuOptions};
use ds4_engine::{Engine, Options, Store, load_cpu};
use ds4_model::Recipe;
use ds4_model::synthetic::{Synthetic, tiny};
use ds4_prompt::Tokenizer;
use ds4_server::{Config, Keep, Limits, Model, Script, Server};
use serde_json::Value;

use crate::agents::{Agent, Tally, noise};
use crate::client::Client;

const SESSIONS: usize = 8;

/// How much memory may differ between the beginning, once everything is warm, and the end.
const FLAT: f64 = 0.02;

fn engine(dir: &std::path::Path) -> Engine {
    let file = Synthetic::reference(tiny(), 1, Recipe::FLOAT).model();
    let file = file.unwrap();
    let cpu = CpuOptions {
        threads: 1,
        slots: SESSIONS,
        pages: 8 * SESSIONS,
        max_outputs: SESSIONS,
        // Answers do not depend on what else is computed.
        arithmetic: Arithmetic::Float,
        ..CpuOptions::default()
    };
    let options = Options {
        context: 4096,
        sessions: 2 * SESSIONS,
        kept_bytes: 4 << 20,
        store: Some(Store {
            dir: dir.join("kv"),
            bytes: 16_000_000,
            free: 0,
        }),
        ..Options::default()
    };
    let tokenizer = Arc::new(Tokenizer::from_gguf(&file).unwrap());
    let machine = Box::new(load_cpu(&file, cpu).unwrap());
    Engine::start(machine, Some(tokenizer), options).unwrap()
}

fn health(address: SocketAddr) -> Value {
    let mut client = Client::new(address);
    client.send("GET", "/health", &[], "");
    client.reply().ok()
}

/// Waits until nothing runs or waits. Whether that came.
fn is_idle(address: SocketAddr) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        let health = health(address);
        if health["running"] == 0 && health["waiting"] == 0 {
            return true;
        }
        thread::sleep(Duration::from_millis(50));
    }
    false
}

fn main() {
    let mut words = std::env::args().skip(1);
    let minutes: f64 = words.next().map_or(30.0, |word| word.parse().unwrap());
    let seed: u64 = words.next().map_or(1, |word| word.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        address: "127.0.0.1:0".parse().unwrap(),
        script: Some(Script::new(agents::script)),
        keep: Some(Keep {
            folder: dir.path().join("kv/turns"),
            bytes: 1 << 20,
        }),
        limits: Limits {
            remembered_bytes: 1 << 19,
            ..Limits::default()
        },
        ..Config::default()
    };
    let server = Server::bind(config, Box::new(std::io::sink())).unwrap();
    let address = server.address();
    let model = Model::new(engine(dir.path()), "tiny").unwrap();
    server.loading().ready(model);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let running = thread::spawn(move || server.run(&stopped).unwrap());

    // What the model says by itself, asked alone and cold.
    let truth: Vec<String> = (0..agents::QUESTIONS).map(|n| noise(address, n)).collect();
    let over = AtomicBool::new(false);
    let whole = Duration::from_secs_f64(60.0 * minutes);
    println!("{SESSIONS} agents for {minutes} minutes, seed {seed}");
    let (tally, samples) = thread::scope(|scope| {
        let begin = |at: u64| {
            let (truth, over) = (&truth, &over);
            scope.spawn(move || Agent::new(address, seed << 8 | at, truth).work(over))
        };
        let agents: Vec<_> = (0..SESSIONS as u64).map(begin).collect();
        let samples = memory::watch(whole, || agents.iter().any(|agent| agent.is_finished()));
        over.store(true, Ordering::Relaxed);
        let all = agents.into_iter().map(|agent| agent.join().unwrap());
        (all.fold(Tally::default(), Tally::plus), samples)
    });
    println!("{tally}");
    assert!(is_idle(address), "a slot is stuck: {}", health(address));
    // Every slot is there to be used.
    thread::scope(|scope| {
        let ask = |_| scope.spawn(|| assert_eq!(noise(address, 0), truth[0]));
        let all: Vec<_> = (0..SESSIONS).map(ask).collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    });
    stop.store(true, Ordering::Relaxed);
    assert!(running.join().unwrap(), "the server did not drain");
    let (early, late) = memory::ends(&samples);
    let grown = late / early - 1.0;
    println!(
        "memory: {early:.1} MB once warm, {late:.1} MB at the end, {:+.2} %",
        100.0 * grown
    );
    assert!(tally.is_good(), "prefixes were lost");
    assert!(grown < FLAT, "memory grows");
}
