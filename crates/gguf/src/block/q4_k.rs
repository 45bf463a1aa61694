//! Q4_K: 256 four-bit codes in 8 sub-blocks of 32. 144 bytes, 4.5 bits a value.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::affine::Affine;
use super::{Block, F16, assert_layout};
use crate::Format;

/// `x[i] = d · scale · code - dmin · min`, scale and min those of sub-block i / 32.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Q4K {
    /// Unit of the scales.
    pub d: F16,
    /// Unit of the minima.
    pub dmin: F16,
    /// Eight scales and eight minima of six bits, packed; [`Q4K::scale_min`] unpacks them.
    pub scales: [u8; 12],
    /// Codes, two a byte: byte 32·p + l has those of values 64·p + l (low nibble) and 64·p + l + 32
    /// (high).
    pub qs: [u8; 128],
}

assert_layout!(Q4K, d at 0, dmin at 2, scales at 4, qs at 16; 144 bytes);

impl Q4K {
    /// Scale and minimum of sub-block `j`, each 0 to 63.
    ///
    /// Four sub-blocks have theirs in the low six bits of a byte; the others are put together from
    /// nibbles and the two bits left over in those bytes.
    #[inline]
    pub const fn scale_min(&self, j: usize) -> (u8, u8) {
        let s = &self.scales;
        if j < 4 {
            (s[j] & 63, s[j + 4] & 63)
        } else {
            (
                s[j + 4] & 15 | s[j - 4] >> 6 << 4,
                s[j + 4] >> 4 | s[j] >> 6 << 4,
            )
        }
    }

    /// The inverse of [`Q4K::scale_min`] for all sub-blocks.
    fn pack(scales: &[u8; 8], mins: &[u8; 8]) -> [u8; 12] {
        let mut s = [0; 12];
        for j in 0..4 {
            s[j] = scales[j] | scales[j + 4] >> 4 << 6;
            s[j + 4] = mins[j] | mins[j + 4] >> 4 << 6;
            s[j + 8] = scales[j + 4] & 15 | (mins[j + 4] & 15) << 4;
        }
        s
    }
}

impl Block for Q4K {
    const FORMAT: Format = Format::Q4K;
    const VALUES: usize = 256;

    #[inline]
    fn decode(&self, out: &mut [f32]) {
        let (d, dmin) = (self.d.to_f32(), self.dmin.to_f32());
        for (j, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, min) = self.scale_min(j);
            let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
            let (first, shift) = (32 * (j / 2), 4 * (j % 2));
            for (x, q) in out.iter_mut().zip(&self.qs[first..first + 32]) {
                *x = scale * f32::from(q >> shift & 15) - min;
            }
        }
    }

    fn encode(values: &[f32]) -> Self {
        let affine = Affine::<8>::encode::<32>(values, 15, 63);
        let mut qs = [0; 128];
        for (j, codes) in affine.codes.as_chunks::<32>().0.iter().enumerate() {
            for (q, code) in qs[32 * (j / 2)..].iter_mut().zip(codes) {
                *q |= code << (4 * (j % 2));
            }
        }
        let scales = Self::pack(&affine.scales, &affine.mins);
        Self {
            d: affine.d,
            dmin: affine.dmin,
            scales,
            qs,
        }
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::Q4K;

    #[test]
    fn packed_scales_come_apart_again() {
        // Sixteen numbers that differ in every bit position from their neighbours.
        let scales: [u8; 8] = std::array::from_fn(|j| (37 * j + 21) as u8 & 63);
        let mins: [u8; 8] = std::array::from_fn(|j| (53 * j + 42) as u8 & 63);
        let mut block = Q4K::new_zeroed();
        block.scales = Q4K::pack(&scales, &mins);
        for j in 0..8 {
            assert_eq!(block.scale_min(j), (scales[j], mins[j]), "sub-block {j}");
        }
    }
}
