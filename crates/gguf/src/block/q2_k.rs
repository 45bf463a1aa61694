//! Q2_K: 256 two-bit codes in 16 sub-blocks of 16. 84 bytes, 2.625 bits a value.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::affine::Affine;
use super::{Block, F16, assert_layout};
use crate::Format;

/// `x[i] = d · scale · code - dmin · min`, scale and min those of sub-block i / 16.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Q2K {
    /// Scale (low nibble) and minimum (high nibble) of each sub-block.
    pub scales: [u8; 16],
    /// Codes, four a byte: byte 32·h + l has those of values 128·h + l + 0, 32, 64, 96, lowest bits
    /// first.
    pub qs: [u8; 64],
    /// Unit of the scales.
    pub d: F16,
    /// Unit of the minima.
    pub dmin: F16,
}

assert_layout!(Q2K, scales at 0, qs at 16, d at 80, dmin at 82; 84 bytes);

impl Q2K {
    /// Where sub-block `j` has its 16 codes: the first byte, and how far they are shifted.
    #[inline]
    pub const fn place(j: usize) -> (usize, usize) {
        (32 * (j / 8) + 16 * (j % 2), 2 * (j % 8 / 2))
    }
}

impl Block for Q2K {
    const FORMAT: Format = Format::Q2K;
    const VALUES: usize = 256;

    #[inline]
    fn decode(&self, out: &mut [f32]) {
        let (d, dmin) = (self.d.to_f32(), self.dmin.to_f32());
        for (j, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let scale = d * f32::from(self.scales[j] & 15);
            let min = dmin * f32::from(self.scales[j] >> 4);
            let (first, shift) = Self::place(j);
            for (x, q) in out.iter_mut().zip(&self.qs[first..first + 16]) {
                *x = scale * f32::from(q >> shift & 3) - min;
            }
        }
    }

    fn encode(values: &[f32]) -> Self {
        let affine = Affine::<16>::encode::<16>(values, 3, 15);
        let scales = std::array::from_fn(|j| affine.scales[j] | affine.mins[j] << 4);
        let mut qs = [0; 64];
        for (j, codes) in affine.codes.as_chunks::<16>().0.iter().enumerate() {
            let (first, shift) = Self::place(j);
            for (q, code) in qs[first..first + 16].iter_mut().zip(codes) {
                *q |= code << shift;
            }
        }
        Self {
            scales,
            qs,
            d: affine.d,
            dmin: affine.dmin,
        }
    }
}
