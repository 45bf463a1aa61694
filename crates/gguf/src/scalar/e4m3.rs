//! E4M3, the eight-bit float of checkpoint matrices and of the non-rotary part of KV rows.
//!
//! The variant without infinities: exponent bias 7, smallest normal 2^-6, subnormal step 2^-9,
//! largest value 448; the codes 0x7f and 0xff are NaN.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// One E4M3 code.
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
pub struct E4M3(pub u8);

/// Float32 exponents are biased by 127, ours by 7.
const BIAS_GAP: u32 = 127 - 7;
/// Mantissa bits that a float32 has more than we do.
const SHIFT: u32 = 23 - 3;

impl E4M3 {
    /// The largest value, code 0x7e.
    pub const MAX: f32 = 448.0;
    /// Not a number, positive sign.
    pub const NAN: Self = Self(0x7f);

    /// The value of this code.
    #[inline]
    pub fn to_f32(self) -> f32 {
        let code = u32::from(self.0);
        let magnitude = code & 0x7f;
        // Shifted in place the exponent is too small by the gap of the biases. The product corrects
        // it for subnormal codes as well, which are subnormal float32 before it and normal after.
        let gap = f32::from_bits((127 + BIAS_GAP) << 23);
        let value = f32::from_bits(magnitude << SHIFT) * gap;
        let value = if magnitude == 0x7f { f32::NAN } else { value };
        f32::from_bits(value.to_bits() | (code & 0x80) << 24)
    }

    /// The nearest code, ties to even; beyond ±448, infinities included, the largest code of that
    /// sign.
    #[inline]
    pub fn from_f32(value: f32) -> Self {
        let sign = (value.to_bits() >> 24) & 0x80;
        let magnitude = value.to_bits() & 0x7fff_ffff;
        // Normal result: half a step, less one unless the code would be odd, then cut; a carry out
        // of the mantissa raises the exponent as it should.
        let odd = (magnitude >> SHIFT) & 1;
        let half_step = (1 << (SHIFT - 1)) - 1 + odd;
        let normal = ((magnitude + half_step) >> SHIFT).wrapping_sub(BIAS_GAP << 3);
        // Subnormal result: in the binade of 2^14 one unit in the last place is 2^-9, our step, so
        // the adder rounds.
        const ANCHOR: f32 = 16384.0;
        let small = f32::from_bits(magnitude.min(ANCHOR.to_bits()));
        let subnormal = (small + ANCHOR).to_bits() - ANCHOR.to_bits();
        const SMALLEST_NORMAL: u32 = (127 - 6) << 23;
        let code = if magnitude < SMALLEST_NORMAL {
            subnormal
        } else {
            normal.min(0x7e)
        };
        let code = if magnitude > f32::INFINITY.to_bits() {
            0x7f
        } else {
            code
        };
        Self((sign | code) as u8)
    }

    /// True for the two NaN codes.
    pub const fn is_nan(self) -> bool {
        self.0 & 0x7f == 0x7f
    }
}

#[cfg(test)]
mod tests {
    use super::E4M3;

    /// The value of a code, from the definition.
    fn by_definition(code: u8) -> f64 {
        let (exponent, mantissa) = (i32::from(code >> 3 & 15), f64::from(code & 7));
        let magnitude = match (exponent, code & 7) {
            (15, 7) => f64::NAN,
            (0, _) => mantissa / 8.0 * 2f64.powi(-6),
            _ => (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7),
        };
        if code & 0x80 == 0 {
            magnitude
        } else {
            -magnitude
        }
    }

    #[test]
    fn every_code_has_the_value_of_the_definition_and_comes_back() {
        for code in 0..=255 {
            let (value, expected) = (E4M3(code).to_f32(), by_definition(code));
            assert_eq!(value.is_sign_negative(), code >= 0x80, "code {code:#04x}");
            if expected.is_nan() {
                assert!(value.is_nan() && E4M3(code).is_nan());
            } else {
                assert_eq!(f64::from(value), expected, "code {code:#04x}");
            }
            assert_eq!(E4M3::from_f32(value), E4M3(code), "code {code:#04x}");
        }
    }

    #[test]
    fn halfway_goes_to_the_even_code_and_its_neighbours_to_the_nearer_one() {
        for code in 0..0x7e_u8 {
            let middle = ((by_definition(code) + by_definition(code + 1)) / 2.0) as f32;
            let even = code + (code & 1);
            for (sign, bit) in [(1.0, 0), (-1.0, 0x80)] {
                assert_eq!(
                    E4M3::from_f32(sign * middle).0,
                    even | bit,
                    "tie above {code:#04x}"
                );
                assert_eq!(E4M3::from_f32(sign * middle.next_down()).0, code | bit);
                assert_eq!(E4M3::from_f32(sign * middle.next_up()).0, (code + 1) | bit);
            }
        }
    }

    #[test]
    fn everything_beyond_the_largest_value_saturates() {
        for value in [448.1, 464.0, 480.0, 1e9, f32::MAX, f32::INFINITY] {
            assert_eq!(E4M3::from_f32(value).0, 0x7e);
            assert_eq!(E4M3::from_f32(-value).0, 0xfe);
        }
    }

    #[test]
    fn the_chosen_code_is_the_nearest_of_all() {
        let values: Vec<f64> = (0..0x7f).map(by_definition).collect();
        // Every 3989th float32 from zero to beyond 448.
        for bits in (0..500f32.to_bits()).step_by(3989) {
            let value = f32::from_bits(bits);
            let chosen = (f64::from(E4M3::from_f32(value).to_f32()) - f64::from(value)).abs();
            // Codes rise with their values, so the nearest is on one of the two sides of the value.
            let above = values.partition_point(|&v| v < f64::from(value)).min(0x7e);
            let nearest = [above.saturating_sub(1), above]
                .map(|code| (values[code] - f64::from(value)).abs())
                .into_iter()
                .fold(f64::INFINITY, f64::min);
            assert_eq!(chosen, nearest, "value {value}");
            let mirrored = E4M3::from_f32(-value);
            assert_eq!(mirrored.0, E4M3::from_f32(value).0 | 0x80);
        }
    }
}
