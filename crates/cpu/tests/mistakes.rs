//! Would the goldens notice? Each deliberate mistake is made in a shape, in weights or around an operation, and the
//! comparison must fail on it; without a mistake it must pass.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that shows its figures"
)]

mod mistaken;
mod rigs;

use ds4_cpu::{Cpu, Tensor};
use ds4_gguf::{Format, Payload, block};
use ds4_model::{Shape, Weights};
use ds4_truth::{Mode, Model, Rig, check};
use mistaken::{Slip, mistaken};
use rigs::exact;

/// Enough tokens for the indexer to drop rows, ratio 128 to make two, and YaRN's frequencies to matter.
const TOKENS: usize = 300;

/// The distance of tiny's logits from the goldens when `shape` and `weights` are changed and an operation slips.
fn distance(
    change_shape: impl FnOnce(&mut Shape),
    change: impl Fn(&str, &mut Vec<f32>, usize) -> bool,
    slip: Slip,
) -> f64 {
    let golden = Model::Tiny.whole(Mode::Exact);
    let (shape, weights) = rigs::tiny();
    let mut wrong = shape.clone();
    change_shape(&mut wrong);
    let weights: Weights<Tensor> = weights.map(|name, tensor| {
        let bound = Tensor::bound(tensor);
        if tensor.format == Format::I32 {
            return bound;
        }
        let mut values = tensor.decode();
        if !change(name, &mut values, tensor.columns) {
            return bound;
        }
        let mut bytes = Vec::new();
        block::encode(Format::F32, &values, &mut bytes).unwrap();
        Tensor::new(
            Format::F32,
            tensor.columns,
            tensor.rows,
            Payload::from(bytes),
        )
    });
    let cpu = Cpu::new(wrong, exact(&golden)).unwrap();
    let mut rig = Rig::new(mistaken(cpu, slip), shape, weights);
    // In two steps, so that what passes between steps is compared too.
    let mut found = rig.prompt(0, &golden.prompt[..150], 150);
    let rest = &golden.prompt[150..TOKENS];
    found.extend(rig.step(&[(0, 150, rest, ds4_model::Outputs::All)]));
    check::logits(&found, &golden.logits, 5e-4).max
}

fn by_shape(change: impl FnOnce(&mut Shape)) -> f64 {
    distance(change, |_, _, _| false, Slip::None)
}

/// A change to every tensor whose name ends so: values, and the width of a row.
fn by_weights(suffix: &str, change: impl Fn(&mut [f32], usize)) -> f64 {
    let suffixes: Vec<&str> = suffix.split(' ').collect();
    let changed = |name: &str, values: &mut Vec<f32>, columns: usize| {
        let meant = suffixes.iter().any(|suffix| name.ends_with(suffix));
        if meant {
            change(values, columns);
        }
        meant
    };
    distance(|_| {}, changed, Slip::None)
}

fn by_slip(slip: Slip) -> f64 {
    distance(|_| {}, |_, _, _| false, slip)
}

fn swap_halves(values: &mut [f32], _: usize) {
    let middle = values.len() / 2;
    values.rotate_left(middle);
}

fn ones(values: &mut [f32], _: usize) {
    values.fill(1.0);
}

fn zeros(values: &mut [f32], _: usize) {
    values.fill(0.0);
}

/// Rows of the stream mixing matrix as if it were read the other way round.
fn transpose_comb(values: &mut [f32], width: usize) {
    let old = values.to_vec();
    for read in 0..4 {
        for written in 0..4 {
            let from = (8 + 4 * written + read) * width;
            let to = (8 + 4 * read + written) * width;
            values[to..to + width].copy_from_slice(&old[from..from + width]);
        }
    }
}

#[test]
fn without_a_mistake_the_comparison_passes() {
    assert!(by_slip(Slip::None) < 5e-4);
}

