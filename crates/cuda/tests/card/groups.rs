//! Groups of operations as few kernels, against their composition: the same sessions on two
//! backends that differ in nothing else.

use ds4_cuda::Cuda;
use ds4_gguf::Format;
use ds4_model::{Outputs, Recipe, Shape, Tensor, Weights, synthetic};
use ds4_truth::Rig;

use crate::Check;
use crate::rigs::{Setup, bound, on_card};
use crate::twin::distance;

pub(crate) const CHECKS: &[Check] = &[
    ("groups q2", || hold(&synthetic::mini(), Recipe::Q2)),
    ("groups q4", || hold(&synthetic::mini(), Recipe::Q4)),
    ("groups mxfp4", || hold(&synthetic::mini(), Recipe::MXFP4)),
    ("groups q8", || hold(&synthetic::mini(), Recipe::Q8)),
    ("groups float", || hold(&synthetic::mini(), Recipe::FLOAT)),
    ("groups q2 wide", || hold(&synthetic::wide(), Recipe::Q2)),
    ("groups of packed rows", || packed(&synthetic::mini(), 124)),
    ("groups of packed rows, long", || {
        packed(&synthetic::wide(), 2300);
    }),
    ("groups q2 of 4096 columns", || {
        hold(&broad(4096), Recipe::Q2);
    }),
    ("groups q8 of 7168 columns", || {
        hold(&broad(7168), Recipe::Q8);
    }),
];

/// Sessions at a time, of steps that follow each other.
const COMPANY: &[u32] = &[1, 1, 1, 1, 2, 3, 5, 8, 9, 16, 17, 33, 64, 1, 1, 64];

/// Rows in their trained bits, which few rows attend to on tensor cores: short contexts, and ones of
/// which the indexer drops rows and every block sees more than it takes at a time.
fn packed(shape: &Shape, first: u32) {
    let setup = Setup {
        slots: 8,
        pages: 8 * 6,
        max_rows: 256,
        ..Setup::HALF
    };
    let model = bound(shape, Recipe::FLOAT);
    let begun = |slot| first + slot % 8;
    let [mut fused, mut plain] = [true, false].map(|fused| {
        let mut rig = on_card(Setup { fused, ..setup }, &model);
        for slot in 0..8 {
            let tokens = synthetic::prompt(shape.vocab, begun(slot) as usize, slot.into());
            for (number, part) in tokens.chunks(256).enumerate() {
                rig.step(&[(slot, 256 * number as u32, part, Outputs::None)]);
            }
        }
        rig
    });
    let mut all = Vec::new();
    let mut at: Vec<u32> = (0..8).map(begun).collect();
    for &sessions in COMPANY.iter().filter(|sessions| **sessions <= 8) {
        let tokens: Vec<[u32; 1]> = (0..sessions)
            .map(|slot| [(31 * slot + 7 * at[0]) % shape.vocab as u32])
            .collect();
        let runs: Vec<_> = (0..sessions as usize)
            .map(|slot| (slot as u32, at[slot], &tokens[slot][..], Outputs::Last))
            .collect();
        let (one, other) = (fused.step(&runs), plain.step(&runs));
        all.extend(one.iter().zip(&other).map(|(a, b)| distance(a, b)));
        at.iter_mut()
            .take(sessions as usize)
            .for_each(|at| *at += 1);
    }
    all.sort_by(f64::total_cmp);
    let (median, most) = (all[all.len() / 2], all[all.len() * 9 / 10]);
    println!("  median {median:.1e}, 9 of 10 {most:.1e}");
    // Sums have another order, and a row that falls to another code changes what follows.
    assert!(median < 5e-3 && most < 5e-2);
}

/// Few layers and experts as wide as a real model's streams.
fn broad(hidden: usize) -> Shape {
    let mini = synthetic::mini();
    Shape {
        hidden,
        ratios: mini.ratios[..3].to_vec(),
        experts: 8,
        ..mini
    }
}

/// Sessions that decode together, most of all.
const MOST: u32 = 64;

fn hold(shape: &Shape, recipe: Recipe) {
    let model = bound(shape, recipe.clone());
    // Without the model's roundings nothing jumps: what differs is the order of sums alone.
    let setup = Setup {
        arithmetic: Setup::HALF.arithmetic,
        slots: MOST as usize,
        pages: 2 * MOST as usize,
        max_rows: 256,
        ..Setup::EXACT
    };
    let rig = |fused, arithmetic| {
        let setup = Setup {
            fused,
            arithmetic,
            ..setup
        };
        prepared(setup, &model)
    };
    let mut fused = rig(true, Setup::HALF.arithmetic);
    let mut plain = rig(false, Setup::HALF.arithmetic);
    let mut float = rig(true, Setup::EXACT.arithmetic);
    let vocab = model.0.vocab as u32;
    let mut at = [0; MOST as usize];
    for (slot, at) in at.iter_mut().enumerate() {
        *at = begun(slot as u32);
    }
    let (mut from_plain, mut from_float) = (Vec::new(), Vec::new());
    for (number, &sessions) in COMPANY.iter().enumerate() {
        let tokens: Vec<[u32; 1]> = (0..sessions)
            .map(|slot| [(31 * slot + 7 * number as u32) % vocab])
            .collect();
        let runs: Vec<_> = (0..sessions)
            .map(|slot| {
                let at = at[slot as usize];
                (slot, at, &tokens[slot as usize][..], Outputs::Last)
            })
            .collect();
        let (one, other, truth) = (fused.step(&runs), plain.step(&runs), float.step(&runs));
        for ((one, other), truth) in one.iter().zip(&other).zip(&truth) {
            from_plain.push(distance(one, other));
            from_float.push(distance(one, truth));
        }
        for at in &mut at[..sessions as usize] {
            *at += 1;
        }
    }
    // A value that falls to another binary16 may change a choice, and then all that follows.
    let [plain, float] = [from_plain, from_float].map(|mut all| {
        all.sort_by(f64::total_cmp);
        (
            all[all.len() / 2],
            all[all.len() * 9 / 10],
            all[all.len() - 1],
        )
    });
    println!("  median, 9 of 10, most: from their composition {plain:?}, floats {float:?}");
    // Weights that are codes meet activations of eight bits: there a last bit becomes one of 127
    // more often.
    if recipe.attention == Format::Q8_0 {
        assert!(plain.0 < 2e-2 && plain.1 < 4e-2 && float.0 < 5e-2 && float.1 < 3e-1);
    } else {
        assert!(plain.0 < 1e-3 && plain.1 < 5e-3 && float.0 < 3e-3 && float.1 < 2e-2);
    }
}

/// How many tokens a session begins with: all phases of the compressors.
fn begun(slot: u32) -> u32 {
    124 + slot % 8
}

fn prepared(setup: Setup, model: &(Shape, Weights<Tensor>)) -> Rig<Cuda> {
    let mut rig = on_card(setup, model);
    for slot in 0..MOST {
        let tokens = synthetic::prompt(model.0.vocab, begun(slot) as usize, slot.into());
        rig.step(&[(slot, 0, &tokens, Outputs::None)]);
    }
    rig
}
