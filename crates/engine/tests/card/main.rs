//! The laws of the engine over the CUDA backend, and sessions that change between it and the CPU.
//!
//! It has its own `main`, so that where there is no card it can say that nothing was proven, and is
//! counted nowhere. Names given as arguments choose the checks whose names contain one of them. It
//! reads no files: build it anywhere, carry it to a machine with a card.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that shows its figures"
)]

#[path = "../engine/laws.rs"]
mod laws;
#[allow(dead_code, reason = "most of it is for the CPU")]
#[path = "../engine/rig.rs"]
mod rig;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use ds4_cpu::{Arithmetic, Options as CpuOptions};
use ds4_engine::{
    Card, CudaArithmetic, CudaOptions, Engine, LoadError, Machine, Options, Request, Rewind,
    load_cuda,
};
use ds4_gguf::Gguf;
use ds4_model::synthetic::{Synthetic, mini};
use ds4_model::{Recipe, Rounding, RowFormat};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::laws::{
    Logits, act, check_argmax, check_at_once, check_close, conversation, cuts, run_on,
};
use crate::rig::{Made, TOKENIZER, engine_of, exact, greedy, greedy_tokens, noise, options};

/// A check: its name and what it does.
type Check = (&'static str, fn());

const CHECKS: &[Check] = &[
    ("cuts and company do not show", cuts_do_not_show),
    ("the same steps give the same bits", same_bits),
    ("a conversation with a past", a_past),
    ("cold, warm, rewound, forked and restored", ways_to_be_there),
    ("several at once are what each is alone", at_once),
    ("from the CPU to the card and back", both_ways),
    (
        "a file that shrinks while it is loaded",
        a_file_that_shrinks,
    ),
];

static MINI: LazyLock<Gguf> = LazyLock::new(|| {
    let model = Synthetic::noise(mini(), 1, Recipe::Q2);
    model.model().unwrap()
});

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    if let Err(reason) = Card::open(0) {
        println!("NOT RUN: no NVIDIA card to test on: {reason}");
        return ExitCode::SUCCESS;
    }
    let chosen = |name: &str| asked.is_empty() || asked.iter().any(|part| name.contains(part));
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, check) in CHECKS.iter().filter(|check| chosen(check.0)) {
        let from = Instant::now();
        let held = catch_unwind(AssertUnwindSafe(check)).is_ok();
        let word = if held { "ok    " } else { "FAILED" };
        println!("{word} {name} ({:.1} s)", from.elapsed().as_secs_f32());
        if held {
            passed += 1;
        } else {
            failed.push(*name);
        }
    }
    println!(
        "engine on a card: {passed} passed, {} failed {failed:?}",
        failed.len()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Floats, nothing rounded: sums in another order differ in their last bits only.
fn unrounded() -> CudaOptions {
    CudaOptions {
        arithmetic: CudaArithmetic::Float,
        rows: RowFormat::F32,
        rounding: Rounding::None,
        slots: 3,
        pages: 24,
        max_rows: 96,
        max_outputs: 8,
        ..CudaOptions::default()
    }
}

/// As it runs.
fn fast() -> CudaOptions {
    CudaOptions {
        arithmetic: CudaArithmetic::Half,
        rows: RowFormat::Packed,
        rounding: Rounding::Model,
        ..unrounded()
    }
}

/// The same as [`unrounded`], on the CPU.
fn unrounded_cpu() -> CpuOptions {
    CpuOptions {
        arithmetic: Arithmetic::Float,
        ..exact()
    }
}

/// Steps whose shapes do not depend on the clock.
fn steady() -> Options {
    Options {
        longest_step: Duration::from_secs(10_000),
        ..options()
    }
}

fn machine(cuda: CudaOptions) -> Box<dyn Machine> {
    let loaded = load_cuda(&MINI, cuda, &mut |_, _| ControlFlow::Continue(()));
    Box::new(loaded.unwrap())
}

fn engine(cuda: CudaOptions, options: Options) -> Engine {
    let tokenizer = Some(Arc::clone(&TOKENIZER));
    Engine::start(machine(cuda), tokenizer, options).unwrap()
}

fn run(cuda: CudaOptions, sequences: &[Vec<u32>], cuts: &[Vec<usize>]) -> Vec<Logits> {
    // The last step takes whatever the others left.
    let all = sequences.iter().map(Vec::len).sum();
    let rows = cuda.max_rows.max(all);
    let cuda = CudaOptions {
        max_rows: rows,
        max_outputs: rows,
        ..cuda
    };
    run_on(machine(cuda).as_mut(), sequences, cuts)
}

/// One goes past a page.
fn sequences() -> Vec<Vec<u32>> {
    vec![noise(1, 530), noise(2, 40), noise(3, 130)]
}

/// Each sequence alone, in steps of 96 rows.
fn alone(cuda: &CudaOptions) -> Vec<Logits> {
    let steps = vec![vec![96]; 6];
    let one = |sequence| run(cuda.clone(), &[sequence], &steps).remove(0);
    sequences().into_iter().map(one).collect()
}

/// Holds a law for some cases, drawn afresh each time.
fn law<S: Strategy>(
    cases: u32,
    strategy: &S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    };
    TestRunner::new(config).run(strategy, test).unwrap();
}

