//! The held-out suite of the demo model, greedily on the CPU, or on an NVIDIA card; prints
//! the score.
//!
//! ```sh
//! cd models/demo && python3 generate.py cases --count 300 --seed 900 > /tmp/cases.jsonl && cd -
//! cargo run --release -p ds4-engine --example demo_suite -- models/demo/demo.gguf /tmp/cases.jsonl
//! ```
//!
//! A case is right if the calls are exactly the expected ones: how many, which tools, which
//! arguments with which values. Everything else is wrong, and printed.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "it prints a score, and stops at a file it cannot use"
)]

mod suite;

use std::collections::BTreeMap;
use std::path::PathBuf;

use suite::{Case, Suite};

fn main() {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let (model, cases, on_card) = match &arguments[..] {
        [model, cases] => (model, cases, false),
        [model, cases, device] if device.as_os_str() == "cuda" => (model, cases, true),
        _ => {
            eprintln!("usage: demo_suite MODEL.gguf CASES.jsonl [cuda]");
            std::process::exit(2);
        }
    };
    let suite = Suite::load(model, on_card);
    let cases = std::fs::read_to_string(cases).expect("the cases are readable");
    let mut scores: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut longest = 0;
    for case in cases.lines().map(Case::read) {
        let outcome = suite.run(&case);
        longest = longest.max(outcome.prompt);
        let score = scores.entry(case.kind.clone()).or_default();
        score.0 += usize::from(outcome.right);
        score.1 += 1;
        if !outcome.right {
            println!(
                "{} ({} tokens):\n{}\n",
                case.id, outcome.prompt, outcome.written
            );
        }
    }
    let (mut right, mut all) = (0, 0);
    for (kind, score) in &scores {
        println!("{kind}: {} of {}", score.0, score.1);
        right += score.0;
        all += score.1;
    }
    let share = 100.0 * right as f64 / all as f64;
    println!("all: {right} of {all}, {share:.1} %; the longest prompt has {longest} tokens");
}