#[test]
fn every_mistake_is_noticed() {
    let found = [
        ("window one short", by_shape(|s| s.window -= 1)),
        ("window one long", by_shape(|s| s.window += 1)),
        (
            "window layers on the stretched table",
            by_shape(|s| s.rope.base = 160_000.0),
        ),
        (
            "stretched table on the plain base",
            by_shape(|s| s.rope.compressed_base = 10_000.0),
        ),
        ("no YaRN", by_shape(|s| s.rope.yarn_factor = 1.0)),
        (
            "YaRN of another length",
            by_shape(|s| s.rope.yarn_original *= 4),
        ),
        (
            "YaRN ramp turned round",
            by_shape(|s| {
                std::mem::swap(&mut s.rope.yarn_beta_fast, &mut s.rope.yarn_beta_slow);
            }),
        ),
        ("routed scale left out", by_shape(|s| s.routed_scale = 1.0)),
        ("no SwiGLU clamp", by_shape(|s| s.swiglu_limit = 1e9)),
        ("one row too few selected", by_shape(|s| s.index_top_k -= 1)),
        (
            "mixing matrix transposed",
            by_weights("hc.mix hc.base", |values, columns| {
                if values.len() % 24 == 0 {
                    transpose_comb(values, if values.len() == 24 { 1 } else { columns });
                }
            }),
        ),
        (
            "halves A and B swapped",
            by_weights("compressor.kv compressor.gate", swap_halves),
        ),
        (
            "no position bias",
            by_weights("compressor.ape attention.ape", zeros),
        ),
        (
            "position bias one token late",
            by_weights("compressor.ape attention.ape", |values, columns| {
                values.rotate_right(columns);
            }),
        ),
        (
            "no sinks",
            by_weights("sinks", |values, _| values.fill(-1e9)),
        ),
        (
            "no bias when choosing experts",
            by_weights("moe.router.bias", zeros),
        ),
        (
            "pre and post swapped",
            by_weights("attn_hc.base moe_hc.base", |values, _| {
                for i in 0..4 {
                    values.swap(i, 4 + i);
                }
            }),
        ),
        ("query norm without weight", by_weights("query.norm", ones)),
        (
            "latent norm without weight",
            by_weights("latent.norm", ones),
        ),
        (
            "compressor norm without weight",
            by_weights("compressor.norm attention.norm", ones),
        ),
        (
            "input norm without weight",
            by_weights("attn_norm moe_norm", ones),
        ),
        ("no shared expert", by_weights("moe.shared.down", zeros)),
        ("output groups swapped", by_weights("output.a", swap_halves)),
        (
            "embedding scaled",
            by_weights("embed", |values, _| {
                values.iter_mut().for_each(|v| *v *= 2.0);
            }),
        ),
        ("output not rotated back", by_slip(Slip::NoUnrope)),
        (
            "rotated by halves instead of pairs",
            by_slip(Slip::SplitPairs),
        ),
        ("queries on the other table", by_slip(Slip::QueryTable)),
        ("latent rows on the other table", by_slip(Slip::LatentTable)),
        ("no norm of query heads", by_slip(Slip::NoHeadNorm)),
        ("compressed rows not attended to", by_slip(Slip::WindowOnly)),
        ("all rows instead of the selected", by_slip(Slip::AllRows)),
        ("window lost between steps", by_slip(Slip::NoCommit)),
        (
            "a row completed by a token hidden from it",
            by_slip(Slip::LastRowHidden),
        ),
        (
            "head weights of the indexer squashed",
            by_slip(Slip::IndexWeightsPositive),
        ),
        ("head norm on indexer queries", by_slip(Slip::IndexNorm)),
        ("experts weighted alike", by_slip(Slip::EvenWeights)),
        ("one expert too few", by_slip(Slip::OneExpertLess)),
        ("post not doubled", by_slip(Slip::PostHalved)),
        ("open windows lost between steps", by_slip(Slip::PoolsLost)),
    ];
    for (mistake, distance) in found {
        eprintln!("{distance:9.4}  {mistake}");
        assert!(
            distance > 0.02,
            "{mistake}: {distance} would pass for right"
        );
    }
}
