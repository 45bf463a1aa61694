//! Every intermediate that the goldens hold: what each step of each layer gave for the last token of
//! two prefixes. A mistake shows here by the name of the operation that made it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that shows its figures"
)]

mod rigs;

use std::collections::BTreeMap;

use ds4_cpu::Options;
use ds4_model::RowFormat;
use ds4_model::probe::Probed;
use ds4_truth::trace::{Witness, distances};
use ds4_truth::{Mode, Model, Rig, golden};
use rigs::{exact, options};

/// What must be there for every layer; more for those with an indexer.
const NAMES: [&str; 10] = [
    "attn_in",
    "attn_post",
    "attn_comb",
    "q",
    "kv",
    "attn_heads",
    "attn_out",
    "experts",
    "expert_weights",
    "ffn_out",
];

#[test]
fn intermediates_are_the_goldens() {
    for model in [Model::Tiny, Model::Mini] {
        let whole = model.whole(Mode::Exact);
        let golden = model.trace();
        let rig = rigs::rig(model, exact(&whole));
        let shape = rig.shape().clone();
        let backend = Probed::new(rig.backend, Witness::default());
        let mut rig = Rig::new(backend, &shape, rig.weights);
        let mut worst = BTreeMap::<String, f64>::new();
        let lengths = golden["prompt_len"].as_array().unwrap();
        assert!(!lengths.is_empty());
        for (length, layers) in lengths.iter().zip(golden["exact"].as_array().unwrap()) {
            let length = length.as_u64().unwrap() as usize;
            let found = rig.trace(&whole.prompt[..length], 100);
            assert_eq!(found.len(), shape.layers());
            for (number, found) in found.iter().enumerate() {
                let of_layer = distances(found, &layers[number.to_string()]);
                assert!(NAMES.iter().all(|name| of_layer.contains_key(*name)));
                for (name, distance) in of_layer {
                    assert!(
                        distance < 5e-4,
                        "{model:?}, {length} tokens, layer {number}, {name}: {distance}"
                    );
                    let worst = worst.entry(name).or_default();
                    *worst = worst.max(distance);
                }
            }
        }
        assert_eq!(worst.len(), NAMES.len() + 2, "an indexer's as well");
        let worst: Vec<_> = worst
            .iter()
            .map(|(name, far)| format!("{name} {far:.1e}"))
            .collect();
        eprintln!("{model:?}: {}", worst.join(", "));
    }
}

/// How far an intermediate may be from its golden where rows are rounded.
///
/// A code that lies between two values to the last bits of a float32 falls to either side. In a
/// block alone that happens to a few codes of a whole prefix, if at all, so nearly everything is as
/// near as without any rounding; where a flipped code is looked at, it is off by what that weighs.
/// The reference itself in float32 instead of float64 has such rows, and gave the sizes here.
fn limit(name: &str) -> f64 {
    match name {
        // The token's own row: a step of E4M3 is a part in eight, of a value that may be twice the
        // root mean square; one of BF16 a part in 128.
        "kv" => 0.3,
        // One row of many, by its share of the attention: 2e-3 in the reference.
        "attn_heads" => 5e-3,
        // The same behind a matrix: 3e-4.
        "attn_out" | "ffn_out" => 1e-3,
        // A sum over all heads with one row, a code of which may be half as large again: 3e-2.
        "index_scores" => 0.1,
        // Nothing rounded but what they are made of.
        _ => 1e-4,
    }
}

/// Most of the distances are those of float32: half of them must be within this.
const MEDIAN: f64 = 2e-5;

/// Distances of all blocks and prefixes from the goldens of this name, by intermediate, in order of
/// size.
fn of_blocks(model: Model, options: Options, name: &str) -> BTreeMap<String, Vec<f64>> {
    let whole = model.whole(Mode::Rounded);
    let golden = model.blocks_trace();
    let rig = rigs::rig(model, options);
    let shape = rig.shape().clone();
    let backend = Probed::new(rig.backend, Witness::default());
    let mut rig = Rig::new(backend, &shape, rig.weights);
    let mut all = BTreeMap::<String, Vec<f64>>::new();
    let lengths = golden["prompt_len"].as_array().unwrap();
    assert!(!lengths.is_empty());
    for (length, layers) in lengths.iter().zip(golden[name].as_array().unwrap()) {
        let length = length.as_u64().unwrap() as usize;
        for block in golden::blocks(model, Mode::Rounded) {
            let tokens = &whole.prompt[..length];
            let found = rig.trace_block(&block, tokens, |to, streams| to.fill(streams));
            let of_block = distances(&found, &layers[block.layer.to_string()]);
            assert!(NAMES.iter().all(|name| of_block.contains_key(*name)));
            for (name, distance) in of_block {
                all.entry(name).or_default().push(distance);
            }
        }
    }
    assert_eq!(all.len(), NAMES.len() + 2, "an indexer's as well");
    for far in all.values_mut() {
        far.sort_by(f64::total_cmp);
    }
    all
}

fn median(far: &[f64]) -> f64 {
    far[far.len() / 2]
}

/// Every operation of every block, in rows as floats and in packed ones.
#[test]
fn intermediates_of_rounded_blocks_are_the_goldens() {
    for (model, rows, name) in [
        (Model::Tiny, RowFormat::F32, "rounded"),
        (Model::Tiny, RowFormat::Packed, "packed"),
        (Model::Mini, RowFormat::F32, "rounded"),
        (Model::Mini, RowFormat::Packed, "packed"),
    ] {
        let all = of_blocks(model, options(rows, &model.whole(Mode::Rounded)), name);
        for (name, far) in &all {
            let (median, most) = (median(far), far[far.len() - 1]);
            eprintln!("{model:?}, {rows:?}, {name}: median {median:.0e}, most {most:.0e}");
            assert!(median < MEDIAN, "{model:?}, {rows:?}, {name}: {median}");
            assert!(most < limit(name), "{model:?}, {rows:?}, {name}: {most}");
        }
    }
}

/// The comparison above notices a rounding that is left out, by the operation that has it.
#[test]
fn roundings_left_out_are_noticed() {
    let whole = Model::Mini.whole(Mode::Rounded);
    let without = of_blocks(Model::Mini, exact(&whole), "rounded");
    for name in ["kv", "attn_heads", "attn_out", "index_scores", "ffn_out"] {
        assert!(median(&without[name]) > 20.0 * MEDIAN, "{name}");
    }
    // What only packed rows round: the rotary channels.
    let floats = of_blocks(Model::Mini, options(RowFormat::F32, &whole), "packed");
    assert!(median(&floats["kv"]) > 20.0 * MEDIAN);
    assert!(median(&floats["attn_heads"]) > 2.0 * MEDIAN);
    // And what has to do with neither is as near as ever.
    for name in ["attn_in", "attn_post", "attn_comb", "q"] {
        assert!(median(&without[name]) < MEDIAN, "{name}");
    }
}
