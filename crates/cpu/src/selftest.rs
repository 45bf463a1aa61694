//! Every operation of every vector level this machine has, against the plain loops: is this CPU,
//! and this build, to be trusted?
//!
//! A small synthetic model is run by the scalar level. Each operation is then done again by every
//! other level on the same inputs, and what they give is compared; the plain result is what the
//! model goes on with, so an error shows at the operation that made it and nowhere else. What the
//! steps left in the sessions is compared as well.

use std::collections::BTreeMap;

use ds4_model::probe::{Call, Output, Probe, Probed};
use ds4_model::synthetic::{self, SynthError, Synthetic};
use ds4_model::{Backend, BindError, Outputs, Plan, Recipe, Scratch, Weights, forward::forward};
use thiserror::Error;

use crate::dot::Simd;
use crate::{Arithmetic, Cpu, Options, Tensor};

/// How long a text the model is run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Long enough for both compressors and a window that is full.
    Session,
    /// Long enough for every kernel on weights: dot products for few rows, tiles for many.
    Weights,
}

impl Extent {
    /// Rows of the steps.
    fn steps(self) -> &'static [usize] {
        match self {
            Self::Session => &[1, 3, 8, 40, 100, 1],
            Self::Weights => &[1, 3, 20],
        }
    }
}

/// How far a result may be from the plain one, relative to its length: what adding in another order
/// loses, with a wide margin. Measured: 3e-7.
const FLOATS: f64 = 2e-5;

/// The same where activations become eight-bit codes on the way: a code may fall to its other
/// neighbour, a step of one in 128, in one channel of many. Measured: 5e-5.
const CODES: f64 = 5e-3;

/// Share of picked ids, or of bytes in memory, that may differ: ties. Measured: none.
const TIES: f64 = 1e-2;

/// What was found about one operation of one level.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The level.
    pub level: Simd,
    /// The operation, as in `Ops`, or what was left in memory.
    pub operation: &'static str,
    /// The worst distance from the plain result.
    pub worst: f64,
    /// How far it may be.
    pub limit: f64,
}

impl Finding {
    /// Is it as near as it must be? What is no number is not.
    pub fn is_good(&self) -> bool {
        self.worst <= self.limit
    }
}

