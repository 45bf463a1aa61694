//! Which bytes of a file are there.

use std::ops::Range;

/// Disjoint ranges of bytes, ascending, with gaps between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spans(Vec<Range<u64>>);

impl Spans {
    /// Adds a range; it may touch or overlap what is there.
    pub(crate) fn add(&mut self, new: Range<u64>) {
        if new.is_empty() {
            return;
        }
        let from = self.0.partition_point(|span| span.end < new.start);
        let to = self.0.partition_point(|span| span.start <= new.end);
        let (mut start, mut end) = (new.start, new.end);
        if from < to {
            start = start.min(self.0[from].start);
            end = end.max(self.0[to - 1].end);
        }
        self.0.splice(from..to, std::iter::once(start..end));
    }

    /// The ranges.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Range<u64>> {
        self.0.iter()
    }

    /// Bytes in them.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().map(|span| span.end - span.start).sum()
    }

    /// What is missing of `0..size`, in pieces of at most `most` bytes.
    pub(crate) fn missing(&self, size: u64, most: u64) -> Vec<Range<u64>> {
        let starts = [0].into_iter().chain(self.0.iter().map(|span| span.end));
        let ends = self.0.iter().map(|span| span.start).chain([size]);
        let mut pieces = Vec::new();
        for (mut start, end) in starts.zip(ends) {
            while start < end {
                let next = end.min(start.saturating_add(most));
                pieces.push(start..next);
                start = next;
            }
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_together_whatever_their_order() {
        let mut spans = Spans::default();
        for range in [10..20, 40..50, 0..5, 20..25, 5..7, 24..41, 3..3] {
            spans.add(range);
        }
        let all: Vec<_> = spans.iter().cloned().collect();
        assert_eq!(all, [0..7, 10..50]);
        assert_eq!(spans.bytes(), 47);
        assert_eq!(spans.missing(60, 4), [7..10, 50..54, 54..58, 58..60]);
        assert_eq!(Spans::default().missing(3, 2), [0..2, 2..3]);
        spans.add(0..60);
        assert!(spans.missing(60, 4).is_empty());
    }

    #[test]
    fn every_byte_counts_once() {
        // All orders of adding single bytes of a small file, by a walk with a step prime to it.
        for step in [1, 2, 3, 5, 7, 11] {
            let mut spans = Spans::default();
            for at in 0..13 {
                let byte = at * step % 13;
                spans.add(byte..byte + 1);
                assert_eq!(spans.bytes(), at + 1);
            }
            assert_eq!(spans.iter().count(), 1);
        }
    }
}
