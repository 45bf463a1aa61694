//! Golden and synthetic models on the CPU backend.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "each test binary uses its part of these"
)]

use std::sync::OnceLock;

use ds4_cpu::{Arithmetic, Cpu, Options, Tensor};
use ds4_model::synthetic::Synthetic;
use ds4_model::{Recipe, Rounding, RowFormat, Shape, Weights};
use ds4_truth::golden::Whole;
use ds4_truth::{Model, Rig};

/// Options for one session of the golden's prompt.
pub(crate) fn options(rows: RowFormat, golden: &Whole) -> Options {
    Options {
        threads: 2,
        arithmetic: Arithmetic::Float,
        simd: None,
        rows,
        rounding: Rounding::Model,
        draft: true,
        slots: 1,
        pages: golden.prompt.len() / 512 + 2,
        max_rows: 1024,
        max_outputs: 1024,
    }
}

/// The same without any rounding of rows.
pub(crate) fn exact(golden: &Whole) -> Options {
    Options {
        rounding: Rounding::None,
        ..options(RowFormat::F32, golden)
    }
}

/// The golden model, made once a process.
pub(crate) fn rig(model: Model, options: Options) -> Rig<Cpu> {
    static MADE: [OnceLock<(Shape, Weights<Tensor>)>; 3] =
        [OnceLock::new(), OnceLock::new(), OnceLock::new()];
    let (shape, weights) = MADE[model as usize].get_or_init(|| make(model));
    let backend = Cpu::new(shape.clone(), options).unwrap();
    Rig::new(backend, shape, weights.clone())
}

/// The golden model `tiny` as bound, to be changed.
pub(crate) fn tiny() -> (&'static Shape, &'static Weights<ds4_model::Tensor>) {
    static BOUND: OnceLock<(Shape, Weights<ds4_model::Tensor>)> = OnceLock::new();
    let (shape, weights) = BOUND.get_or_init(|| {
        bound(
            &Shape::from_config(Model::Tiny.config()).unwrap(),
            Recipe::FLOAT,
        )
    });
    (shape, weights)
}

fn make(model: Model) -> (Shape, Weights<Tensor>) {
    let shape = Shape::from_config(model.config()).unwrap();
    weights(&shape, Recipe::FLOAT)
}

/// The synthetic model of a shape in a recipe.
pub(crate) fn made(shape: &Shape, recipe: Recipe, options: Options) -> Rig<Cpu> {
    let (shape, weights) = weights(shape, recipe);
    Rig::new(Cpu::new(shape.clone(), options).unwrap(), &shape, weights)
}

fn weights(shape: &Shape, recipe: Recipe) -> (Shape, Weights<Tensor>) {
    let (shape, weights) = bound(shape, recipe);
    (shape, weights.map(|_, tensor| Tensor::bound(tensor)))
}

fn bound(shape: &Shape, recipe: Recipe) -> (Shape, Weights<ds4_model::Tensor>) {
    let synthetic = Synthetic::reference(shape.clone(), 1, recipe);
    let (shape, mut weights) = Weights::bind(&synthetic.model().unwrap()).unwrap();
    weights
        .bind_draft(&synthetic.draft().unwrap(), &shape)
        .unwrap();
    (shape, weights)
}
