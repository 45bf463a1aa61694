//! E8M0, a power of two in a byte: the scale of MXFP4 blocks, of checkpoint matrices and of KV
//! rows.
//!
//! Byte `b` is 2^(b - 127); 0 is the float32 subnormal 2^-127, and 255 is NaN.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// One power of two.
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
#[repr(transparent)]
pub struct E8M0(pub u8);

impl E8M0 {
    /// 2^0.
    pub const ONE: Self = Self(127);
    /// The one code that is not a number.
    pub const NAN: Self = Self(255);

    /// The value of this code.
    #[inline]
    pub fn to_f32(self) -> f32 {
        match self.0 {
            0 => f32::from_bits(0x0040_0000),
            255 => f32::NAN,
            exponent => f32::from_bits(u32::from(exponent) << 23),
        }
    }

    /// The smallest power of two that is not below `ratio`, read from its bits: the exponent, plus
    /// one if the mantissa is not zero.
    ///
    /// `ratio` is positive. Above 2^127 the answer is 2^127; NaN gives NaN. A logarithm would be a
    /// second rounding: it puts some ratios next to a power of two on its wrong side.
    #[inline]
    pub fn ceil(ratio: f32) -> Self {
        let bits = ratio.to_bits() & 0x7fff_ffff;
        if bits > f32::INFINITY.to_bits() {
            return Self::NAN;
        }
        // A subnormal ratio has exponent field 0 and lies in (0, 2^-126): 2^-127 is the lower half
        // of that.
        let up = if bits < 0x0080_0000 {
            bits > 0x0040_0000
        } else {
            bits & 0x007f_ffff != 0
        };
        Self(((bits >> 23) + u32::from(up)).min(254) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::E8M0;

    #[test]
    fn every_code_is_its_power_of_two() {
        for code in 0..255_u8 {
            let value = f64::from(E8M0(code).to_f32());
            assert_eq!(value, 2f64.powi(i32::from(code) - 127), "code {code}");
        }
        assert!(E8M0::NAN.to_f32().is_nan());
    }

    #[test]
    fn the_power_above_is_found_at_and_around_every_power() {
        for code in 0..254_u8 {
            let value = E8M0(code).to_f32();
            assert_eq!(E8M0::ceil(value), E8M0(code), "at 2^({code} - 127)");
            assert_eq!(
                E8M0::ceil(value.next_up()),
                E8M0(code + 1),
                "above 2^({code} - 127)"
            );
            assert_eq!(
                E8M0::ceil(value.next_down()),
                E8M0(code),
                "below 2^({code} - 127)"
            );
        }
    }

    #[test]
    fn what_has_no_power_above_saturates_and_nan_stays_nan() {
        assert_eq!(E8M0::ceil(f32::MAX), E8M0(254));
        assert_eq!(E8M0::ceil(f32::INFINITY), E8M0(254));
        assert_eq!(E8M0::ceil(f32::NAN), E8M0::NAN);
        assert_eq!(E8M0::ceil(0.0), E8M0(0));
    }
}
