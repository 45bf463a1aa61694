//! Draws by number: the n-th draw of a seed is a function of both, so a generation that is resumed,
//! rewound or moved to another machine goes on with the same draws.

/// Distance between the states of neighbouring draws: 2^64 over the golden ratio, odd.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The draws of one seed. Draw n is SplitMix64's n-th output: `mix(seed + (n + 1) * STEP)`, where
/// `mix` is two rounds of xor-shift and multiply. It passes BigCrush, needs no state but n, and is
/// not meant for secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    seed: u64,
    next: u64,
}

impl Draws {
    /// All draws of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, next: 0 }
    }

    /// How many were made.
    pub fn count(&self) -> u64 {
        self.next
    }

    /// The next draw, uniform over all 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.next = self.next.wrapping_add(1);
        let mut z = self.seed.wrapping_add(self.next.wrapping_mul(STEP));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next draw, uniform in [0, 1) with 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::Draws;

    /// Published outputs of SplitMix64 for seed 1234567.
    #[test]
    fn draws_are_those_of_splitmix64() {
        let mut draws = Draws::new(1_234_567);
        let first: [u64; 3] = std::array::from_fn(|_| draws.bits());
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
        assert_eq!(draws.count(), 3);
    }

    #[test]
    fn uniform_draws_fill_the_unit_interval() {
        let mut draws = Draws::new(42);
        let mut bins = [0u32; 16];
        for _ in 0..64_000 {
            let u = draws.uniform();
            assert!((0.0..1.0).contains(&u));
            bins[(u * 16.0) as usize] += 1;
        }
        // Standard deviation of a bin is 61.
        assert!(bins.iter().all(|&n| n.abs_diff(4000) < 300), "{bins:?}");
    }
}
