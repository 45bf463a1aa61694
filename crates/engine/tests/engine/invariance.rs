//! Whatever way a result is come by, it is the same result.

use std::sync::LazyLock;

use ds4_cpu::Options as CpuOptions;
use ds4_engine::{Engine, Options, Request, Sampling, SamplingFields};
use ds4_gguf::Gguf;
use proptest::prelude::*;

use crate::laws::{
    LENGTH, Logits, act, check_argmax, check_at_once, check_close, conversation, cuts, run_on,
};
use crate::rig::{
    MODEL, Made, engine, engine_of, engine_with, exact, greedy_tokens, machine_of, noise, options,
    packed, plain,
};

/// Runs sequences in the given pieces on the CPU.
pub(crate) fn run(
    file: &Gguf,
    cpu: CpuOptions,
    sequences: &[Vec<u32>],
    cuts: &[Vec<usize>],
) -> Vec<Logits> {
    // The last step takes whatever the others left.
    let all = sequences.iter().map(Vec::len).sum();
    let rows = cpu.max_rows.max(all);
    let cpu = CpuOptions {
        max_rows: rows,
        max_outputs: rows,
        ..cpu
    };
    run_on(&mut machine_of(file, cpu), sequences, cuts)
}

fn sequences() -> Vec<Vec<u32>> {
    vec![noise(1, LENGTH), noise(2, 90), noise(3, 200)]
}

/// Each sequence alone, in steps of 96 rows.
pub(crate) fn alone(file: &Gguf, cpu: &CpuOptions, sequences: Vec<Vec<u32>>) -> Vec<Logits> {
    let steps = vec![vec![96]; 6];
    let one = |sequence| run(file, cpu.clone(), &[sequence], &steps).remove(0);
    sequences.into_iter().map(one).collect()
}

static EXACT: LazyLock<Vec<Logits>> = LazyLock::new(|| alone(&MODEL, &exact(), sequences()));
static PACKED: LazyLock<Vec<Logits>> = LazyLock::new(|| alone(&MODEL, &packed(), sequences()));

proptest! {
    #![proptest_config(ProptestConfig { cases: 5, ..ProptestConfig::default() })]

    /// Any chunking, any page boundary, any company in the step.
    #[test]
    fn cuts_and_company_do_not_show(cuts in cuts()) {
        check_close(&EXACT, &run(&MODEL, exact(), &sequences(), &cuts))?;
        check_argmax(&PACKED, &run(&MODEL, packed(), &sequences(), &cuts))?;
    }

    /// The same steps give the same bits, for any number of threads.
    #[test]
    fn the_same_steps_give_the_same_bits(cuts in cuts()) {
        let threads = |threads| CpuOptions { threads, ..packed() };
        let sequences = [noise(1, 140), noise(2, 90), noise(3, 60)];
        let once = run(&MODEL, threads(1), &sequences, &cuts);
        prop_assert!(once == run(&MODEL, threads(1), &sequences, &cuts), "run to run");
        prop_assert!(once == run(&MODEL, threads(2), &sequences, &cuts), "two threads");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    /// A conversation that was rewound, forked, stored and moved out of its slot answers like one
    /// that was not.
    #[test]
    fn a_conversation_with_a_past_answers_like_a_plain_one(
        begin in 1..600usize,
        acts in prop::collection::vec(act(), 1..8),
        seed in any::<u64>(),
    ) {
        let plain = |history: &[u32]| plain(history, 4);
        conversation(&engine_over(&MODEL, exact()), plain, begin, acts, seed)?;
    }
}

/// An engine with few slots that keeps many frontiers.
pub(crate) fn engine_over(file: &Gguf, cpu: CpuOptions) -> Engine {
    let options = Options {
        frontier_tokens: 64,
        frontiers: 5,
        ..options()
    };
    engine_of(file, CpuOptions { slots: 2, ..cpu }, options)
}

/// On one plan shape: cold, warm and restored are the same to the last bit.
#[test]
fn cold_warm_and_restored_are_the_same_bits() {
    // At a window, a row of each ratio, a page, and in the middle of all of them.
    for at in [16, 128, 512, 517] {
        let mut prompt = noise(9, at);
        let engine = engine_with(packed(), options());
        let warm = engine.session().unwrap();
        greedy_tokens(&warm, &prompt, 1);
        let restored = engine.restore(warm.snapshot().unwrap()).unwrap();
        let fork = warm.fork().unwrap();
        prompt.extend(noise(10, 3));
        let warm = greedy_tokens(&warm, &prompt, 6);
        assert_eq!(warm.usage.cached_tokens as usize, at);
        for other in [restored, fork] {
            let other = greedy_tokens(&other, &prompt, 6);
            assert_eq!(other.usage.cached_tokens as usize, at);
            warm.assert_same(&other);
        }
    }
}

#[test]
fn two_generations_at_once_are_what_each_is_alone() {
    check_at_once(engine);
}

/// So many that they choose at the same time, each with draws and cuts of its own.
#[test]
fn sessions_that_choose_at_once_draw_what_each_draws_alone() {
    let room = CpuOptions {
        slots: 8,
        pages: 64,
        ..exact()
    };
    let request = |seed: u64| {
        let fields = SamplingFields {
            temperature: 1.5,
            top_p: if seed < 4 { 1.0 } else { 0.9 },
            min_p: 0.001 * (seed % 3) as f32,
            seed,
            ..SamplingFields::default()
        };
        let sampling = Sampling::new(fields).unwrap();
        Request::tokens(noise(40 + seed % 3, 20), 40, sampling)
    };
    let shared = engine_with(room.clone(), options());
    let sessions = [(); 8].map(|()| shared.session().unwrap());
    let generations: Vec<_> = (0..)
        .zip(&sessions)
        .map(|(seed, session)| session.generate(request(seed)).unwrap())
        .collect();
    for (seed, generation) in (0..).zip(generations) {
        let alone = engine_with(room.clone(), options()).session().unwrap();
        let alone = Made::collect(alone.generate(request(seed)).unwrap());
        assert_eq!(alone.tokens.len(), 40);
        assert_eq!(Made::collect(generation).tokens, alone.tokens, "{seed}");
    }
}

#[test]
fn more_sessions_than_slots_take_turns() {
    let engine = engine_with(
        CpuOptions {
            slots: 1,
            ..exact()
        },
        options(),
    );
    let sessions = [(); 3].map(|()| engine.session().unwrap());
    let mut histories = [30, 31, 32].map(|seed| noise(seed, 40));
    for turn in 0..3 {
        for (session, history) in sessions.iter().zip(&mut histories) {
            let made = greedy_tokens(session, history, 5);
            if turn > 0 {
                assert!(made.usage.cached_tokens > 40, "nothing is computed twice");
            }
            made.assert_close(&plain(history, 5));
            history.extend(&made.tokens);
            history.extend(noise(turn, 2));
        }
    }
}
