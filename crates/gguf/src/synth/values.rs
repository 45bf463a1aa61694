//! Values that any program can make again: the generator of the golden test models.
//!
//! The value at `index` of the tensor `name` is a pure function of seed, name and index (all
//! integers modulo 2^64):
//!
//! ```text
//! s = FNV1a64(name) xor seed * G                        G = 0x9E3779B97F4A7C15
//! z = splitmix64 output number `index` of the state s
//! u = (z >> 40) / 2^23 - 1                              in [-1, 1), exact in f32
//! v = mean + amplitude * u                              two f32 operations, never fused
//! ```

use rayon::prelude::*;

use crate::Format;
use crate::block::{self, BlockError};

/// How the values of a tensor are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Law {
    /// The middle of the range.
    pub mean: f32,
    /// Half its width.
    pub amplitude: f32,
    /// Are values rounded to BF16 before anything else?
    pub bf16: bool,
}

/// The tensors `names` stacked, each `[rows, row]`, encoded as `format`.
///
/// # Errors
/// If the format stores no weights, or a row is not whole blocks of it.
pub fn payload(
    seed: u64,
    names: &[String],
    [rows, row]: [usize; 2],
    law: Law,
    format: Format,
) -> Result<Vec<u8>, BlockError> {
    // Enough rows at a time to be worth handing to another thread, few enough to keep all busy.
    let batch = rows.min((1 << 16) / row.max(1)).max(1);
    let batches: Vec<(&String, usize)> = names
        .iter()
        .flat_map(|name| (0..rows).step_by(batch).map(move |first| (name, first)))
        .collect();
    let parts: Result<Vec<Vec<u8>>, BlockError> = batches
        .into_par_iter()
        .map(|(name, first)| {
            let mut values = vec![0.0; row * batch.min(rows - first)];
            Values::new(seed, name).fill((first * row) as u64, law, &mut values);
            let mut bytes = Vec::new();
            // Row by row: a row never shares a block with the next.
            for values in values.chunks_exact(row) {
                block::encode(format, values, &mut bytes)?;
            }
            Ok(bytes)
        })
        .collect();
    Ok(parts?.concat())
}

/// The step of the generator's counter.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The values of one tensor.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    state: u64,
}

impl Values {
    /// The generator of the tensor `name`.
    pub fn new(seed: u64, name: &str) -> Self {
        Self {
            state: fnv1a64(name) ^ seed.wrapping_mul(STEP),
        }
    }

    /// 64 random bits.
    #[inline]
    pub fn raw(&self, index: u64) -> u64 {
        let z = self
            .state
            .wrapping_add(index.wrapping_add(1).wrapping_mul(STEP));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in [-1, 1), a multiple of 2^-23.
    #[inline]
    pub fn uniform(&self, index: u64) -> f32 {
        (self.raw(index) >> 40) as f32 * (1.0 / 8_388_608.0) - 1.0
    }

    /// Uniform around `mean`, at most `amplitude` away.
    #[inline]
    pub fn around(&self, index: u64, mean: f32, amplitude: f32) -> f32 {
        mean + amplitude * self.uniform(index)
    }

    /// Fills `out` with the values from `first` on.
    pub fn fill(&self, first: u64, law: Law, out: &mut [f32]) {
        for (index, value) in (first..).zip(out) {
            let drawn = self.around(index, law.mean, law.amplitude);
            *value = if law.bf16 {
                f32::from_bits(u32::from(bf16_bits(drawn)) << 16)
            } else {
                drawn
            };
        }
    }

    /// `count` different numbers below `below`, for row `row` of a table: an arithmetic progression
    /// modulo `below`.
    ///
    /// The stride is odd; where `below` is no power of two it grows until it shares no divisor with
    /// `below`.
    pub fn distinct(&self, row: u64, below: u64, count: u64) -> impl Iterator<Item = u64> + use<> {
        let z = self.raw(row);
        let first = z % below;
        let mut stride = 1 + 2 * ((z >> 32) % (below / 2).max(1));
        while greatest_common_divisor(stride, below) != 1 {
            stride += 2;
        }
        (0..count).map(move |k| (first + k * stride) % below)
    }
}

/// BF16 bits of a finite number, to nearest even. Written out to be inlined: it runs once per value
/// of a model.
#[inline]
pub(super) fn bf16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16) as u16
}

/// The hash that turns a tensor's name into a generator state.
fn fnv1a64(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::{Law, Values};

    // The constants come from the reference generator (units.json, `synth`).
    #[test]
    fn the_reference_generator_gives_the_same_bits() {
        let values = Values::new(1, "layers.0.attn.wq_a.weight");
        let raw: Vec<u64> = (0..4).map(|index| values.raw(index)).collect();
        let expected = [
            2_029_244_248_859_894_696,
            1_114_696_885_816_462_015,
            14_272_999_509_980_875_554,
            13_955_783_181_351_456_926,
        ];
        assert_eq!(raw, expected);
        let mut drawn = [0.0; 8];
        let law = Law {
            mean: 0.0,
            amplitude: 0.153_093_11,
            bf16: true,
        };
        values.fill(0, law, &mut drawn);
        let expected: [f32; 8] = [
            -0.119_628_906,
            -0.134_765_63,
            0.083_984_375,
            0.078_613_28,
            0.118_164_06,
            -0.010_131_836,
            0.028_198_242,
            0.133_789_06,
        ];
        assert_eq!(drawn, expected);
    }

    #[test]
    fn table_rows_hold_different_numbers_whatever_the_modulus() {
        for below in [1, 2, 6, 8, 15, 16, 30, 105, 256, 384] {
            let values = Values::new(7, "table");
            for row in 0..100 {
                let count = below.min(6);
                let mut ids: Vec<u64> = values.distinct(row, below, count).collect();
                assert!(ids.iter().all(|&id| id < below));
                ids.sort_unstable();
                ids.dedup();
                assert_eq!(ids.len() as u64, count, "row {row} below {below}");
            }
        }
    }
}
