//! `--exact`: with float activations a row's logits do not depend on its company, to the last bit.

#![allow(clippy::unwrap_used, reason = "a test")]

mod rigs;

use ds4_cpu::dot::Simd;
use ds4_cpu::{Arithmetic, Options};
use ds4_model::{Outputs, Recipe, synthetic};
use rigs::made;

const TOKENS: usize = 160;

#[test]
fn any_company_gives_the_same_bits() {
    // Plain loops take one order of additions for any company as well, but a minute.
    let levels = Simd::ALL.into_iter();
    for simd in levels.filter(|simd| *simd != Simd::Scalar && simd.is_supported()) {
        check(simd);
    }
}

fn check(simd: Simd) {
    let shape = synthetic::mini();
    let prompt = synthetic::prompt(shape.vocab, TOKENS, 3);
    let options = Options {
        threads: 2,
        arithmetic: Arithmetic::Float,
        simd: Some(simd),
        slots: 2,
        pages: 4,
        max_rows: 2 * TOKENS,
        max_outputs: 2 * TOKENS,
        ..Options::default()
    };
    let mut rig = made(&shape, Recipe::Q2, options);
    let whole = rig.prompt(0, &prompt, TOKENS);
    for chunk in [1, 2, 3, 7, 64, 129] {
        rig.clear(0);
        let cut = rig.prompt(0, &prompt, chunk);
        assert!(cut == whole, "{simd:?}: {chunk} tokens a step change bits");
    }
    // Beside another session that is somewhere else.
    rig.clear(0);
    rig.step(&[(1, 0, &prompt[40..97], Outputs::None)]);
    let other = &prompt[..33];
    let both = rig.step(&[(1, 57, other, Outputs::None), (0, 0, &prompt, Outputs::All)]);
    assert!(
        both == whole,
        "{simd:?}: another session in the step changes bits"
    );
}
