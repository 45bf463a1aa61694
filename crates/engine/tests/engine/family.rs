//! The same on the family's own geometry, with the arithmetic and the kernels that run: quantised
//! weights, eight-bit activations, tiles for many rows and dot products for few.

use std::sync::LazyLock;
use std::time::Duration;

use ds4_cpu::{Arithmetic, Options as CpuOptions};
use ds4_engine::{Options, Request};
use ds4_gguf::Gguf;
use ds4_model::Recipe;
use ds4_model::synthetic::{Synthetic, mini};
use proptest::prelude::*;

use crate::invariance::{alone, engine_over, run};
use crate::laws::{Logits, act, check_argmax, check_close, conversation, cuts};
use crate::rig::{Made, engine_of, exact, greedy, greedy_tokens, noise, options, packed};

static MINI: LazyLock<Gguf> = LazyLock::new(|| {
    let model = Synthetic::noise(mini(), 1, Recipe::Q2);
    model.model().unwrap()
});

/// Float activations, rows as floats, no rounding.
fn unrounded() -> CpuOptions {
    CpuOptions {
        arithmetic: Arithmetic::Float,
        ..exact()
    }
}

/// As it runs.
fn fast() -> CpuOptions {
    CpuOptions {
        arithmetic: Arithmetic::Blocks,
        ..packed()
    }
}

/// Steps whose shapes do not depend on the clock.
fn steady() -> Options {
    Options {
        longest_step: Duration::from_secs(10_000),
        ..options()
    }
}

/// One goes past a page.
fn sequences() -> Vec<Vec<u32>> {
    vec![noise(1, 530), noise(2, 40), noise(3, 130)]
}

static UNROUNDED: LazyLock<Vec<Logits>> = LazyLock::new(|| alone(&MINI, &unrounded(), sequences()));
static FAST: LazyLock<Vec<Logits>> = LazyLock::new(|| alone(&MINI, &fast(), sequences()));

proptest! {
    #![proptest_config(ProptestConfig { cases: 2, ..ProptestConfig::default() })]

    /// Any chunking, any page boundary, any company in the step.
    #[test]
    fn cuts_and_company_do_not_show(cuts in cuts()) {
        check_close(&UNROUNDED, &run(&MINI, unrounded(), &sequences(), &cuts))?;
        check_argmax(&FAST, &run(&MINI, fast(), &sequences(), &cuts))?;
    }

    /// The same steps give the same bits, for any number of threads.
    #[test]
    fn the_same_steps_give_the_same_bits(cuts in cuts()) {
        let threads = |threads| CpuOptions { threads, ..fast() };
        let sequences = [noise(4, 140), noise(5, 30), noise(6, 60)];
        let once = run(&MINI, threads(1), &sequences, &cuts);
        prop_assert!(once == run(&MINI, threads(1), &sequences, &cuts), "run to run");
        prop_assert!(once == run(&MINI, threads(2), &sequences, &cuts), "two threads");
    }

    /// Rewound, forked, stored, moved out of its slot: with nothing rounded, the plain answer.
    #[test]
    fn a_conversation_with_a_past_answers_like_a_plain_one(
        begin in 1..200usize,
        acts in prop::collection::vec(act(), 1..5),
        seed in any::<u64>(),
    ) {
        let plain = |history: &[u32]| {
            let engine = engine_of(&MINI, unrounded(), options());
            greedy_tokens(&engine.session().unwrap(), history, 4)
        };
        conversation(&engine_over(&MINI, unrounded()), plain, begin, acts, seed)?;
    }

    /// On one plan shape there is no difference at all between a session that was computed, one
    /// that stayed, one that went back, one that was forked and one that was stored.
    #[test]
    fn cold_warm_rewound_forked_and_restored_are_the_same_bits(at in 1..540usize) {
        let engine = engine_of(&MINI, fast(), steady());
        let prompt = noise(7, at + 3);
        let cut = || Request {
            cuts: vec![at as u32],
            ..Request::tokens(prompt.clone(), 6, greedy())
        };
        let session = engine.session().unwrap();
        let cold = Made::collect(session.generate(cut()).unwrap());
        // Further on, and back.
        let rewound = session;
        let there = rewound.rewind(at as u32).unwrap();
        prop_assert_eq!(there, ds4_engine::Rewind::Exact { at: at as u32 });
        let warm = engine.session().unwrap();
        greedy_tokens(&warm, &prompt[..at], 1);
        let fork = warm.fork().unwrap();
        let restored = engine.restore(warm.snapshot().unwrap()).unwrap();
        for session in [rewound, fork, restored, warm] {
            let made = greedy_tokens(&session, &prompt, 6);
            prop_assert_eq!(made.usage.cached_tokens as usize, at);
            made.assert_same(&cold);
        }
    }
}
