//! The goldens on a card: the same checks and limits as the CPU's.

use ds4_model::{Outputs, RowFormat};
use ds4_truth::{Mode, Model, check, golden};

use crate::Check;
use crate::rigs::{Setup, golden, on_card};

pub(crate) const CHECKS: &[Check] = &[
    ("mini exact", || exact(Model::Mini)),
    ("wide exact", || exact(Model::Wide)),
    ("mini rounded", || {
        rounded(Model::Mini, RowFormat::F32, Setup::PACKED);
        rounded(Model::Mini, RowFormat::Packed, Setup::PACKED);
    }),
    ("wide rounded", || {
        rounded(Model::Wide, RowFormat::Packed, Setup::PACKED);
    }),
    ("mini rounded half", || {
        rounded(Model::Mini, RowFormat::Packed, Setup::HALF);
    }),
    ("wide rounded half", || {
        rounded(Model::Wide, RowFormat::Packed, Setup::HALF);
    }),
    ("greedy tokens are the goldens", greedy),
    ("drafts are the goldens", drafts),
    ("every cut gives the goldens", cuts),
    ("blocks alone are the goldens", blocks),
    ("mini exact half", exact_half),
    ("twice the same bits", twice),
];

fn exact(model: Model) {
    let golden = model.whole(Mode::Exact);
    let found = on_card(Setup::EXACT, &self::golden(model)).prompt(0, &golden.prompt, 512);
    let distance = check::logits(&found, &golden.logits, 5e-4);
    println!("  {model:?} exact: {distance:?}");
    assert!(distance.max < 5e-4 && distance.wrong == 0);
}

/// Eleven bits move logits, whose standard deviation is two, by about a thousandth; now and then
/// they change a choice, and then all that follows from it.
fn exact_half() {
    let golden = Model::Mini.whole(Mode::Exact);
    let setup = Setup {
        arithmetic: Setup::HALF.arithmetic,
        ..Setup::EXACT
    };
    let mut rig = on_card(setup, &self::golden(Model::Mini));
    for chunk in [1, 7, 16, 33, 64, 512] {
        rig.clear(0);
        let found = rig.prompt(0, &golden.prompt, chunk);
        let distance = check::logits(&found, &golden.logits, 2e-2);
        println!("  {chunk} at a time: {distance:?}");
        assert!(distance.median < 4e-3 && distance.agreement > 0.99);
    }
}

fn rounded(model: Model, rows: RowFormat, setup: Setup) {
    let golden = model.whole(Mode::Rounded);
    let setup = Setup { rows, ..setup };
    let found = on_card(setup, &self::golden(model)).prompt(0, &golden.prompt, 512);
    let distance = check::logits(&found, &golden.logits, f64::INFINITY);
    println!("  {model:?} rounded, {rows:?} rows: {distance:?}");
    assert!(distance.median < 0.05 && distance.agreement > 0.95);
}

fn greedy() {
    let golden = Model::Mini.whole(Mode::Exact);
    assert!(!golden.greedy.is_empty());
    let mut rig = on_card(Setup::EXACT, &self::golden(Model::Mini));
    for run in &golden.greedy {
        rig.clear(0);
        let mut tokens = golden.prompt[..run.prompt_len].to_vec();
        let mut logits = rig.prompt(0, &tokens, 100);
        for (number, expected) in run.tokens.iter().enumerate() {
            let (best, _) = check::argmax(logits.last().unwrap());
            assert_eq!(best, *expected, "token {number} after {}", run.prompt_len);
            let first = tokens.len() as u32;
            tokens.push(best);
            logits = rig.step(&[(0, first, &[best], Outputs::Last)]);
        }
    }
}

/// The draft block fed with the streams of every position and the token after it.
fn drafts() {
    let golden = Model::Mini.whole(Mode::Exact);
    let mut rig = on_card(Setup::EXACT, &self::golden(Model::Mini));
    let mut next = golden.prompt[1..].to_vec();
    next.push(golden.next_token);
    let mut found = Vec::new();
    for (number, part) in golden.prompt.chunks(200).enumerate() {
        let first = number * 200;
        rig.step(&[(0, first as u32, part, Outputs::None)]);
        found.extend(rig.draft(0, first as u32, &next[first..first + part.len()]));
    }
    let distance = check::logits(&found, &golden.draft, 5e-4);
    println!("  draft: {distance:?}");
    assert!(distance.max < 5e-4 && distance.wrong == 0);
}

/// However a prompt is cut into steps, in exact mode the logits are the goldens'.
fn cuts() {
    let golden = Model::Mini.whole(Mode::Exact);
    let mut rig = on_card(Setup::EXACT, &self::golden(Model::Mini));
    for chunk in [1, 3, 7, 16, 127, 129, 513] {
        rig.clear(0);
        let found = rig.prompt(0, &golden.prompt, chunk);
        let distance = check::logits(&found, &golden.logits, 5e-4);
        println!("  {chunk} at a time: {:.1e}", distance.max);
        assert!(distance.max < 5e-4 && distance.wrong == 0);
    }
}

/// Each block alone on synthetic streams: errors do not accumulate and flipped codes stay local.
///
/// Of some hundred thousand codes one or two fall to their other neighbour when sums are added in
/// another order, and every later token sees that row: so the rounded limit is above what one such
/// code makes.
fn blocks() {
    for (mode, setup, limit) in [
        (Mode::Exact, Setup::EXACT, 5e-4),
        (
            Mode::Rounded,
            Setup {
                rows: RowFormat::F32,
                ..Setup::PACKED
            },
            1e-2,
        ),
        (Mode::Rounded, Setup::PACKED, 0.05),
    ] {
        let golden = Model::Mini.whole(mode);
        let mut rig = on_card(setup, &self::golden(Model::Mini));
        for block in golden::blocks(Model::Mini, mode) {
            rig.clear(0);
            rig.begin(&[(0, 0, &golden.prompt[..block.rows], Outputs::None)]);
            rig.scratch
                .streams
                .fill(&block.streams(rig.shape()))
                .unwrap();
            rig.layer(block.layer);
            let (found, width) = (rig.streams(), rig.shape().hidden);
            let at = block.expected.iter();
            let mut far: Vec<f64> = at
                .map(|at| check::streams(&found, width, std::slice::from_ref(at)))
                .collect();
            far.sort_by(f64::total_cmp);
            let (median, max) = (far[far.len() / 2], far[far.len() - 1]);
            println!(
                "  {mode:?} {:?} {}: median {median:.1e} max {max:.1e}",
                setup.rows, block.name
            );
            match mode {
                Mode::Exact => assert!(max < limit),
                Mode::Rounded => assert!(median < limit),
            }
        }
    }
}

/// Two runs of the same steps give the same bits.
fn twice() {
    same_bits(Setup::PACKED);
    same_bits(Setup::HALF);
}

fn same_bits(setup: Setup) {
    let golden = Model::Mini.whole(Mode::Rounded);
    let mut rig = on_card(setup, &self::golden(Model::Mini));
    let mut first = Vec::new();
    for _ in 0..2 {
        rig.clear(0);
        let mut bits: Vec<Vec<u32>> = Vec::new();
        for logits in rig.prompt(0, &golden.prompt[..400], 150) {
            bits.push(logits.iter().map(|l| l.to_bits()).collect());
        }
        for at in 400..420 {
            let logits = rig.step(&[(0, at, &golden.prompt[at as usize..][..1], Outputs::Last)]);
            bits.push(logits[0].iter().map(|l| l.to_bits()).collect());
        }
        if first.is_empty() {
            first = bits;
        } else {
            assert!(first == bits);
        }
    }
}
