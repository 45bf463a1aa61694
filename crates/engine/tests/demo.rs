//! The demo model makes the right calls: the first twenty short ones of the held-out cases that
//! its score is counted on (models/demo/README.md). Greedy, so the outcome is the same every time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at a file it cannot use"
)]

#[path = "../examples/demo_suite/suite.rs"]
mod suite;

use std::path::Path;

use suite::{Case, Suite};

/// How many of the twenty must be right. Another processor may round otherwise, and turn a choice
/// that hung in the balance: hence fewer than the twenty measured.
const LEAST: usize = 18;

#[test]
fn the_demo_model_calls_the_tools_it_is_asked_for() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo");
    let suite = Suite::load(&folder.join("demo.gguf"), false);
    let cases = std::fs::read_to_string(folder.join("cases.jsonl")).unwrap();
    let cases: Vec<Case> = cases.lines().map(Case::read).collect();
    assert_eq!(cases.len(), 20);
    let mut wrong = Vec::new();
    for case in &cases {
        let outcome = suite.run(case);
        if !outcome.right {
            wrong.push(format!(
                "{} ({}, {} tokens): {}",
                case.id, case.kind, outcome.prompt, outcome.written
            ));
        }
    }
    let right = cases.len() - wrong.len();
    assert!(
        right >= LEAST,
        "{right} of {} right: {wrong:#?}",
        cases.len()
    );
}
