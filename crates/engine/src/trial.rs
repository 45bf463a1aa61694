//! A card against the CPU: is this card, with this build's kernels, to be trusted?
//!
//! A small synthetic model computes one text on both, in steps of few and of many rows, so that
//! every kernel runs: those of single tokens, of batches and of prompts, on every format of weights.
//! What is compared are the logits of every token.

use ds4_gguf::Gguf;
use ds4_model::synthetic::{self, SynthError, Synthetic};
use ds4_model::{Outputs, Plan, PlanError, Recipe, Rounding, RowFormat};
use thiserror::Error;

use crate::load::{CudaArithmetic, CudaOptions, LoadError, load_cpu, load_cuda};
use crate::machine::{Machine, MachineError};

/// Rows of the steps: enough for both compressors and a window that is full.
const STEPS: [usize; 7] = [1, 3, 8, 40, 128, 30, 1];
const MOST: usize = 128;

/// How one setting of a card is compared.
struct Case {
    name: &'static str,
    arithmetic: CudaArithmetic,
    rows: RowFormat,
    rounding: Rounding,
    /// How far the middle one of all tokens may be, relative to the length of its logits.
    limit: f64,
}

/// Sums in another order lose 1e-5; eleven bits a few thousandths, and the eight of activations that
/// meet experts by integers a hundredth; where rows are stored as trained, a code now and then falls
/// to its other neighbour, which every later token sees. What is wrong is off by one.
const CASES: [Case; 3] = [
    Case {
        name: "floats",
        arithmetic: CudaArithmetic::Float,
        rows: RowFormat::F32,
        rounding: Rounding::None,
        limit: 1e-3,
    },
    Case {
        name: "tensor cores",
        arithmetic: CudaArithmetic::Half,
        rows: RowFormat::F32,
        rounding: Rounding::None,
        limit: 5e-2,
    },
    Case {
        name: "as it runs",
        arithmetic: CudaArithmetic::Half,
        rows: RowFormat::Packed,
        rounding: Rounding::Model,
        limit: 0.15,
    },
];

/// What was found about one setting of the card.
#[derive(Clone, Debug, PartialEq)]
pub struct CardFinding {
    /// What was compared.
    pub name: &'static str,
    /// How far the middle one of all tokens is from the CPU's.
    pub distance: f64,
    /// How far it may be.
    pub limit: f64,
    /// Whether a second run gave the same bits.
    pub is_repeatable: bool,
}

impl CardFinding {
    /// Is it as near as it must be, twice? What is no number is not.
    pub fn is_good(&self) -> bool {
        self.distance <= self.limit && self.is_repeatable
    }
}

