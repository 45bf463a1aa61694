//! Where to measure: context frontiers, each so much deeper than the one before.

use std::num::NonZeroU32;

/// A sweep over contexts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweep {
    pub(super) start: u32,
    pub(super) max: u32,
    /// Factor from one frontier to the next; 1 adds `increment`.
    pub(super) factor: f64,
    pub(super) increment: NonZeroU32,
}

impl Sweep {
    /// The frontiers, ascending; the last one is `max`.
    pub(super) fn frontiers(&self) -> Vec<u32> {
        let mut frontiers = vec![self.start.min(self.max)];
        while let Some(&last) = frontiers.last().filter(|&&last| last < self.max) {
            let next = match self.factor > 1.0 {
                // A float to integer cast saturates.
                true => ((f64::from(last) * self.factor).ceil() as u32).max(last + 1),
                false => last.saturating_add(self.increment.get()),
            };
            frontiers.push(next.min(self.max));
        }
        frontiers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frontiers(start: u32, max: u32, factor: f64, increment: u32) -> Vec<u32> {
        let increment = NonZeroU32::new(increment).expect("a step");
        Sweep {
            start,
            max,
            factor,
            increment,
        }
        .frontiers()
    }

    #[test]
    fn every_sweep_ends_at_its_last_frontier() {
        assert_eq!(frontiers(2048, 8192, 1.0, 2048), [2048, 4096, 6144, 8192]);
        assert_eq!(frontiers(2048, 7000, 1.0, 2048), [2048, 4096, 6144, 7000]);
        assert_eq!(
            frontiers(1000, 9000, 2.0, 1),
            [1000, 2000, 4000, 8000, 9000]
        );
        assert_eq!(frontiers(1, 5, 1.0001, 7), [1, 2, 3, 4, 5]);
        assert_eq!(frontiers(64, 64, 3.0, 5), [64]);
        assert_eq!(frontiers(5, u32::MAX, f64::MAX, 1), [5, u32::MAX]);
    }
}
