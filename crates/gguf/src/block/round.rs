//! Rounding and limits that the encoders share.

/// Beyond this no encoder with a float16 scale can follow; it keeps sums of squares over a block
/// finite.
const LIMIT: f32 = 1e8;

/// What an encoder sees instead of `value`: NaN is zero, the very large saturate.
#[inline]
pub(super) fn sane(value: f32) -> f32 {
    // A comparison with NaN is false, so NaN falls through to zero.
    if value.abs() <= f32::INFINITY {
        value.clamp(-LIMIT, LIMIT)
    } else {
        0.0
    }
}

/// The nearest whole number, halves away from zero, for magnitudes below 2^22.
///
/// Adding the largest number below one half and cutting is exact here, and vector code, which
/// `f32::round` is not.
#[inline]
pub(super) fn half_away(value: f32) -> i32 {
    const BELOW_HALF: f32 = 0.499_999_97;
    (value + BELOW_HALF.copysign(value)) as i32
}

/// The nearest whole number, halves to even, for magnitudes below 2^22.
#[inline]
pub(super) fn half_even(value: f32) -> f32 {
    // In the binade of 2^23 the unit in the last place is one, so the adder rounds.
    const ANCHOR: f32 = 12_582_912.0;
    (value + ANCHOR) - ANCHOR
}

#[cfg(test)]
mod tests {
    use super::{half_away, half_even, sane};

    #[test]
    fn rounding_agrees_with_the_library() {
        let mut value = -300.0f32;
        while value < 300.0 {
            for v in [value, value.next_up(), value.next_down()] {
                assert_eq!(half_away(v), v.round() as i32, "{v}");
                assert_eq!(half_even(v), v.round_ties_even(), "{v}");
            }
            value += 0.125;
        }
    }

    #[test]
    fn sane_values_are_finite() {
        assert_eq!(sane(f32::NAN), 0.0);
        assert_eq!(sane(f32::INFINITY), 1e8);
        assert_eq!(sane(f32::MIN), -1e8);
        assert_eq!(sane(-1.5), -1.5);
    }
}