fn cuts_do_not_show() {
    let (plain, rounded) = (alone(&unrounded()), alone(&fast()));
    law(4, &cuts(), |cuts| {
        check_close(&plain, &run(unrounded(), &sequences(), &cuts))?;
        check_argmax(&rounded, &run(fast(), &sequences(), &cuts))
    });
}

fn same_bits() {
    let sequences = [noise(4, 140), noise(5, 30), noise(6, 60)];
    law(4, &cuts(), |cuts| {
        for options in [unrounded(), fast()] {
            let once = run(options.clone(), &sequences, &cuts);
            prop_assert!(once == run(options, &sequences, &cuts));
        }
        Ok(())
    });
}

fn a_past() {
    let acts = prop::collection::vec(act(), 1..6);
    law(
        8,
        &(1..600usize, acts, any::<u64>()),
        |(begin, acts, seed)| {
            let plain = |history: &[u32]| {
                let engine = engine(unrounded(), options());
                greedy_tokens(&engine.session().unwrap(), history, 4)
            };
            let few = Options {
                frontier_tokens: 64,
                frontiers: 5,
                ..options()
            };
            let cuda = CudaOptions {
                slots: 2,
                ..unrounded()
            };
            conversation(&engine(cuda, few), plain, begin, acts, seed)
        },
    );
}

/// A session that went back is the same to the last bit as it was; so are one that stayed, one that
/// was forked from it and one that was stored. Between the two the cuts of steps differ.
fn ways_to_be_there() {
    law(6, &(1..540usize), |at| {
        let engine = engine(fast(), steady());
        let prompt = noise(7, at + 3);
        let cut = Request {
            cuts: vec![at as u32],
            ..Request::tokens(prompt.clone(), 6, greedy())
        };
        let rewound = engine.session().unwrap();
        let cold = Made::collect(rewound.generate(cut).unwrap());
        let there = rewound.rewind(at as u32).unwrap();
        prop_assert_eq!(there, Rewind::Exact { at: at as u32 });
        let warm = engine.session().unwrap();
        greedy_tokens(&warm, &prompt[..at], 1);
        let fork = warm.fork().unwrap();
        let restored = engine.restore(warm.snapshot().unwrap()).unwrap();
        let [rewound, warm, fork, restored] = [rewound, warm, fork, restored].map(|session| {
            let made = greedy_tokens(&session, &prompt, 6);
            assert_eq!(made.usage.cached_tokens as usize, at);
            made
        });
        rewound.assert_same(&cold);
        fork.assert_same(&warm);
        restored.assert_same(&warm);
        Ok(())
    });
}

fn at_once() {
    check_at_once(|| engine(unrounded(), options()));
}

/// A file that somebody shortens while it is mapped is an error, and nobody falls over it.
fn a_file_that_shrinks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mini = Synthetic::reference(mini(), 3, Recipe::Q4);
    mini.write(&path, &mut |_, _| ControlFlow::Continue(()))
        .unwrap();
    let file = Gguf::open(&path).unwrap();
    let load = || load_cuda(&file, fast(), &mut |_, _| ControlFlow::Continue(())).map(drop);
    load().unwrap();
    let half = file.file_bytes() / 2;
    let writer = std::fs::OpenOptions::new().write(true).open(&path);
    writer.unwrap().set_len(half).unwrap();
    let refused = load().unwrap_err();
    println!("  {refused}");
    assert!(matches!(refused, LoadError::File(_)), "{refused}");
}

/// A conversation that changes machines after each turn, against one that stays on the CPU.
fn both_ways() {
    let cpu = engine_of(&MINI, unrounded_cpu(), options());
    let card = engine(unrounded(), options());
    assert_eq!(cpu.identity(), card.identity());
    let mut history = noise(30, 530);
    let stays = cpu.session().unwrap();
    let mut moves = cpu.session().unwrap();
    for (turn, engine) in [&cpu, &card, &cpu, &card].into_iter().enumerate() {
        moves = engine.restore(moves.snapshot().unwrap()).unwrap();
        let made = greedy_tokens(&moves, &history, 5);
        assert!(
            turn == 0 || made.usage.cached_tokens >= 530,
            "nothing is computed twice"
        );
        made.assert_close(&greedy_tokens(&stays, &history, 5));
        history.extend(&made.tokens);
        history.extend(noise(31 + turn as u64, 3));
    }
}