/// Why nothing was found.
#[derive(Debug, Error)]
pub enum TrialError {
    /// The synthetic model could not be made.
    #[error(transparent)]
    Model(#[from] SynthError),
    /// It could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The text could not be laid out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A device failed.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

/// Compares a card with the CPU on a model in `recipe`, made from `seed`.
///
/// # Errors
/// If there is no card, or it fails.
pub fn try_card(card: usize, recipe: &Recipe, seed: u64) -> Result<Vec<CardFinding>, TrialError> {
    let file = Synthetic::noise(synthetic::mini(), seed, recipe.clone()).model()?;
    let mut findings = Vec::new();
    for case in &CASES {
        let truth = on_cpu(&file, case, seed)?;
        let options = CudaOptions {
            card,
            arithmetic: case.arithmetic,
            rows: case.rows,
            rounding: case.rounding,
            pages: 1,
            max_rows: MOST,
            max_outputs: MOST,
            ..CudaOptions::default()
        };
        let go_on = &mut |_, _| std::ops::ControlFlow::Continue(());
        let mut machine = load_cuda(&file, options, go_on)?;
        let found = text(&mut machine, seed)?;
        let again = text(&mut machine, seed)?;
        findings.push(CardFinding {
            name: case.name,
            distance: middle(&found, &truth),
            limit: case.limit,
            is_repeatable: same_bits(&found, &again),
        });
    }
    Ok(findings)
}

fn on_cpu(file: &Gguf, case: &Case, seed: u64) -> Result<Vec<Vec<f32>>, TrialError> {
    let options = ds4_cpu::Options {
        arithmetic: ds4_cpu::Arithmetic::Float,
        rows: case.rows,
        rounding: case.rounding,
        pages: 1,
        max_rows: MOST,
        max_outputs: MOST,
        ..ds4_cpu::Options::default()
    };
    text(&mut load_cpu(file, options)?, seed)
}

/// The logits of every token of a text.
fn text(machine: &mut dyn Machine, seed: u64) -> Result<Vec<Vec<f32>>, TrialError> {
    let vocab = machine.limits().vocab;
    let tokens = synthetic::prompt(vocab, STEPS.iter().sum(), seed);
    machine.seat(0, &[0], 0, None)?;
    let (mut plan, mut all, mut at) = (Plan::new(), Vec::new(), 0);
    for rows in STEPS {
        plan.clear();
        plan.push(0, at as u32, &tokens[at..at + rows], Outputs::All)?;
        let logits = machine.step(&plan)?;
        all.extend(logits.chunks_exact(vocab).map(<[f32]>::to_vec));
        at += rows;
    }
    Ok(all)
}

/// The distance of the middle row, relative to the length of its truth.
fn middle(found: &[Vec<f32>], truth: &[Vec<f32>]) -> f64 {
    if found.len() != truth.len() {
        return f64::INFINITY;
    }
    let apart = |(found, truth): (&Vec<f32>, &Vec<f32>)| {
        let square = |value: f64| value * value;
        let pairs = found.iter().zip(truth);
        let off: f64 = pairs
            .map(|(f, t)| square(f64::from(*f) - f64::from(*t)))
            .sum();
        let length: f64 = truth.iter().map(|t| square(f64::from(*t))).sum();
        let far = (off / length.max(1e-30)).sqrt();
        // No number is infinitely far.
        if far.is_nan() { f64::INFINITY } else { far }
    };
    let mut all: Vec<f64> = found.iter().zip(truth).map(apart).collect();
    all.sort_by(f64::total_cmp);
    // One row that is no number spoils the text.
    match all.last() {
        Some(last) if last.is_finite() => all[all.len() / 2],
        _ => f64::INFINITY,
    }
}

fn same_bits(one: &[Vec<f32>], other: &[Vec<f32>]) -> bool {
    let bits =
        |rows: &[Vec<f32>]| -> Vec<u32> { rows.concat().iter().map(|v| v.to_bits()).collect() };
    bits(one) == bits(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The comparison must be able to fail, without a card too.
    #[test]
    fn other_weights_are_far_and_the_same_are_not() {
        let of = |seed| {
            let model = Synthetic::noise(synthetic::mini(), seed, Recipe::Q2);
            on_cpu(&model.model().expect("a model"), &CASES[2], 3).expect("a text")
        };
        let (one, other) = (of(3), of(4));
        assert_eq!(one.len(), STEPS.iter().sum::<usize>());
        assert!(middle(&one, &other) > 0.5, "{}", middle(&one, &other));
        assert!(middle(&one, &of(3)) == 0.0);
        assert!(same_bits(&one, &of(3)) && !same_bits(&one, &other));
        let mut spoilt = one.clone();
        spoilt[7][5] = f32::NAN;
        assert!(middle(&spoilt, &one).is_infinite());
        assert!(middle(&one[1..], &one).is_infinite());
    }

    #[test]
    fn where_there_is_no_card_that_is_said() {
        let error = try_card(usize::MAX, &Recipe::Q2, 1).expect_err("there are not so many");
        assert!(matches!(error, TrialError::Load(_)), "{error}");
    }
}
