//! Merging long stretches in linear time: pairs wait in one bucket per rank.
//!
//! A heap would give each of its steps a factor that grows with the piece. Ranks, however, are
//! small integers, so the pairs of one rank form a list, and three levels of bits say which lists
//! are not empty. Putting a pair in, taking it out and finding the lowest rank each cost a
//! constant. A merge removes one symbol, takes out at most two pairs and puts in at most two, so a
//! piece of n bytes takes O(n) steps.
//!
//! All pairs of the lowest rank are merged in one batch. In a trained list that is the same as one
//! by one: a merge can only make pairs of higher rank. Only pairs of a token with itself can
//! overlap (`aaa`), so only they are sorted. For lists without that order the batch is sorted too,
//! and broken off when a lower rank appears.

use super::merges::{Merges, NO_MERGE, Rank};
use crate::token::TokenId;

/// No neighbour, no list element.
const NONE: u32 = u32::MAX;
/// In `Node::before`: not in a list, but in the batch that is being merged.
const IN_BATCH: u32 = u32::MAX - 1;
/// Work space beyond this many symbols is given back after use.
const KEPT: usize = 1 << 16;

/// A symbol of the piece and the pair it forms with the next one.
#[derive(Clone, Copy)]
struct Node {
    symbol: TokenId,
    left: u32,
    right: u32,
    /// Rank of the pair, [`NO_MERGE`] if it is none or the symbol is gone.
    rank: Rank,
    /// Neighbours in the list of that rank.
    before: u32,
    after: u32,
}

/// The symbols of one piece and the lists of its pairs.
#[derive(Default)]
pub(super) struct RankQueue {
    nodes: Vec<Node>,
    /// First pair of each rank.
    heads: Vec<u32>,
    /// Which ranks, words of ranks, and words of words have pairs.
    bits: [Vec<u64>; 3],
    batch: Vec<u32>,
    steps: u64,
}

impl RankQueue {
    /// Merges `symbols`, appends what remains, and says how many steps it took.
    pub(super) fn merge(
        &mut self,
        symbols: impl Iterator<Item = TokenId>,
        merges: &Merges,
        out: &mut Vec<TokenId>,
    ) -> u64 {
        self.steps = 0;
        self.fit(merges.len());
        self.fill(symbols, merges);
        while let Some(rank) = self.lowest() {
            self.take_batch(rank);
            let ordered = merges.ordered();
            let overlaps = self.batch.first().is_some_and(|&first| {
                let node = self.nodes[first as usize];
                node.symbol == self.nodes[node.right as usize].symbol
            });
            if overlaps || !ordered {
                self.sort_batch();
            }
            self.merge_batch(rank, merges);
        }
        self.drain(out);
        self.steps
    }

    fn fit(&mut self, ranks: usize) {
        self.heads.resize(ranks, NONE);
        let mut words = ranks;
        for level in &mut self.bits {
            words = words.div_ceil(64);
            level.resize(words, 0);
        }
    }

    fn fill(&mut self, symbols: impl Iterator<Item = TokenId>, merges: &Merges) {
        self.nodes.clear();
        self.nodes
            .extend(symbols.enumerate().map(|(i, symbol)| Node {
                symbol,
                left: (i as u32).wrapping_sub(1),
                right: i as u32 + 1,
                rank: NO_MERGE,
                before: NONE,
                after: NONE,
            }));
        if let Some(last) = self.nodes.last_mut() {
            last.right = NONE;
        }
        // From the right, because lists grow at their front: they come out in text order.
        for at in (0..self.nodes.len() as u32).rev() {
            self.rank_pair(at, merges);
        }
    }

    /// Looks up the pair that begins at `at` and puts it into its list.
    fn rank_pair(&mut self, at: u32, merges: &Merges) {
        let node = self.nodes[at as usize];
        if node.right == NONE {
            return;
        }
        self.steps += 1;
        let rank = merges.rank(node.symbol, self.nodes[node.right as usize].symbol);
        if rank != NO_MERGE {
            self.put(at, rank);
        }
    }

