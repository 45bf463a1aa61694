//! Every format end to end: the mini model in each recipe, the fast path against plain loops on decoded weights.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that shows its figures"
)]

mod rigs;

use ds4_cpu::dot::Simd;
use ds4_cpu::{Arithmetic, Options};
use ds4_gguf::Format;
use ds4_model::{Recipe, RowFormat, synthetic};
use ds4_truth::check;
use rigs::made;

const TOKENS: usize = 200;

fn options(arithmetic: Arithmetic, simd: Option<Simd>) -> Options {
    Options {
        threads: 2,
        arithmetic,
        simd,
        rows: RowFormat::Packed,
        slots: 1,
        pages: 2,
        max_rows: TOKENS,
        max_outputs: TOKENS,
        ..Options::default()
    }
}

/// Largest and median over positions of the largest difference of a logit, and how many most likely tokens agree.
fn distance(a: &[Vec<f32>], b: &[Vec<f32>]) -> (f32, f32, f64) {
    let far = |(a, b): (&Vec<f32>, &Vec<f32>)| {
        a.iter()
            .zip(b)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max)
    };
    let mut all: Vec<f32> = a.iter().zip(b).map(far).collect();
    all.sort_by(f32::total_cmp);
    let same = a
        .iter()
        .zip(b)
        .filter(|(a, b)| check::argmax(a).0 == check::argmax(b).0)
        .count();
    (
        all[all.len() - 1],
        all[all.len() / 2],
        same as f64 / a.len() as f64,
    )
}

#[test]
fn the_fast_path_gives_what_plain_loops_give() {
    let shape = synthetic::mini();
    let prompt = synthetic::prompt(shape.vocab, TOKENS, 7);
    let recipes = [
        Recipe::FLOAT,
        Recipe::Q2,
        Recipe::Q4,
        Recipe::MXFP4,
        Recipe::plain("q8_0", Format::Q8_0),
        Recipe::plain("f16", Format::F16),
    ];
    for recipe in recipes {
        let name = recipe.name;
        let run = |arithmetic, simd| {
            let mut rig = made(&shape, recipe.clone(), options(arithmetic, simd));
            rig.prompt(0, &prompt, TOKENS)
        };
        let truth = run(Arithmetic::Float, Some(Simd::Scalar));
        let levels = Simd::ALL.into_iter();
        for simd in levels.filter(|simd| *simd != Simd::Scalar && simd.is_supported()) {
            // Other instructions, same arithmetic: only the order of additions differs, and what
            // roundings make of that.
            let (max, median, agree) = distance(&run(Arithmetic::Float, Some(simd)), &truth);
            eprintln!("{name}, {simd:?}: float {max:.3} {median:.4} {agree:.3}");
            assert!(
                median < 0.05 && agree > 0.97,
                "{name}, {simd:?}, floats: {median}, {agree}"
            );
            // Eight-bit activations: a coarser path, on weights that select experts and rows at
            // random.
            let (max, median, agree) = distance(&run(Arithmetic::Blocks, Some(simd)), &truth);
            eprintln!("{name}, {simd:?}: blocks {max:.3} {median:.4} {agree:.3}");
            assert!(
                median < 0.6 && agree > 0.8,
                "{name}, {simd:?}, blocks: {median}, {agree}"
            );
        }
    }
}
