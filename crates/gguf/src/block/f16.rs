//! F16: IEEE binary16, little-endian, at any address. Also the scale of most other blocks.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Block, assert_layout};
use crate::Format;

/// One binary16 as the file has it.
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
pub struct F16 {
    bytes: [u8; 2],
}

assert_layout!(F16, bytes at 0; 2 bytes);

impl F16 {
    /// The largest finite value.
    pub const MAX: f32 = 65504.0;

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

    /// The value, which float32 has exactly; a NaN becomes quiet.
    #[inline]
    pub fn to_f32(self) -> f32 {
        let bits = u32::from(self.to_bits());
        // Shifted in place the exponent is too small by 112, the gap of the biases. The product
        // corrects it for subnormal numbers too. What was infinite or NaN comes out at 65536 or
        // above and gets the full exponent.
        let value = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
        let special = if value >= 65536.0 { 0x7f80_0000 } else { 0 };
        let quiet = if value > 65536.0 { 0x0040_0000 } else { 0 };
        f32::from_bits(value.to_bits() | special | quiet | (bits & 0x8000) << 16)
    }

    /// The nearest number, ties to even; infinite from 65520 up, and NaN stays NaN.
    #[inline]
    pub fn from_f32(value: f32) -> Self {
        let sign = (value.to_bits() >> 16) & 0x8000;
        let magnitude = value.to_bits() & 0x7fff_ffff;
        // Normal result: half a step, less one unless the number would be odd, then cut.
        let odd = (magnitude >> 13) & 1;
        let normal = ((magnitude + 0xfff + odd) >> 13)
            .wrapping_sub(112 << 10)
            .min(0x7c00);
        // Subnormal result: in the binade of 1/2 one unit in the last place is 2^-24, our step, so
        // the adder rounds.
        let small = f32::from_bits(magnitude.min(0.5f32.to_bits()));
        let subnormal = (small + 0.5).to_bits() - 0.5f32.to_bits();
        const SMALLEST_NORMAL: u32 = (127 - 14) << 23;
        let bits = if magnitude < SMALLEST_NORMAL {
            subnormal
        } else {
            normal
        };
        let nan = 0x7e00 | (magnitude >> 13) & 0x3ff;
        let bits = if magnitude > f32::INFINITY.to_bits() {
            nan
        } else {
            bits
        };
        Self::from_bits((sign | bits) as u16)
    }

    /// The nearest finite number: what [`F16::from_f32`] gives, saturating.
    #[inline]
    pub fn saturating(value: f32) -> Self {
        Self::from_f32(value.clamp(-Self::MAX, Self::MAX))
    }
}

impl Block for F16 {
    const FORMAT: Format = Format::F16;
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
    use super::F16;

    #[test]
    fn all_numbers_agree_with_crate_half() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (F16::from_bits(bits), half::f16::from_bits(bits));
            assert_eq!(ours.to_f32().is_nan(), theirs.is_nan(), "{bits:#06x}");
            if !theirs.is_nan() {
                assert_eq!(
                    ours.to_f32().to_bits(),
                    theirs.to_f32().to_bits(),
                    "{bits:#06x}"
                );
                assert_eq!(F16::from_f32(ours.to_f32()), ours, "{bits:#06x}");
            }
        }
    }

    #[test]
    fn rounding_agrees_with_crate_half() {
        for bits in (0..=u32::MAX).step_by(16_381) {
            // The value itself, the tie below it and the tie's neighbour.
            for bits in [
                bits,
                bits & 0xffff_e000 | 0x1000,
                bits & 0xffff_e000 | 0xfff,
            ] {
                let value = f32::from_bits(bits);
                let theirs = half::f16::from_f32(value);
                let ours = F16::from_f32(value);
                assert_eq!(ours.to_f32().is_nan(), value.is_nan());
                if !value.is_nan() {
                    assert_eq!(ours.to_bits(), theirs.to_bits(), "{bits:#010x}");
                }
            }
        }
    }
}
