//! Random weights of any size, any byte range of any tensor alone.
//!
//! A real model cannot be held while it is made, and a backend wants to fill its own buffers, in
//! parallel, in any order. So every block is a pure function of seed, tensor name and block number;
//! [`Noise::fill`] writes any range of a tensor's bytes, the same bytes however the tensor is cut.
//! Only integer arithmetic and correctly rounded float operations are used: every machine makes the
//! same bytes.
//!
//! The values are noise of a wanted standard deviation, in blocks whose every field varies, so that
//! an engine that reads a neighbour's scale or the wrong nibble is visibly wrong.

mod blocks;
mod normal;

use rayon::prelude::*;

use crate::Format;
use crate::synth::values::{Law, Values, bf16_bits};

use blocks::Maker;

/// What a tensor is filled with.
#[derive(Clone, Debug, PartialEq)]
pub enum Fill {
    /// Blocks of any weight format, mean near 0, this standard deviation.
    Spread {
        /// Standard deviation.
        std: f32,
    },
    /// F32 values, nearly normal.
    Normal {
        /// Mean.
        mean: f32,
        /// Standard deviation.
        std: f32,
    },
    /// F32 values, uniform.
    Uniform {
        /// Least value.
        low: f32,
        /// Greatest value.
        high: f32,
    },
    /// These F32 values.
    Given(Vec<f32>),
    /// Rows of different I32 numbers.
    Distinct {
        /// Numbers in a row.
        row: u32,
        /// Numbers are smaller than this.
        below: u32,
    },
}

/// Why noise cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoiseError {
    /// The format holds no weights, or not what the fill makes.
    #[error("{fill:?} cannot be stored as {format}")]
    Format {
        /// What was to be made.
        fill: Fill,
        /// The format it was to be stored in.
        format: Format,
    },
    /// The standard deviation is no scale of this format: not finite, not positive, too large or
    /// too small.
    #[error("{format} blocks cannot have a standard deviation of {std}")]
    Scale {
        /// The format.
        format: Format,
        /// The standard deviation.
        std: f32,
    },
}

/// The bytes of one tensor.
#[derive(Debug)]
pub struct Noise {
    values: Values,
    maker: Maker,
}

impl Noise {
    /// The bytes of tensor `name`, stored as `format`.
    pub fn new(seed: u64, name: &str, format: Format, fill: &Fill) -> Result<Self, NoiseError> {
        let maker = match (fill, format) {
            (&Fill::Spread { std }, _) => Maker::spread(format, std)?,
            (&Fill::Normal { mean, std }, Format::F32) => Maker::Normal { mean, std },
            (&Fill::Uniform { low, high }, Format::F32) => Maker::Uniform(Law {
                mean: (low + high) / 2.0,
                amplitude: (high - low) / 2.0,
                bf16: false,
            }),
            (Fill::Given(values), Format::F32) => Maker::Given(values.clone()),
            (&Fill::Distinct { row, below }, Format::I32) => Maker::Distinct { row, below },
            _ => {
                return Err(NoiseError::Format {
                    fill: fill.clone(),
                    format,
                });
            }
        };
        Ok(Self {
            values: Values::new(seed, name),
            maker,
        })
    }

    /// Writes the bytes from `start` on. Bytes past the tensor's end are noise like any other: ask
    /// for none of them.
    pub fn fill(&self, start: u64, out: &mut [u8]) {
        let values = &self.values;
        match &self.maker {
            Maker::F16(table) => units(start, out, |i, unit| table.block(values, i, unit)),
            Maker::Q8_0(table) => units(start, out, |i, unit| table.block(values, i, unit)),
            Maker::Q2K(table) => units(start, out, |i, unit| table.block(values, i, unit)),
            Maker::Q4K(table) => units(start, out, |i, unit| table.block(values, i, unit)),
            Maker::Iq2Xxs(table) => units(start, out, |i, unit| table.block(values, i, unit)),
            Maker::Mxfp4(table) => units(start, out, |i, unit| table.block(values, i, unit)),
            Maker::Bf16(law) => units(start, out, |i, unit| {
                *unit = bf16_bits(values.around(i, law.mean, law.amplitude)).to_le_bytes();
            }),
            Maker::Uniform(law) => units(start, out, |i, unit| {
                *unit = values.around(i, law.mean, law.amplitude).to_le_bytes();
            }),
            Maker::Normal { mean, std } => units(start, out, |i, unit| {
                *unit = (mean + std * normal::draw(values.raw(i))).to_le_bytes();
            }),
            Maker::Given(given) => units(start, out, |i, unit| {
                *unit = given.get(i as usize).copied().unwrap_or(0.0).to_le_bytes();
            }),
            Maker::Distinct { row, below } => units(start, out, |i, unit| {
                let (at, k) = (i / u64::from(*row), i % u64::from(*row));
                let id = values
                    .distinct(at, u64::from(*below), k + 1)
                    .last()
                    .unwrap_or(0);
                *unit = (id as i32).to_le_bytes();
            }),
        }
    }
}

impl Noise {
    /// [`Self::fill`] by all threads: the same bytes.
    pub fn fill_parallel(&self, start: u64, out: &mut [u8]) {
        const PIECE: usize = 1 << 18;
        out.par_chunks_mut(PIECE)
            .enumerate()
            .for_each(|(index, piece)| {
                self.fill(start + (index * PIECE) as u64, piece);
            });
    }
}

/// Writes the bytes from `start` on of a run of units of `N` bytes, each made alone.
fn units<const N: usize>(start: u64, out: &mut [u8], make: impl Fn(u64, &mut [u8; N])) {
    let size = N as u64;
    let mut index = start / size;
    let skip = (start % size) as usize;
    let mut rest = out;
    if skip > 0 {
        // The range begins inside a unit.
        let mut unit = [0; N];
        make(index, &mut unit);
        let (part, behind) = rest.split_at_mut((N - skip).min(rest.len()));
        part.copy_from_slice(&unit[skip..][..part.len()]);
        (rest, index) = (behind, index + 1);
    }
    let (whole, part) = rest.as_chunks_mut::<N>();
    for unit in whole {
        make(index, unit);
        index += 1;
    }
    if !part.is_empty() {
        let mut unit = [0; N];
        make(index, &mut unit);
        part.copy_from_slice(&unit[..part.len()]);
    }
}
