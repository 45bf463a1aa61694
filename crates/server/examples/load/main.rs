//! Mixed agents at eight sessions, for as long as wanted: every answer is checked, memory is
//! watched, and at the end every slot must be free.
//!
//! ```sh
//! cargo run -p ds4-server --example load -- [MINUTES] [SEED]
//! ```
//!
//! A small model, loopback only, the agents in a second process. Agents of three dialects have tool
//! round trips whose words a script forces through the sampler; others ask what the model says by
//! itself, which must be what it said when it was asked alone, whatever is computed next to it and
//! whatever of the prompt was found in memory. Some leave in the middle, some read slowly.
//! Conversations are kept in memory and on disk, within bounds that are reached early: from then on
//! memory is flat.

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
use std::process::{Child, Command};
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

/// Works as agents against a server for so long, and fails if anything is not as it must be.
fn work(address: SocketAddr, whole: Duration, seed: u64) {
    // What the model says by itself, asked alone and cold.
    let truth: Vec<String> = (0..agents::QUESTIONS).map(|n| noise(address, n)).collect();
    let over = AtomicBool::new(false);
    let tally = thread::scope(|scope| {
        let begin = |at: u64| {
            let (truth, over) = (&truth, &over);
            scope.spawn(move || Agent::new(address, seed << 8 | at, truth).work(over))
        };
        let agents: Vec<_> = (0..SESSIONS as u64).map(begin).collect();
        let begun = Instant::now();
        while begun.elapsed() < whole && !agents.iter().any(|agent| agent.is_finished()) {
            thread::sleep(Duration::from_millis(100));
        }
        over.store(true, Ordering::Relaxed);
        let all = agents.into_iter().map(|agent| agent.join().unwrap());
        all.fold(Tally::default(), Tally::plus)
    });
    println!("{tally}");
    assert!(is_idle(address), "a slot is stuck: {}", health(address));
    // Every slot is there to be used.
    thread::scope(|scope| {
        let ask = |_| scope.spawn(|| assert_eq!(noise(address, 0), truth[0]));
        let all: Vec<_> = (0..SESSIONS).map(ask).collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    });
    assert!(tally.is_good(), "prefixes were lost");
}

/// The agents in a process of their own: this one's memory is the server's.
fn agents(address: SocketAddr, minutes: f64, seed: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let words = [address.to_string(), minutes.to_string(), seed.to_string()];
    command.arg("agents").args(words).spawn().unwrap()
}

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let is_agents = words.first().is_some_and(|word| word == "agents");
    let address = is_agents.then(|| words.drain(..2).nth(1).unwrap());
    let minutes = words.first().map_or(30.0, |word| word.parse().unwrap());
    let seed = words.get(1).map_or(1, |word| word.parse().unwrap());
    let whole = Duration::from_secs_f64(60.0 * minutes);
    if let Some(address) = address {
        return work(address.parse().unwrap(), whole, seed);
    }
    // As `ds4 serve` does.
    ds4_engine::few_arenas();
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

    println!("{SESSIONS} agents for {minutes} minutes, seed {seed}");
    let mut agents = agents(address, minutes, seed);
    let samples = memory::watch(whole, || agents.try_wait().unwrap().is_some());
    assert!(agents.wait().unwrap().success(), "an agent failed");
    stop.store(true, Ordering::Relaxed);
    assert!(running.join().unwrap(), "the server did not drain");
    let (early, late) = memory::ends(&samples);
    let grown = late / early - 1.0;
    println!(
        "memory: {early:.1} MB once warm, {late:.1} MB at the end, {:+.2} %",
        100.0 * grown
    );
    assert!(grown < FLAT, "memory grows");
}
