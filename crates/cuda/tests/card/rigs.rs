//! Models on both backends.

use ds4_cpu::{Arithmetic, Cpu};
use ds4_cuda::Cuda;
use ds4_model::synthetic::Synthetic;
use ds4_model::{Recipe, Rounding, RowFormat, Shape, Tensor, Weights};
use ds4_truth::{Model, Rig};

/// What both backends are set up with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) arithmetic: ds4_cuda::Arithmetic,
    pub(crate) fused: bool,
    pub(crate) rows: RowFormat,
    pub(crate) rounding: Rounding,
    pub(crate) slots: usize,
    pub(crate) pages: usize,
    pub(crate) max_rows: usize,
}

impl Setup {
    /// Rows as F32, without roundings.
    pub(crate) const EXACT: Self = Self {
        arithmetic: ds4_cuda::Arithmetic::Float,
        fused: true,
        rows: RowFormat::F32,
        rounding: Rounding::None,
        slots: 2,
        pages: 16,
        max_rows: 1024,
    };
    /// Rows in their trained bits.
    pub(crate) const PACKED: Self = Self {
        rows: RowFormat::Packed,
        rounding: Rounding::Model,
        ..Self::EXACT
    };

    /// The same on tensor cores.
    pub(crate) const HALF: Self = Self {
        arithmetic: ds4_cuda::Arithmetic::Half,
        ..Self::PACKED
    };

    pub(crate) fn cpu(self, shape: &Shape) -> Cpu {
        let options = ds4_cpu::Options {
            arithmetic: Arithmetic::Float,
            rows: self.rows,
            rounding: self.rounding,
            draft: true,
            slots: self.slots,
            pages: self.pages,
            max_rows: self.max_rows,
            max_outputs: self.max_rows,
            ..ds4_cpu::Options::default()
        };
        Cpu::new(shape.clone(), options).unwrap()
    }

    pub(crate) fn cuda(self, shape: &Shape) -> Cuda {
        Cuda::new(shape.clone(), self.options()).unwrap()
    }

    pub(crate) fn options(self) -> ds4_cuda::Options {
        ds4_cuda::Options {
            arithmetic: self.arithmetic,
            fused: self.fused,
            rows: self.rows,
            rounding: self.rounding,
            draft: true,
            slots: self.slots,
            pages: self.pages,
            max_rows: self.max_rows,
            max_outputs: self.max_rows,
            ..ds4_cuda::Options::default()
        }
    }
}

/// A synthetic model with its draft block.
pub(crate) fn bound(shape: &Shape, recipe: Recipe) -> (Shape, Weights<Tensor>) {
    let synthetic = Synthetic::reference(shape.clone(), 1, recipe);
    let (shape, mut weights) = Weights::bind(&synthetic.model().unwrap()).unwrap();
    weights
        .bind_draft(&synthetic.draft().unwrap(), &shape)
        .unwrap();
    (shape, weights)
}

/// A golden model.
pub(crate) fn golden(model: Model) -> (Shape, Weights<Tensor>) {
    bound(&Shape::from_config(model.config()).unwrap(), Recipe::FLOAT)
}

pub(crate) fn on_cpu(setup: Setup, model: &(Shape, Weights<Tensor>)) -> Rig<Cpu> {
    let weights = model.1.map(|_, tensor| ds4_cpu::Tensor::bound(tensor));
    Rig::new(setup.cpu(&model.0), &model.0, weights)
}

pub(crate) fn on_card(setup: Setup, model: &(Shape, Weights<Tensor>)) -> Rig<Cuda> {
    let backend = setup.cuda(&model.0);
    let weights = backend.load(&model.1).unwrap();
    Rig::new(backend, &model.0, weights)
}
