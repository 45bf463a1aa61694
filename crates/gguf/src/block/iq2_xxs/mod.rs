//! IQ2_XXS: 256 values on a grid of 256 eight-value words with signs. 66 bytes, 2.0625 bits a
//! value.
//!
//! Eight values share one index into [`grid::MAGNITUDES`] and seven sign bits; the eighth sign
//! makes the number of negative ones even. Thirty-two share a four-bit scale, 256 a float16.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Block, F16, assert_layout};
use crate::Format;

mod encode;
pub mod grid;

/// `x = d · (2·scale + 1) / 8 · magnitude · sign`.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct Iq2Xxs {
    /// Scale of the block.
    pub d: F16,
    /// Eight groups of 32 values.
    pub groups: [Group; 8],
}

assert_layout!(Iq2Xxs, d at 0, groups at 2; 66 bytes);

/// Thirty-two values.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct Group {
    /// Grid index of each run of eight.
    pub words: [u8; 4],
    /// A little-endian `u32`: four seven-bit sign indices, lowest first, and the scale in the top
    /// four bits.
    pub signs_scale: [u8; 4],
}

assert_layout!(Group, words at 0, signs_scale at 4; 8 bytes);

impl Group {
    /// The odd multiple of `d` that this group's values have as a factor: 1, 3, …, 31.
    #[inline]
    pub const fn multiple(&self) -> u8 {
        2 * (self.signs_scale[3] >> 4) + 1
    }

    /// Which of the eight values of run `r` are negative, one bit each.
    #[inline]
    pub const fn signs(&self, r: usize) -> u8 {
        grid::even_signs((u32::from_le_bytes(self.signs_scale) >> (7 * r)) as u8 & 127)
    }
}

impl Block for Iq2Xxs {
    const FORMAT: Format = Format::Iq2Xxs;
    const VALUES: usize = 256;

    #[inline]
    fn decode(&self, out: &mut [f32]) {
        // Exact: an eleven-bit mantissa times five bits.
        let d = self.d.to_f32() * 0.125;
        for (group, out) in self.groups.iter().zip(out.as_chunks_mut::<32>().0) {
            let scale = d * f32::from(group.multiple());
            let signs = u32::from_le_bytes(group.signs_scale);
            for (r, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let magnitudes = &grid::MAGNITUDES[usize::from(group.words[r])];
                let negative = &grid::SIGN_BITS[(signs >> (7 * r)) as usize & 127];
                for k in 0..8 {
                    let value = scale * f32::from(magnitudes[k]);
                    out[k] = f32::from_bits(value.to_bits() ^ negative[k]);
                }
            }
        }
    }

    fn encode(values: &[f32]) -> Self {
        encode::encode(values)
    }
}
