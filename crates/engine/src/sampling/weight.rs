//! What a logit weighs: its probability relative to the best.

/// Below this a weight is nothing: its exponential is at the end of the range of floats.
const LEAST: f32 = -87.0;

/// How logits become weights: relative to the best, so that no temperature, however small, makes an
/// infinity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    max: f32,
    by: f32,
}

impl Scale {
    /// For logits of which the largest is `max`.
    pub(super) fn new(max: f32, temperature: f32) -> Self {
        Self {
            max,
            by: 1.0 / temperature.max(f32::MIN_POSITIVE),
        }
    }

    /// The logit after temperature, relative to the best; what is no number stays none.
    #[inline(always)]
    pub(super) fn of(self, logit: f32) -> f32 {
        match logit == self.max {
            true => 0.0, // Also when the best is plus infinity.
            false => (logit - self.max) * self.by,
        }
    }

    /// Its weight; nothing for what is no number.
    #[inline(always)]
    pub(super) fn weight(self, logit: f32) -> f32 {
        exp(self.of(logit))
    }
}

/// The exponential of `x`, which is not above zero, to two units of the last place; nothing for
/// what is no number. Written out, so that a loop over a vocabulary becomes vector instructions, and
/// so that draws do not depend on a system's library.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding this rounds to a whole number, which then stands in the lowest bits.
    const WHOLE: f32 = 1.5 * (1u32 << 23) as f32;
    // The logarithm of two in a part of few bits, whose multiples are exact, and the rest.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    let shifted = x * std::f32::consts::LOG2_E + WHOLE;
    let twos = shifted - WHOLE;
    let r = (x - twos * LN_2.0) - twos * LN_2.1;
    // The first terms of its series; |r| is at most half of the logarithm of two.
    let mut sum = 1.0 / 5040.0;
    for term in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        sum = sum * r + term;
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    match x >= LEAST {
        true => sum * power,
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::{LEAST, Scale, exp};

    #[test]
    fn it_is_the_exponential() {
        assert_eq!(exp(0.0), 1.0);
        let steps = 1 << 20;
        for step in 0..=steps {
            let x = LEAST * step as f32 / steps as f32;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!(
                (found - expected).abs() <= 2.4e-7 * expected,
                "{x}: {found} instead of {expected}"
            );
        }
        for x in [LEAST - 0.01, -1e30, f32::MIN, f32::NEG_INFINITY, f32::NAN] {
            assert_eq!(exp(x), 0.0);
        }
    }

    #[test]
    fn the_best_weighs_one_whatever_the_temperature() {
        for max in [-3.0, 0.0, 1e30, f32::INFINITY] {
            for temperature in [f32::MIN_POSITIVE / 2.0, 1e-9, 1.0, 100.0] {
                let scale = Scale::new(max, temperature);
                assert_eq!(scale.weight(max), 1.0);
                assert_eq!(scale.weight(f32::NEG_INFINITY), 0.0);
                assert!(scale.of(max - 1.0) <= 0.0);
            }
        }
    }
}
