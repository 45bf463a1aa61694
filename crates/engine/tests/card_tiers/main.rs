//! Sessions of a card in the tiers below it: host memory and disk.
//!
//! It has its own `main`, so that where there is no card it can say that nothing was proven, and is
//! counted nowhere. It reads no files: build it anywhere, carry it to a machine with a card.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that shows its figures"
)]

#[allow(dead_code, reason = "most of it is for the CPU")]
#[path = "../engine/rig.rs"]
mod rig;
#[path = "../engine/tiers.rs"]
mod tiers;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use ds4_cpu::{Arithmetic, Options as CpuOptions};
use ds4_engine::{Card, CudaArithmetic, CudaOptions, Engine, Options, load_cuda};
use ds4_gguf::Gguf;
use ds4_model::synthetic::{Synthetic, mini};
use ds4_model::{Recipe, Rounding, RowFormat};
use tempfile::tempdir;

use crate::rig::{TOKENIZER, engine_of, exact, noise};
use crate::tiers::{ask, store};

/// A check: its name and what it does.
type Check = (&'static str, fn());

const CHECKS: &[Check] = &[
    ("cold, warm and restored are the same bits", || {
        tiers::cold_warm_and_restored_are_the_same_bits(&fast);
    }),
    ("the host has what the card has no room for", || {
        tiers::the_host_has_what_the_device_has_no_room_for(&fast);
    }),
    ("what was read once is read from the host", || {
        tiers::what_was_read_once_is_read_from_the_host(&fast);
    }),
    ("stored by the CPU, restored by the card, and back", across),
];

static MINI: LazyLock<Gguf> = LazyLock::new(|| {
    let model = Synthetic::noise(mini(), 1, Recipe::Q2);
    model.model().unwrap()
});

fn main() -> ExitCode {
    if let Err(reason) = Card::open(0) {
        println!("NOT RUN: no NVIDIA card to test on: {reason}");
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (name, check) in CHECKS {
        let from = Instant::now();
        let held = catch_unwind(AssertUnwindSafe(check)).is_ok();
        let word = if held { "ok    " } else { "FAILED" };
        println!("{word} {name} ({:.1} s)", from.elapsed().as_secs_f32());
        failed += usize::from(!held);
    }
    let passed = CHECKS.len() - failed;
    println!("tiers below a card: {passed} passed, {failed} failed");
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn on_card(cuda: CudaOptions, options: Options) -> Engine {
    let loaded = load_cuda(&MINI, cuda, &mut |_, _| ControlFlow::Continue(()));
    let tokenizer = Some(Arc::clone(&TOKENIZER));
    Engine::start(Box::new(loaded.unwrap()), tokenizer, options).unwrap()
}

fn room(pages: usize) -> CudaOptions {
    CudaOptions {
        slots: 3,
        pages,
        max_rows: 96,
        max_outputs: 8,
        ..CudaOptions::default()
    }
}

/// As it runs: tensor cores, packed rows, rounded as trained.
fn fast(pages: usize, options: Options) -> Engine {
    on_card(room(pages), options)
}

/// One directory, both backends, nothing rounded: each goes on from what the other computed, as if
/// it had computed it itself.
fn across() {
    let card = |options| {
        let cuda = CudaOptions {
            arithmetic: CudaArithmetic::Float,
            rows: RowFormat::F32,
            rounding: Rounding::None,
            ..room(24)
        };
        on_card(cuda, options)
    };
    let cpu = |options| {
        let cpu = CpuOptions {
            arithmetic: Arithmetic::Float,
            ..exact()
        };
        engine_of(&MINI, cpu, options)
    };
    let starts: [&dyn Fn(Options) -> Engine; 2] = [&cpu, &card];
    for (first, second) in [(0, 1), (1, 0)] {
        let dir = tempdir().unwrap();
        let prompt = noise(9, 1105);
        let (cached, made) = ask(&starts[first](store(&dir)), &prompt, 1100);
        assert_eq!(cached, 0);
        let (cached, again) = ask(&starts[second](store(&dir)), &prompt, 1100);
        assert_eq!(cached, 1100);
        again.assert_close(&made);
    }
}
