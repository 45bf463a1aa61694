//! Byte-pair merging of one piece: the pair of lowest rank first, the leftmost among equals.
//!
//! Short pieces, nearly all of them, keep their ranks in one array and search it for the lowest;
//! that is quadratic with a tiny constant. Longer ones go through the rank queue (`queue.rs`),
//! which takes a bounded number of steps per byte, window by window, so that its memory stays in
//! cache.
//!
//! # Why windows are exact
//!
//! Merging is local: as long as no merge crosses a boundary between two stretches, each evolves as
//! if it were alone. So a sequence of tokens is what merging gives if and only if every two
//! neighbours are what merging gives for the two of them. Take the tokens a of one window, and the
//! tokens b of a window that begins where some a[i] does. If b[0] is a[i], then all neighbours in
//! `a[0] .. a[i - 1], b[0], b[1] ..` are neighbours in a or in b, and the sequence is right for the
//! text of both. If it is not, the next window begins further left; if that does not help either,
//! the piece is merged whole.

use super::merges::{Merges, NO_MERGE, Rank};
use super::queue::RankQueue;
use super::vocab::Vocab;
use crate::token::TokenId;

/// Up to this many bytes a piece is merged by searching: a few cache lines of ranks.
pub(super) const SHORT: usize = 64;

/// Bytes merged at once in longer pieces: their 100 KB of nodes stay in the second-level cache.
const WINDOW: usize = 4 << 10;
/// Two windows share this part of one at first. Merges seldom depend on text this far away.
const OVERLAP: usize = 16;
/// The longest stretch merged as one, so that positions fit 32 bits. No real piece is near it.
const LONGEST: usize = 1 << 30;

/// Work space of merging, reused from piece to piece.
pub(super) struct Merger {
    symbols: [TokenId; SHORT],
    ranks: [Rank; SHORT],
    queue: RankQueue,
    window: usize,
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
            window: WINDOW,
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
            self.merge_long(stretch, vocab, merges, out);
        }
    }

    fn merge_long(&mut self, piece: &[u8], vocab: &Vocab, merges: &Merges, out: &mut Vec<TokenId>) {
        let window = self.window;
        let mut merged = |from: usize, len: usize, into: &mut Vec<TokenId>| -> usize {
            let end = piece.len().min(from + len);
            let symbols = piece[from..end].iter().map(|&byte| vocab.of_byte(byte));
            self.steps += self.queue.merge(symbols, merges, into);
            end
        };
        let before = out.len();
        let (mut tokens, mut next) = (Vec::new(), Vec::new());
        let (mut start, mut overlap) = (0, window.div_ceil(OVERLAP));
        let mut end = merged(start, window, &mut tokens);
        while end < piece.len() {
            if overlap >= window {
                out.truncate(before);
                merged(0, piece.len(), out);
                return;
            }
            let (seam, at) = seam(&tokens, start, end - overlap, vocab);
            next.clear();
            let next_end = merged(at, window, &mut next);
            if seam > 0 && next[0] == tokens[seam] {
                out.extend_from_slice(&tokens[..seam]);
                std::mem::swap(&mut tokens, &mut next);
                (start, end, overlap) = (at, next_end, window.div_ceil(OVERLAP));
            } else {
                overlap *= 2;
            }
        }
        out.extend_from_slice(&tokens);
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

/// The last token that begins at or before `latest`, and where it begins.
fn seam(tokens: &[TokenId], start: usize, latest: usize, vocab: &Vocab) -> (usize, usize) {
    let mut at = start;
    for (i, &token) in tokens.iter().enumerate() {
        let after = at + vocab.bytes(token).len();
        if after > latest {
            return (i, at);
        }
        at = after;
    }
    (0, start)
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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::{Merger, Merges, TokenId, Vocab};

    /// Merges over the letters a, b, c in any order, sides picked among what earlier ones make.
    fn made(choices: &[(usize, usize)], reverse: bool) -> (Vocab, Merges) {
        let mut parts: Vec<String> = ["a", "b", "c"].map(String::from).into();
        let mut merges = Vec::new();
        for &(left, right) in choices {
            let (left, right) = (&parts[left % parts.len()], &parts[right % parts.len()]);
            let merge = format!("{left} {right}");
            let token = format!("{left}{right}");
            if token.len() <= 12 && !merges.contains(&merge) {
                merges.push(merge);
                if !parts.contains(&token) {
                    parts.push(token);
                }
            }
        }
        if reverse {
            merges.reverse();
        }
        let bytes = (0x21..=0x7E)
            .chain(0xA1..=0xAC)
            .chain(0xAE..=0xFF)
            .chain(0x100..0x144);
        let bytes = bytes.filter_map(char::from_u32).map(String::from);
        let tokens: Vec<String> = bytes.chain(parts.into_iter().skip(3)).collect();
        let (vocab, ids) = Vocab::read(tokens.iter().map(String::as_str), None).unwrap();
        let merges = merges.iter().map(String::as_str);
        let merges = Merges::read(merges, &ids, vocab.len()).unwrap();
        (vocab, merges)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Windows so small that seams fail all the time.
        #[test]
        fn windows_change_nothing(
            choices in vec((0usize..30, 0usize..30), 0..25),
            reverse: bool,
            text in prop_oneof!["[abc]{1,200}", "[ab]{100,300}", "a{1,100}", "(ab){1,60}c(ab){1,60}"],
            window in 1usize..40,
        ) {
            let (vocab, merges) = made(&choices, reverse);
            let mut merger = Merger::new();
            let mut whole: Vec<TokenId> = Vec::new();
            let symbols = text.bytes().map(|byte| vocab.of_byte(byte));
            merger.queue.merge(symbols, &merges, &mut whole);
            merger.window = window;
            let mut windowed = Vec::new();
            merger.merge_long(text.as_bytes(), &vocab, &merges, &mut windowed);
            prop_assert_eq!(windowed, whole);
        }
    }
}
