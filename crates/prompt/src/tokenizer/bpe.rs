//! Byte-pair merging of one piece: the pair of lowest rank first, the leftmost among equals.
//!
//! Short pieces, nearly all of them, keep their ranks in one array and search it for the lowest;
//! that is quadratic with a tiny constant. Longer ones go through the rank queue (`queue.rs`),
//! which takes a bounded number of steps per byte.

use super::merges::{Merges, NO_MERGE, Rank};
use super::queue::RankQueue;
use super::vocab::Vocab;
use crate::token::TokenId;

/// Up to this many bytes a piece is merged by searching. Where the two ways meet was measured with
/// `examples/tokenizer_speed.rs`; from 48 to 128 it hardly matters.
pub(super) const SHORT: usize = 64;

/// The longest stretch merged as one, so that positions fit 32 bits. No real piece is near it.
const LONGEST: usize = 1 << 30;

/// Work space of merging, reused from piece to piece.
pub(super) struct Merger {
    symbols: [TokenId; SHORT],
    ranks: [Rank; SHORT],
    queue: RankQueue,
    /// Table lookups, symbols searched or moved, queue operations: what the linear bound is stated
    /// in.
    pub(super) steps: u64,
}

impl Merger {
    pub(super) fn new() -> Self {
        Self {
            symbols: [TokenId(0); SHORT],
            ranks: [NO_MERGE; SHORT],
            queue: RankQueue::default(),
            steps: 0,
        }
    }

    /// Appends the tokens of `piece`.
    pub(super) fn merge(
        &mut self,
        piece: &[u8],
        vocab: &Vocab,
        merges: &Merges,
        out: &mut Vec<TokenId>,
    ) {
        if piece.len() <= SHORT {
            out.extend_from_slice(self.merge_short(piece, vocab, merges));
            return;
        }
        for stretch in piece.chunks(LONGEST) {
            let symbols = stretch.iter().map(|&byte| vocab.of_byte(byte));
            self.steps += self.queue.merge(symbols, merges, out);
        }
    }

    fn merge_short(&mut self, piece: &[u8], vocab: &Vocab, merges: &Merges) -> &[TokenId] {
        let mut len = piece.len();
        let (symbols, ranks) = (&mut self.symbols[..len], &mut self.ranks[..len]);
        for (symbol, &byte) in symbols.iter_mut().zip(piece) {
            *symbol = vocab.of_byte(byte);
        }
        // ranks[i] is that of symbols i and i + 1, so the last one has none.
        for i in 1..len {
            ranks[i - 1] = merges.rank(symbols[i - 1], symbols[i]);
        }
        if let Some(last) = ranks.last_mut() {
            *last = NO_MERGE;
        }
        self.steps += len as u64;
        while let Some((at, rank)) = lowest(&ranks[..len]) {
            self.steps += len as u64 + 2;
            symbols[at] = merges.made(rank);
            symbols.copy_within(at + 2..len, at + 1);
            ranks.copy_within(at + 1..len, at);
            len -= 1;
            if at + 1 < len {
                ranks[at] = merges.rank(symbols[at], symbols[at + 1]);
            }
            if at > 0 {
                ranks[at - 1] = merges.rank(symbols[at - 1], symbols[at]);
            }
        }
        &self.symbols[..len]
    }
}

/// The first of the lowest ranks, if any pair merges at all.
#[inline]
fn lowest(ranks: &[Rank]) -> Option<(usize, Rank)> {
    let rank = ranks
        .iter()
        .copied()
        .min()
        .filter(|&rank| rank != NO_MERGE)?;
    let at = ranks.iter().position(|&each| each == rank)?;
    Some((at, rank))
}
