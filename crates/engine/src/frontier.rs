//! Places a session can go back to.
//!
//! Rows that left the window, and the running sums of open windows, cannot be recomputed from
//! anything kept; so a session goes back only to positions whose frontier was saved, and computes
//! again what lies between there and where it wants to be. Position 0 needs no frontier, so every
//! rewind is possible; kept frontiers make it cheap.

use ds4_store::Buffer;

/// Why a frontier was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Some distance from the one before it, in a long prefill or generation.
    Distance,
    /// The end of an answer: where the next question goes on.
    Turn,
    /// A cut of the prompt, or where a session was forked: where conversations part.
    Cut,
}

/// A saved frontier.
#[derive(Clone, Debug)]
struct Kept {
    at: u32,
    reason: Reason,
    bytes: Buffer,
}

/// Frontiers of one session, a bounded number, in order of position. Forks share them.
#[derive(Clone, Debug)]
pub(crate) struct Frontiers {
    kept: Vec<Kept>,
    most: usize,
}

impl Frontiers {
    /// Room for `most` frontiers, at least one.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            kept: Vec::new(),
            most: most.max(1),
        }
    }

    /// The frontier at exactly `at`.
    pub(crate) fn at(&self, at: u32) -> Option<&Buffer> {
        let index = self.kept.binary_search_by_key(&at, |kept| kept.at);
        index.ok().map(|index| &self.kept[index].bytes)
    }

    /// The deepest kept position at or before `to`; 0 if there is none.
    pub(crate) fn deepest(&self, to: u32) -> u32 {
        let after = self.kept.partition_point(|kept| kept.at <= to);
        after.checked_sub(1).map_or(0, |index| self.kept[index].at)
    }

    /// Position of the last one; 0 if there is none.
    pub(crate) fn last(&self) -> u32 {
        self.deepest(u32::MAX)
    }

    /// Positions, ascending.
    pub(crate) fn positions(&self) -> impl ExactSizeIterator<Item = u32> {
        self.kept.iter().map(|kept| kept.at)
    }

    /// Bytes of all of them. Those shared with forks count in each.
    pub(crate) fn bytes(&self) -> u64 {
        self.kept.iter().map(|kept| kept.bytes.len() as u64).sum()
    }

    /// Keeps a frontier behind all others. One may have to go: the one that leaves the smallest
    /// gap, cuts last.
    pub(crate) fn push(&mut self, at: u32, reason: Reason, bytes: Buffer) {
        debug_assert!(self.kept.is_empty() || self.last() < at);
        if self.kept.len() == self.most {
            self.thin();
        }
        self.kept.push(Kept { at, reason, bytes });
    }

    /// The frontier at `at` is kept for this reason too.
    pub(crate) fn promote(&mut self, at: u32, reason: Reason) {
        if let Ok(index) = self.kept.binary_search_by_key(&at, |kept| kept.at) {
            let kept = &mut self.kept[index];
            kept.reason = kept.reason.max(reason);
        }
    }

    /// Drops those after `to`.
    pub(crate) fn truncate(&mut self, to: u32) {
        let keep = self.kept.partition_point(|kept| kept.at <= to);
        self.kept.truncate(keep);
    }

    fn thin(&mut self) {
        let gap = |index: usize| {
            let before = index
                .checked_sub(1)
                .map_or(0, |before| self.kept[before].at);
            let after = self.kept.get(index + 1).map_or(u32::MAX, |next| next.at);
            after - before
        };
        // Without its successor yet, the last one always looks widest; it is also the likeliest to
        // be wanted.
        let least = (0..self.kept.len()).min_by_key(|&i| (self.kept[i].reason, gap(i)));
        if let Some(least) = least {
            self.kept.remove(least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Frontiers, Reason};

    fn keep(frontiers: &mut Frontiers, at: u32, reason: Reason) {
        frontiers.push(at, reason, vec![0; 10].into());
    }

    #[test]
    fn the_deepest_at_or_before() {
        let mut frontiers = Frontiers::new(8);
        assert_eq!(frontiers.deepest(100), 0);
        for at in [10, 20, 30] {
            keep(&mut frontiers, at, Reason::Cut);
        }
        assert_eq!(
            [9, 10, 29, 30, 99].map(|to| frontiers.deepest(to)),
            [0, 10, 20, 30, 30]
        );
        frontiers.truncate(20);
        assert_eq!((frontiers.last(), frontiers.bytes()), (20, 20));
        assert!(frontiers.at(20).is_some() && frontiers.at(15).is_none());
    }

    #[test]
    fn thinning_keeps_gaps_even_and_cuts_longest() {
        let mut frontiers = Frontiers::new(8);
        keep(&mut frontiers, 7, Reason::Cut);
        for at in (100..=6400).step_by(100) {
            keep(&mut frontiers, at, Reason::Distance);
        }
        let positions: Vec<u32> = frontiers.positions().collect();
        assert_eq!((positions.len(), positions[0], positions[7]), (8, 7, 6400));
        let gaps = positions.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.clone().max().unwrap() <= 2 * 6400 / 7, "{positions:?}");
    }
}
