//! Finding added tokens in text: the earliest match wins, at one position the longest.

use std::ops::Range;

use super::vocab::Vocab;
use crate::token::{Special, Standing, TokenId};

/// The added tokens of a vocabulary, sorted for prefix search.
pub(super) struct AddedIndex {
    /// Text and id of every added token, by text.
    tokens: Vec<(Box<[u8]>, TokenId)>,
    /// The tokens that begin with each byte.
    by_lead: [(u32, u32); 256],
    /// Ids whose token delimits turns, ascending.
    turns: Vec<TokenId>,
}

/// An added token found in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) id: TokenId,
}

/// Which added tokens a stretch of text may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    All,
    Markup,
    None,
}

impl AddedIndex {
    pub(super) fn new(vocab: &Vocab) -> Self {
        let text = |&id: &TokenId| (vocab.bytes(id).into(), id);
        let mut tokens: Vec<(Box<[u8]>, TokenId)> = vocab.added().iter().map(text).collect();
        tokens.sort();
        let mut by_lead = [(0, 0); 256];
        for (i, (text, _)) in tokens.iter().enumerate() {
            let (first, end) = &mut by_lead[text[0] as usize];
            if *first == *end {
                *first = i as u32;
            }
            *end = i as u32 + 1;
        }
        let turn = |special: &Special| special.standing() == Standing::Turn;
        let turns = Special::ALL.into_iter().filter(turn);
        let mut turns: Vec<TokenId> = turns.filter_map(|special| vocab.special(special)).collect();
        turns.sort_unstable();
        Self {
            tokens,
            by_lead,
            turns,
        }
    }

    /// Appends the tokens found in `text[stretch]`, in order. A match lies in the stretch as a
    /// whole.
    pub(super) fn find(
        &self,
        text: &[u8],
        stretch: Range<usize>,
        allowed: Allowed,
        found: &mut Vec<Found>,
    ) {
        if allowed == Allowed::None {
            return;
        }
        let (mut at, end) = (stretch.start, stretch.end);
        while at < end {
            let (first, last) = self.by_lead[text[at] as usize];
            let candidates = &self.tokens[first as usize..last as usize];
            match self.longest(&text[at..end], candidates, allowed) {
                Some((len, id)) => {
                    found.push(Found {
                        start: at,
                        end: at + len,
                        id,
                    });
                    at += len;
                }
                None => at += 1,
            }
        }
    }

    /// The longest of the sorted `candidates` that `text` begins with.
    fn longest(
        &self,
        text: &[u8],
        mut candidates: &[(Box<[u8]>, TokenId)],
        allowed: Allowed,
    ) -> Option<(usize, TokenId)> {
        let mut longest = None;
        let mut len = 1;
        // All candidates agree with the text in its first `len` bytes; the one that ends there
        // sorts first.
        while let Some((shortest, id)) = candidates.first() {
            if shortest.len() == len {
                if self.allows(*id, allowed) {
                    longest = Some((len, *id));
                }
                candidates = &candidates[1..];
            }
            let Some(&byte) = text.get(len) else { break };
            let from = candidates.partition_point(|(token, _)| token[len] < byte);
            let to = candidates.partition_point(|(token, _)| token[len] <= byte);
            candidates = &candidates[from..to];
            len += 1;
        }
        longest
    }

    fn allows(&self, id: TokenId, allowed: Allowed) -> bool {
        match allowed {
            Allowed::All => true,
            Allowed::Markup => self.turns.binary_search(&id).is_err(),
            Allowed::None => false,
        }
    }
}