    fn put(&mut self, at: u32, rank: Rank) {
        self.steps += 1;
        let head = &mut self.heads[rank as usize];
        let after = std::mem::replace(head, at);
        let node = &mut self.nodes[at as usize];
        (node.rank, node.before, node.after) = (rank, NONE, after);
        if after != NONE {
            self.nodes[after as usize].before = at;
            return;
        }
        let mut bit = rank as usize;
        for level in &mut self.bits {
            level[bit / 64] |= 1 << (bit % 64);
            bit /= 64;
        }
    }

    /// Takes out the pair that begins at `at`, if there is one.
    fn take(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        let Node {
            rank,
            before,
            after,
            ..
        } = *node;
        node.rank = NO_MERGE;
        if rank == NO_MERGE || before == IN_BATCH {
            return;
        }
        self.steps += 1;
        if after != NONE {
            self.nodes[after as usize].before = before;
        }
        if before != NONE {
            self.nodes[before as usize].after = after;
            return;
        }
        self.heads[rank as usize] = after;
        if after == NONE {
            self.clear_bit(rank);
        }
    }

    fn clear_bit(&mut self, rank: Rank) {
        let mut bit = rank as usize;
        for level in &mut self.bits {
            let word = &mut level[bit / 64];
            *word &= !(1 << (bit % 64));
            if *word != 0 {
                return;
            }
            bit /= 64;
        }
    }

    fn lowest(&mut self) -> Option<Rank> {
        self.steps += 1;
        let [ranks, words, tops] = &self.bits;
        // 2^20 ranks at most: four words at the top.
        let top = tops.iter().position(|&word| word != 0)?;
        let word = top * 64 + tops[top].trailing_zeros() as usize;
        let word = word * 64 + words[word].trailing_zeros() as usize;
        Some((word * 64) as Rank + ranks[word].trailing_zeros())
    }

    /// Moves the whole list of `rank` into the batch.
    fn take_batch(&mut self, rank: Rank) {
        self.batch.clear();
        let mut at = std::mem::replace(&mut self.heads[rank as usize], NONE);
        self.clear_bit(rank);
        while at != NONE {
            self.batch.push(at);
            let node = &mut self.nodes[at as usize];
            node.before = IN_BATCH;
            at = node.after;
        }
        self.steps += self.batch.len() as u64;
    }

    fn sort_batch(&mut self) {
        let mut compared = 0;
        // Stable, because that sort is linear on the few ascending runs that the lists are made of.
        self.batch.sort_by(|a, b| {
            compared += 1;
            a.cmp(b)
        });
        self.steps += compared;
    }

    fn merge_batch(&mut self, rank: Rank, merges: &Merges) {
        let batch = std::mem::take(&mut self.batch);
        let mut waiting = batch.iter();
        let mut lower = false;
        for &at in waiting.by_ref() {
            // A merge to the left may have taken this pair's first symbol.
            if self.nodes[at as usize].rank == rank {
                lower |= self.merge_pair(at, merges.made(rank), merges) < rank;
            }
            if lower {
                break;
            }
        }
        for &at in waiting.rev() {
            if self.nodes[at as usize].rank == rank {
                self.put(at, rank);
            }
        }
        self.batch = batch;
    }

    /// Merges the pair that begins at `at`; returns the lowest rank of the pairs this makes.
    fn merge_pair(&mut self, at: u32, made: TokenId, merges: &Merges) -> Rank {
        let Node {
            left, right: gone, ..
        } = self.nodes[at as usize];
        self.take(at);
        self.take(gone);
        let right = self.nodes[gone as usize].right;
        let node = &mut self.nodes[at as usize];
        (node.symbol, node.right) = (made, right);
        if right != NONE {
            self.nodes[right as usize].left = at;
        }
        self.rank_pair(at, merges);
        let mut lowest = self.nodes[at as usize].rank;
        if left != NONE {
            self.take(left);
            self.rank_pair(left, merges);
            lowest = lowest.min(self.nodes[left as usize].rank);
        }
        lowest
    }

    fn drain(&mut self, out: &mut Vec<TokenId>) {
        let mut at = if self.nodes.is_empty() { NONE } else { 0 };
        while at != NONE {
            let node = self.nodes[at as usize];
            out.push(node.symbol);
            at = node.right;
        }
        self.nodes.clear();
        self.nodes.shrink_to(KEPT);
        self.batch.clear();
        self.batch.shrink_to(KEPT);
    }
}
