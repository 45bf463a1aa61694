//! Normal noise without a maths library, whose last bit would depend on the machine.

use std::sync::LazyLock;

/// A nearly normal number of mean 0 and variance 1: the sum of four 16-bit pieces of a word.
pub(super) fn draw(word: u64) -> f32 {
    let sum: u32 = (0..4)
        .map(|piece| (word >> (16 * piece)) as u32 & 0xFFFF)
        .sum();
    // A piece has variance (65536^2 - 1) / 12.
    const DEVIATION: f32 = 37_837.23;
    (sum as f32 - 131_070.0) / DEVIATION
}

/// The middle of each of 256 equally likely ranges of a standard normal variable.
pub(super) static QUANTILES: LazyLock<[f64; 256]> = LazyLock::new(|| {
    std::array::from_fn(|index| {
        let share = (index as f64 + 0.5) / 256.0;
        let (mut low, mut high) = (-4.0, 4.0);
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if below(middle) < share {
                low = middle;
            } else {
                high = middle;
            }
        }
        (low + high) / 2.0
    })
});

/// The share of a standard normal variable below `x`, by its power series; |x| is at most 4.
fn below(x: f64) -> f64 {
    const DENSITY_AT_0: f64 = 0.398_942_280_401_432_7;
    let (mut power, mut sum) = (x, x);
    for k in 1..80 {
        // power = x^(2k+1) / (-2)^k k!
        power *= -x * x / (2.0 * f64::from(k));
        sum += power / f64::from(2 * k + 1);
    }
    0.5 + DENSITY_AT_0 * sum
}

#[cfg(test)]
mod tests {
    use super::QUANTILES;

    #[test]
    fn quantiles_are_those_of_the_normal_distribution() {
        // Values of any statistics table: 1/512, about a quarter, and the middle.
        assert!((QUANTILES[0] + 2.885_635).abs() < 1e-5, "{}", QUANTILES[0]);
        assert!(
            (QUANTILES[63] + 0.680_646).abs() < 1e-4,
            "{}",
            QUANTILES[63]
        );
        assert!((QUANTILES[127] + QUANTILES[128]).abs() < 1e-12);
        let mean_square = QUANTILES.iter().map(|q| q * q).sum::<f64>() / 256.0;
        assert!((mean_square - 1.0).abs() < 0.02, "{mean_square}");
    }
}
