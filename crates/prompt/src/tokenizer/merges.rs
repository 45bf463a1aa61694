//! The merge list as a table: from two neighbouring tokens to the rank of their merge.
//!
//! One open-addressed table of 64-bit words, each `left id, right id, rank` in 20 + 20 + 20 bits.
//! At the published size it is 2 MiB, half full. It is the one thing that merging reads at random,
//! so it is kept this small.

use std::collections::HashMap;

use super::TokenizerError;
use super::vocab::MAX_TOKENS;
use crate::token::TokenId;

/// Position in the merge list: lower merges first.
pub(super) type Rank = u32;
/// The rank of a pair that is not in the list.
pub(super) const NO_MERGE: Rank = Rank::MAX;

const FIELD: u32 = 20;
const MASK: u64 = (1 << FIELD) - 1;
/// No entry looks like this: its unused top bits are set.
const VACANT: u64 = u64::MAX;
const _: () = assert!(MAX_TOKENS as u64 - 1 == MASK);

/// The merge list.
pub(super) struct Merges {
    /// Words of the table; their number is a power of two.
    table: Vec<u64>,
    /// What each merge makes.
    made: Vec<TokenId>,
    /// Whether every merge comes after the merges that make its two sides, as in any trained list.
    ordered: bool,
}

impl Merges {
    /// Reads merges written as two tokens with one space between them.
    pub(super) fn read<'a>(
        merges: impl Iterator<Item = &'a str>,
        ids: &HashMap<&str, TokenId>,
        vocab_len: usize,
    ) -> Result<Self, TokenizerError> {
        let merges: Vec<&str> = merges.take(MAX_TOKENS + 1).collect();
        if merges.len() > MAX_TOKENS {
            return Err(TokenizerError::TooMany {
                what: "merges",
                limit: MAX_TOKENS,
            });
        }
        let mut all = Self {
            table: vec![VACANT; (merges.len() * 2).next_power_of_two()],
            made: Vec::with_capacity(merges.len()),
            ordered: true,
        };
        // From which rank on a token can no longer appear anew: the last merge that makes it is
        // past.
        let mut settled = vec![0; vocab_len];
        let mut sides = Vec::with_capacity(merges.len());
        let mut text = String::new();
        for (rank, merge) in merges.into_iter().enumerate() {
            let unknown = |token: &str| TokenizerError::MergeOfUnknown {
                rank,
                merge: merge.into(),
                token: token.into(),
            };
            let id = |token: &str| ids.get(token).copied().ok_or_else(|| unknown(token));
            let (left, right) = merge
                .split_once(' ')
                .ok_or_else(|| TokenizerError::NotAMerge {
                    rank,
                    merge: merge.into(),
                })?;
            text.clear();
            text.push_str(left);
            text.push_str(right);
            let (left, right, made) = (id(left)?, id(right)?, id(&text)?);
            let rank = rank as Rank;
            settled[made.index()] = rank + 1;
            sides.push((left, right));
            all.insert(left, right, rank)
                .map_err(|first| TokenizerError::MergeTwice {
                    merge: merge.into(),
                    first,
                    rank,
                })?;
            all.made.push(made);
        }
        let settled = |id: TokenId, rank: usize| settled[id.index()] as usize <= rank;
        let mut sides = sides.iter().enumerate();
        all.ordered = sides.all(|(rank, &(l, r))| settled(l, rank) && settled(r, rank));
        Ok(all)
    }

    fn insert(&mut self, left: TokenId, right: TokenId, rank: Rank) -> Result<(), Rank> {
        let pair = pair(left, right);
        let mut at = self.home(pair);
        while self.table[at] != VACANT {
            if self.table[at] >> FIELD == pair {
                return Err((self.table[at] & MASK) as Rank);
            }
            at = (at + 1) & (self.table.len() - 1);
        }
        self.table[at] = pair << FIELD | u64::from(rank);
        Ok(())
    }

    /// The rank at which the two tokens merge, or [`NO_MERGE`].
    #[inline]
    pub(super) fn rank(&self, left: TokenId, right: TokenId) -> Rank {
        let pair = pair(left, right);
        let mut at = self.home(pair);
        loop {
            let entry = self.table[at];
            if entry >> FIELD == pair {
                return (entry & MASK) as Rank;
            }
            if entry == VACANT {
                return NO_MERGE;
            }
            at = (at + 1) & (self.table.len() - 1);
        }
    }

    /// What the merge of this rank makes.
    #[inline]
    pub(super) fn made(&self, rank: Rank) -> TokenId {
        self.made[rank as usize]
    }

    /// How many merges there are.
    pub(super) fn len(&self) -> usize {
        self.made.len()
    }

    /// Whether a merge can never make a pair that should have been merged earlier.
    pub(super) fn ordered(&self) -> bool {
        self.ordered
    }

    #[inline]
    fn home(&self, pair: u64) -> usize {
        // Fibonacci hashing; the high bits are the mixed ones.
        let hash = pair.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (hash >> 32) as usize & (self.table.len() - 1)
    }
}

#[inline]
fn pair(left: TokenId, right: TokenId) -> u64 {
    u64::from(left.0) << FIELD | u64::from(right.0)
}
