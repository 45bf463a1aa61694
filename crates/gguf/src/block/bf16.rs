//! BF16: the upper half of binary32, little-endian, at any address.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Block, assert_layout};
use crate::Format;

/// One bfloat16 as the file has it.
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
pub struct BF16 {
    bytes: [u8; 2],
}

assert_layout!(BF16, bytes at 0; 2 bytes);

impl BF16 {
    /// The number with these bits.
    #[inline]
    pub const fn from_bits(bits: u16) -> Self {
        Self {
            bytes: bits.to_le_bytes(),
        }
    }

    /// The sixteen bits.
    #[inline]
    pub const fn to_bits(self) -> u16 {
        u16::from_le_bytes(self.bytes)
    }

    /// The value, which float32 has exactly.
    #[inline]
    pub const fn to_f32(self) -> f32 {
        f32::from_bits((self.to_bits() as u32) << 16)
    }

    /// The nearest number, ties to even; NaN stays NaN.
    #[inline]
    pub const fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        // The quiet bit is set because the bits that made it a NaN may all be in the half that is
        // cut.
        let nan = (bits >> 16) as u16 | 0x40;
        let odd = (bits >> 16) & 1;
        let rounded = (bits.wrapping_add(0x7fff + odd) >> 16) as u16;
        Self::from_bits(if value.is_nan() { nan } else { rounded })
    }
}

impl Block for BF16 {
    const FORMAT: Format = Format::BF16;
    const VALUES: usize = 1;

    #[inline]
    fn decode(&self, out: &mut [f32]) {
        out[0] = self.to_f32();
    }

    #[inline]
    fn encode(values: &[f32]) -> Self {
        Self::from_f32(values[0])
    }
}

#[cfg(test)]
mod tests {
    use super::BF16;

    #[test]
    fn all_numbers_agree_with_crate_half() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (BF16::from_bits(bits), half::bf16::from_bits(bits));
            if theirs.is_nan() {
                assert!(ours.to_f32().is_nan());
                assert!(BF16::from_f32(ours.to_f32()).to_f32().is_nan());
            } else {
                assert_eq!(ours.to_f32().to_bits(), theirs.to_f32().to_bits());
                assert_eq!(BF16::from_f32(ours.to_f32()), ours);
            }
        }
    }

    #[test]
    fn rounding_agrees_with_crate_half() {
        // A step coprime to 2^16 meets every pattern of the cut half; the other two are the ties.
        for bits in (0..=u32::MAX).step_by(65_537 / 3) {
            for bits in [
                bits,
                bits & 0xffff_0000 | 0x8000,
                bits & 0xffff_0000 | 0x7fff,
            ] {
                let value = f32::from_bits(bits);
                let theirs = half::bf16::from_f32(value).to_bits();
                assert_eq!(BF16::from_f32(value).to_bits(), theirs, "{bits:#010x}");
            }
        }
    }
}
