//! What a bound model amounts to: parameters, formats, the recipe it was made by, bytes a token
//! reads, bytes a conversation keeps.
//!
//! Everything here is counted from the tensors themselves; no file is believed about its own
//! quantisation.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ds4_gguf::Format;

use crate::kv::{RowFormat, index_row_bytes, latent_row_bytes};
use crate::layout::Slot;
use crate::recipe::Recipe;
use crate::role::Role;
use crate::shape::{Ratio, Shape};
use crate::tensor::Tensor;
use crate::weights::Weights;

/// How many tensors of a format there are, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Number of tensors.
    pub tensors: usize,
    /// Sum of their bytes.
    pub bytes: u64,
}

/// Neighbouring layers whose routed experts are stored alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutedRun {
    /// The layers.
    pub layers: RangeInclusive<usize>,
    /// Format of gate and up matrices.
    pub inward: Format,
    /// Format of down matrices.
    pub outward: Format,
}

/// What one decoded token reads of the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What every token reads.
    pub always: u64,
    /// The selected experts.
    pub routed: u64,
}

/// The inventory of one model.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// Values in all tensors.
    pub parameters: u64,
    /// Tensors by format.
    pub formats: BTreeMap<Format, Share>,
    /// The recipe that every tensor agrees with.
    pub recipe: Option<Recipe>,
    /// Formats of routed experts, layer by layer.
    pub routed: Vec<RoutedRun>,
    /// What one decoded token reads.
    pub reading: Reading,
}

impl Inventory {
    /// Counts `weights`, which were bound to `shape`.
    pub fn of(shape: &Shape, weights: &Weights<Tensor>) -> Self {
        let slots = Weights::layout(shape).slots();
        let mut tensors = Vec::with_capacity(slots.len());
        weights.for_each(|_, tensor| tensors.push((tensor.format, tensor.bytes().len() as u64)));
        let mut formats: BTreeMap<Format, Share> = BTreeMap::new();
        let mut reading = Reading::default();
        for (slot, &(format, bytes)) in slots.iter().zip(&tensors) {
            let share = formats.entry(format).or_default();
            share.tensors += 1;
            share.bytes += bytes;
            reading.add(slot, bytes, shape);
        }
        let fits = |recipe: &Recipe| {
            let format = |slot: &Slot| recipe.format(slot.role, slot.layer, shape.layers());
            slots
                .iter()
                .zip(&tensors)
                .all(|(slot, tensor)| format(slot) == tensor.0)
        };
        Self {
            parameters: slots.iter().map(Slot::values).sum(),
            formats,
            recipe: Recipe::ALL.into_iter().find(fits),
            routed: routed_runs(weights),
            reading,
        }
    }
}

impl Reading {
    fn add(&mut self, slot: &Slot, bytes: u64, shape: &Shape) {
        match slot.role {
            // One row of a table, and no more.
            Role::Embed | Role::ExpertTable => self.always += bytes / shape.vocab as u64,
            Role::ExpertIn | Role::ExpertOut => {
                self.routed += bytes / shape.experts as u64 * shape.experts_used as u64;
            }
            _ => self.always += bytes,
        }
    }

    /// Both together.
    pub fn total(&self) -> u64 {
        self.always + self.routed
    }
}

fn routed_runs(weights: &Weights<Tensor>) -> Vec<RoutedRun> {
    let mut runs: Vec<RoutedRun> = Vec::new();
    for (layer, weights) in weights.layers.iter().enumerate() {
        let experts = &weights.moe.experts;
        let (inward, outward) = (experts.gate.format, experts.down.format);
        match runs.last_mut() {
            Some(run) if (run.inward, run.outward) == (inward, outward) => {
                run.layers = *run.layers.start()..=layer;
            }
            _ => runs.push(RoutedRun {
                layers: layer..=layer,
                inward,
                outward,
            }),
        }
    }
    runs
}

/// Bytes of the rows that `tokens` tokens of conversation leave behind: a full window in every
/// layer, compressed rows, index rows. The running sums of open windows come on top, a fixed 0.6 MB
/// for Flash.
pub fn row_bytes(shape: &Shape, tokens: usize, format: RowFormat) -> u64 {
    let latent = latent_row_bytes(format, shape.head_width, shape.rotary) as u64;
    let index = index_row_bytes(format, shape.index_width) as u64;
    let window = tokens.min(shape.window) as u64 * latent;
    let layer = |ratio: &Ratio| {
        let row = latent + if *ratio == Ratio::Four { index } else { 0 };
        window + ratio.rows(tokens) as u64 * row
    };
    shape.ratios.iter().map(layer).sum()
}

#[cfg(test)]
mod tests {
    use super::row_bytes;
    use crate::kv::RowFormat;
    use crate::shape::Shape;

    // The table of the specification, section 11: bytes per token of context, and totals.
    #[test]
    fn conversations_take_what_the_specification_says() {
        let (flash, pro) = (Shape::flash(), Shape::pro());
        let bytes = |shape, tokens| row_bytes(shape, tokens, RowFormat::Packed) as f64;
        for (shape, per_token, at_32k, at_1m) in [
            (&flash, 3514.0, 118e6, 3.69e9),
            (&pro, 5031.0, 169e6, 5.28e9),
        ] {
            let slope = (bytes(shape, 1 << 20) - bytes(shape, 1 << 19)) / f64::from(1 << 19);
            assert!((slope - per_token).abs() < 1.0, "{slope}");
            assert!((bytes(shape, 1 << 15) / at_32k - 1.0).abs() < 0.005);
            assert!((bytes(shape, 1 << 20) / at_1m - 1.0).abs() < 0.005);
        }
        let f32 = row_bytes(&flash, 1 << 20, RowFormat::F32) as f64;
        assert!((f32 / 14.44e9 - 1.0).abs() < 0.005);
    }
}
