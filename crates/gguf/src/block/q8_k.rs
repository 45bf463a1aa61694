//! Q8_K: 256 activations as signed bytes, with their sums. Run time only; no file contains it.
//!
//! It is the partner of Q2_K, Q4_K and IQ2_XXS in integer dot products. The sums of 16 codes let
//! the `min` terms of the first two be applied with one multiplication per 16 values.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::round::half_away;

/// `x[i] = d · qs[i]`, and `sums[j]` = the sum of `qs[16·j .. 16·j + 16]`.
#[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Q8K {
    /// Scale.
    pub d: f32,
    /// Codes, -127 to 127.
    pub qs: [i8; 256],
    /// Sums of 16 consecutive codes.
    pub sums: [i16; 16],
}

const _: () = {
    assert!(size_of::<Q8K>() == 292);
    assert!(std::mem::offset_of!(Q8K, qs) == 4);
    assert!(std::mem::offset_of!(Q8K, sums) == 260);
};

impl Q8K {
    /// Values in a block.
    pub const VALUES: usize = 256;

    /// Quantises one block: the largest magnitude becomes 127.
    ///
    /// A NaN or an infinity makes the scale NaN, so that whatever is computed with the block shows
    /// it.
    pub fn quantise(values: &[f32; 256]) -> Self {
        // As integers, magnitudes order alike and NaN lies above infinity instead of being skipped.
        let bits = values
            .iter()
            .map(|v| (v.to_bits() & 0x7fff_ffff) as i32)
            .fold(0, i32::max);
        let largest = f32::from_bits(bits as u32);
        let mut block = Self {
            d: f32::NAN,
            qs: [0; 256],
            sums: [0; 16],
        };
        if !largest.is_finite() {
            return block;
        }
        // Below 2^-100 the reciprocal could overflow; such a block is zero next to any other
        // activation.
        if largest < f32::from_bits(27 << 23) {
            block.d = 0.0;
            return block;
        }
        block.d = largest / 127.0;
        let inverse = 127.0 / largest;
        for (q, x) in block.qs.iter_mut().zip(values) {
            *q = half_away(x * inverse) as i8;
        }
        for (sum, run) in block.sums.iter_mut().zip(block.qs.as_chunks::<16>().0) {
            *sum = run.iter().map(|&q| i16::from(q)).sum();
        }
        block
    }

    /// Writes the block's values.
    pub fn decode(&self, out: &mut [f32; 256]) {
        for (x, q) in out.iter_mut().zip(&self.qs) {
            *x = self.d * f32::from(*q);
        }
    }
}
