//! E2M1, the four-bit float of checkpoint experts, MXFP4 blocks and index rows.
//!
//! Bit 3 is the sign; the low three bits count through 0, 0.5, 1, 1.5, 2, 3, 4, 6.

/// One E2M1 code, in the low four bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct E2M1(u8);

/// Twice the magnitude of the low three bits: all eight are whole numbers.
const TWICE: [u8; 8] = [0, 1, 2, 3, 4, 6, 8, 12];

impl E2M1 {
    /// The largest value, code 7.
    pub const MAX: f32 = 6.0;

    /// The code in the low four bits of `bits`; the others do not matter.
    #[inline]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 15)
    }

    /// The code: 0 to 15.
    #[inline]
    pub const fn to_bits(self) -> u8 {
        self.0
    }

    /// Twice the value, a whole number: integer dot products add these.
    #[inline]
    pub const fn twice(self) -> i8 {
        let magnitude = TWICE[(self.0 & 7) as usize] as i8;
        if self.0 & 8 == 0 {
            magnitude
        } else {
            -magnitude
        }
    }

    /// The value of this code; code 8 is negative zero.
    #[inline]
    pub fn to_f32(self) -> f32 {
        let magnitude = f32::from(TWICE[usize::from(self.0 & 7)]) * 0.5;
        f32::from_bits(magnitude.to_bits() | u32::from(self.0 & 8) << 28)
    }

    /// The nearest code, ties to even; beyond ±6 the largest code of that sign.
    ///
    /// There is no NaN to map NaN to: it becomes zero, and whoever must not lose it marks the
    /// scale.
    #[inline]
    pub fn from_f32(value: f32) -> Self {
        // The magnitude's rank among the seven midpoints. A midpoint belongs to the even one of its
        // neighbours, hence the alternation of the comparisons.
        let a = value.abs();
        let magnitude = u8::from(a > 0.25)
            + u8::from(a >= 0.75)
            + u8::from(a > 1.25)
            + u8::from(a >= 1.75)
            + u8::from(a > 2.5)
            + u8::from(a >= 3.5)
            + u8::from(a > 5.0);
        Self(magnitude | (value.to_bits() >> 28) as u8 & 8)
    }
}

#[cfg(test)]
mod tests {
    use super::E2M1;

    const MAGNITUDES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

    #[test]
    fn every_code_has_its_value_and_comes_back() {
        for bits in 0..16_u8 {
            let code = E2M1::from_bits(bits);
            let magnitude = MAGNITUDES[usize::from(bits & 7)];
            let expected = if bits < 8 { magnitude } else { -magnitude };
            assert_eq!(code.to_f32().to_bits(), expected.to_bits());
            assert_eq!(f32::from(code.twice()), 2.0 * expected);
            assert_eq!(E2M1::from_f32(expected), code);
            assert_eq!(
                E2M1::from_bits(bits | 0xf0),
                code,
                "high bits do not matter"
            );
        }
    }

    #[test]
    fn halfway_goes_to_the_even_code_and_its_neighbours_to_the_nearer_one() {
        for low in 0..7_u8 {
            let middle = (MAGNITUDES[usize::from(low)] + MAGNITUDES[usize::from(low) + 1]) / 2.0;
            for (sign, bit) in [(1.0, 0), (-1.0, 8)] {
                let code = |value: f32| E2M1::from_f32(sign * value).to_bits();
                assert_eq!(code(middle), (low + (low & 1)) | bit, "tie at {middle}");
                assert_eq!(code(middle.next_down()), low | bit);
                assert_eq!(code(middle.next_up()), (low + 1) | bit);
            }
        }
    }

    #[test]
    fn the_chosen_code_is_the_nearest_of_all() {
        for bits in (0..9f32.to_bits()).step_by(3989) {
            let value = f32::from_bits(bits);
            let distance = |magnitude: f32| (magnitude - value).abs();
            let nearest = MAGNITUDES
                .map(distance)
                .into_iter()
                .fold(f32::INFINITY, f32::min);
            assert_eq!(
                distance(E2M1::from_f32(value).to_f32()),
                nearest,
                "value {value}"
            );
        }
    }

    #[test]
    fn the_large_saturate_and_nan_becomes_zero() {
        assert_eq!(E2M1::from_f32(f32::INFINITY).to_f32(), 6.0);
        assert_eq!(E2M1::from_f32(f32::MIN).to_f32(), -6.0);
        assert_eq!(E2M1::from_f32(f32::NAN).to_f32(), 0.0);
    }
}