/// Why nothing was found.
#[derive(Debug, Error)]
pub enum SelftestError {
    /// The synthetic model could not be made.
    #[error(transparent)]
    Model(#[from] SynthError),
    /// It did not hold together.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// There is no room for it.
    #[error(transparent)]
    Cpu(#[from] crate::Error),
}

/// The levels of this machine that are compared with the plain loops.
pub fn levels() -> impl Iterator<Item = Simd> {
    Simd::ALL
        .into_iter()
        .filter(|level| *level != Simd::Scalar && level.is_supported())
}

/// The level that runs unless another one is asked for.
pub fn best() -> Simd {
    crate::dot::Dots::detect().simd()
}

/// Compares all levels on a model in `recipe`, made from `seed`.
///
/// # Errors
/// If there is no model to compare on.
pub fn compare(
    recipe: &Recipe,
    arithmetic: Arithmetic,
    extent: Extent,
    seed: u64,
) -> Result<Vec<Finding>, SelftestError> {
    let setup = |simd| setup(simd, arithmetic);
    let others = levels().map(|level| (level, setup(level)));
    run(
        recipe,
        (extent, seed),
        setup(Simd::Scalar),
        others.collect(),
    )
}

fn setup(simd: Simd, arithmetic: Arithmetic) -> Options {
    Options {
        arithmetic,
        simd: Some(simd),
        pages: 1,
        max_rows: 128,
        max_outputs: 4,
        ..Options::default()
    }
}

fn run(
    recipe: &Recipe,
    (extent, seed): (Extent, u64),
    plain: Options,
    others: Vec<(Simd, Options)>,
) -> Result<Vec<Finding>, SelftestError> {
    let file = Synthetic::noise(synthetic::mini(), seed, recipe.clone()).model()?;
    let (shape, weights) = Weights::bind(&file)?;
    let weights = weights.map(|_, tensor| Tensor::bound(tensor));
    let others = others.into_iter().map(|(level, options)| {
        let cpu = Cpu::new(shape.clone(), options)?;
        Ok(Other {
            level,
            cpu,
            worst: BTreeMap::new(),
        })
    });
    let probe = Comparing {
        others: others.collect::<Result<_, crate::Error>>()?,
        rows: 0,
    };
    let pages: Vec<u32> = (0..plain.pages as u32).collect();
    let mut plain = Probed::new(Cpu::new(shape.clone(), plain)?, probe);
    for cpu in plain.probe.others.iter_mut().map(|other| &mut other.cpu) {
        cpu.clear_slot(0)?;
        cpu.set_pages(0, &pages)?;
    }
    plain.clear_slot(0)?;
    plain.set_pages(0, &pages)?;
    let mut scratch = Scratch::new(&mut plain, &shape)?;
    let steps = extent.steps();
    let tokens = synthetic::prompt(shape.vocab, steps.iter().sum(), seed);
    let mut plan = Plan::new();
    let mut at = 0;
    for &rows in steps {
        plan.clear();
        let part = &tokens[at..at + rows];
        plan.push(0, at as u32, part, Outputs::Last)
            .expect("one session, rows in order");
        plain.begin(&plan)?;
        forward(&mut plain, &weights, &mut scratch)?;
        at += rows;
        let Probed { inner, probe } = &mut plain;
        probe.compare_memory(inner, at as u32, pages.len() as u32)?;
    }
    Ok(plain.probe.findings())
}

/// A level that is compared, and its worst distances.
struct Other {
    level: Simd,
    cpu: Cpu,
    worst: BTreeMap<&'static str, f64>,
}

impl Other {
    fn note(&mut self, operation: &'static str, distance: f64) {
        let worst = self.worst.entry(operation).or_default();
        // No number is infinitely far.
        *worst = worst.max(if distance.is_nan() {
            f64::INFINITY
        } else {
            distance
        });
    }
}

struct Comparing {
    others: Vec<Other>,
    /// Of the step.
    rows: usize,
}

/// What an operation wrote.
enum Written {
    Rows(Vec<f32>),
    Mixed(Vec<f32>, Vec<f32>),
    /// Ids and weights of each row.
    Picks(Vec<(Vec<u32>, Vec<f32>)>),
    Memory,
}

impl Written {
    fn of(call: &mut Call<'_, Cpu>, rows: usize) -> Self {
        match call.output() {
            Output::Rows(out) => Self::Rows(out.data.clone()),
            Output::Mixed(x, mix) => Self::Mixed(x.data.clone(), mix.data.clone()),
            Output::Picks(picks) => {
                let row = |row| (picks.ids(row).to_vec(), picks.weights(row).to_vec());
                Self::Picks((0..rows).map(row).collect())
            }
            Output::Memory => Self::Memory,
        }
    }

    /// Puts it back.
    fn restore(&self, call: &mut Call<'_, Cpu>) {
        match (self, call.output()) {
            (Self::Rows(data), Output::Rows(out)) => out.fill(data),
            (Self::Mixed(x, mix), Output::Mixed(out, out_mix)) => {
                out.fill(x);
                out_mix.fill(mix);
            }
            (Self::Picks(rows), Output::Picks(picks)) => {
                for (row, (ids, weights)) in rows.iter().enumerate() {
                    picks.set(row, ids, weights);
                }
            }
            _ => {}
        }
    }

    /// How far `self` is from `truth`.
    fn distance(&self, truth: &Self) -> f64 {
        match (self, truth) {
            (Self::Rows(found), Self::Rows(truth)) => distance(found, truth),
            (Self::Mixed(x, mix), Self::Mixed(true_x, true_mix)) => {
                distance(x, true_x).max(distance(mix, true_mix))
            }
            (Self::Picks(found), Self::Picks(truth)) => {
                let all: usize = truth.iter().map(|(ids, _)| ids.len()).sum();
                let apart = |(found, truth): (&(Vec<u32>, _), &(Vec<u32>, _))| {
                    let same = truth.0.iter().filter(|id| found.0.contains(id)).count();
                    truth.0.len().max(found.0.len()) - same
                };
                let apart: usize = found.iter().zip(truth).map(apart).sum();
                apart as f64 / all.max(1) as f64
            }
            _ => 0.0,
        }
    }
}

impl Probe<Cpu> for Comparing {
    fn begin(&mut self, _plain: &mut Cpu, plan: &Plan) -> Result<(), crate::Error> {
        self.rows = plan.len();
        self.others
            .iter_mut()
            .try_for_each(|other| other.cpu.begin(plan))
    }

    fn operation(&mut self, plain: &mut Cpu, call: &mut Call<'_, Cpu>) -> Result<(), crate::Error> {
        // Some operations work in place: everybody begins with the same.
        let before = Written::of(call, self.rows);
        call.run(plain)?;
        let truth = Written::of(call, self.rows);
        for other in &mut self.others {
            before.restore(call);
            call.run(&mut other.cpu)?;
            let found = Written::of(call, self.rows);
            other.note(call.name(), found.distance(&truth));
        }
        truth.restore(call);
        Ok(())
    }
}

impl Comparing {
    /// Compares what a step left in the session of `tokens` tokens, and gives everybody the plain
    /// one.
    fn compare_memory(
        &mut self,
        plain: &mut Cpu,
        tokens: u32,
        pages: u32,
    ) -> Result<(), crate::Error> {
        let mut truth = Vec::new();
        plain.save_frontier(0, tokens, &mut truth)?;
        for other in &mut self.others {
            let mut found = Vec::new();
            other.cpu.save_frontier(0, tokens, &mut found)?;
            other.note("window and sums", bytes_apart(&found, &truth));
            other.cpu.load_frontier(0, tokens, &truth)?;
        }
        let page_bytes = plain.geometry().page_bytes;
        for page in 0..pages {
            truth.resize(page_bytes, 0);
            plain.save_page(page, &mut truth)?;
            for other in &mut self.others {
                let mut found = vec![0; page_bytes];
                other.cpu.save_page(page, &mut found)?;
                other.note("pages", bytes_apart(&found, &truth));
                other.cpu.load_page(page, &truth)?;
            }
        }
        Ok(())
    }

    fn findings(self) -> Vec<Finding> {
        let of = |other: Other| {
            other
                .worst
                .into_iter()
                .map(move |(operation, worst)| Finding {
                    level: other.level,
                    operation,
                    worst,
                    limit: limit(operation),
                })
        };
        self.others.into_iter().flat_map(of).collect()
    }
}

fn limit(operation: &str) -> f64 {
    match operation {
        "index_select" | "route" | "window and sums" | "pages" => TIES,
        "experts" => CODES,
        _ => FLOATS,
    }
}

/// `|found - truth| / |truth|`.
fn distance(found: &[f32], truth: &[f32]) -> f64 {
    let (mut off, mut all) = (0.0, 0.0);
    for (f, t) in found.iter().zip(truth) {
        // What no operation of this step wrote is the same, and may be anything.
        if f.to_bits() != t.to_bits() {
            off += (f64::from(*f) - f64::from(*t)).powi(2);
        }
        all += f64::from(*t).powi(2);
    }
    if off == 0.0 { 0.0 } else { (off / all).sqrt() }
}

/// The share of bytes that differ.
fn bytes_apart(found: &[u8], truth: &[u8]) -> f64 {
    let apart = found.iter().zip(truth).filter(|(f, t)| f != t).count();
    apart as f64 / truth.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_of_this_machine_is_near_the_plain_loops() {
        let recipe = Recipe::Q2;
        let found = compare(&recipe, Arithmetic::Blocks, Extent::Session, 3).expect("a model");
        let operations = found.iter().filter(|f| Some(f.level) == levels().next());
        assert!(
            levels().count() == 0 || operations.count() >= 18,
            "{found:?}"
        );
        for finding in &found {
            assert!(finding.is_good(), "{finding:?}");
        }
    }

    /// The comparison must be able to fail: another arithmetic is another result, and where it is
    /// not used nothing differs.
    #[test]
    fn other_results_are_noticed_where_they_are_made() {
        let plain = setup(Simd::Scalar, Arithmetic::Float);
        let other = setup(Simd::Scalar, Arithmetic::Blocks);
        let others = vec![(Simd::Scalar, other)];
        let found = run(&Recipe::Q2, (Extent::Weights, 3), plain, others).expect("a model");
        let of = |name: &str| found.iter().find(|f| f.operation == name).expect("it ran");
        for name in ["matmul", "experts", "output_groups"] {
            assert!(!of(name).is_good(), "{found:?}");
        }
        for name in ["rms_norm", "attend", "index_heads", "pages"] {
            assert!(of(name).worst == 0.0, "{found:?}");
        }
    }
}
