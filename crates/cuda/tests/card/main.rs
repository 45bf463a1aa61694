//! Everything that needs a card, in one program: parity of every operation with the CPU, goldens,
//! snapshots.
//!
//! It has its own `main`, so that where there is no card it can say that nothing was proven, and is
//! counted nowhere. Names given as arguments choose the checks whose names contain one of them. It
//! reads no files: build it anywhere, carry it to a machine with a card.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that shows its figures"
)]

mod coded;
mod dense;
mod goldens;
mod groups;
mod loading;
mod parity;
mod rigs;
mod snapshots;
mod twin;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use ds4_cuda::Device;

/// A check: its name and what it does.
type Check = (&'static str, fn());

const CHECKS: &[&[Check]] = &[
    parity::CHECKS,
    groups::CHECKS,
    coded::CHECKS,
    dense::CHECKS,
    snapshots::CHECKS,
    loading::CHECKS,
    goldens::CHECKS,
];

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let device = match Device::open(0) {
        Ok(device) => device,
        Err(reason) => {
            println!("NOT RUN: no NVIDIA card to test on: {reason}");
            return ExitCode::SUCCESS;
        }
    };
    println!("on {}", device.name().unwrap());
    let chosen = |name: &str| asked.is_empty() || asked.iter().any(|part| name.contains(part));
    let mut failed = Vec::new();
    let checks: Vec<&Check> = CHECKS
        .iter()
        .copied()
        .flatten()
        .filter(|c| chosen(c.0))
        .collect();
    for (name, check) in &checks {
        let from = Instant::now();
        let held = catch_unwind(AssertUnwindSafe(check)).is_ok();
        println!(
            "{} {name} ({:.1} s)",
            if held { "ok    " } else { "FAILED" },
            from.elapsed().as_secs_f32()
        );
        if !held {
            failed.push(*name);
        }
    }
    println!(
        "card: {} passed, {} failed {failed:?}",
        checks.len() - failed.len(),
        failed.len()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
