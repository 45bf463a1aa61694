//! How this machine multiplies: which vector instructions, and whether quantised weights meet floats or eight-bit codes.

use ds4_gguf::Format;
use zerocopy::IntoBytes;

use crate::dot::{Activations, Dots, Partner, Row};
use crate::tensor::Tensor;

/// What activations are multiplied as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Floats against decoded weights: no rounding beyond the model's own.
    Float,
    /// The form that the weight's format wants: eight-bit codes against quantised blocks.
    Blocks,
}

/// The functions and the arithmetic chosen at start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernels {
    pub(crate) dots: Dots,
    pub(crate) arithmetic: Arithmetic,
}

impl Kernels {
    /// The form in which activations meet a weight of `format`.
    pub(crate) fn partner(&self, format: Format) -> Partner {
        match self.arithmetic {
            Arithmetic::Float => Partner::F32,
            Arithmetic::Blocks => Partner::of(format).expect("matrices are in weight formats"),
        }
    }

    /// Products of one weight row with rows of activations in the weight's form, each given to `out(row, product)`.
    pub(crate) fn meet(
        &self,
        w: &Tensor,
        weight_row: usize,
        local: &mut Vec<f32>,
        x: &Activations,
        rows: impl Iterator<Item = usize>,
        mut out: impl FnMut(usize, f32),
    ) {
        let bytes = w.row(weight_row);
        if Partner::of(w.format) == Some(self.partner(w.format)) {
            for row in rows {
                out(row, self.dots.dot(w.format, bytes, x.row(row)));
            }
        } else {
            local.resize(local.len().max(w.cols), 0.0);
            let decoded = &mut local[..w.cols];
            w.decode_row(weight_row, decoded);
            for row in rows {
                out(
                    row,
                    self.dots.dot(Format::F32, decoded.as_bytes(), x.row(row)),
                );
            }
        }
    }

    /// Sum of products of floats.
    pub(crate) fn floats(&self, a: &[f32], b: &[f32]) -> f32 {
        self.dots.dot(Format::F32, a.as_bytes(), Row::F32(b))
    }
}
