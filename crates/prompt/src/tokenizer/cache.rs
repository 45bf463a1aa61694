//! Pieces seen before: their tokens, one cache line each.
//!
//! Text repeats its words, so most pieces need no merging. The cache is a plain array: a piece has
//! one place, a newer piece takes it over, and pieces that do not fit a line are merged every time.
//! Its size is fixed.

use crate::token::TokenId;

/// Places; a power of two. 16,384 lines are 1 MiB.
const PLACES: usize = 1 << 14;
/// The longest piece that is kept, in bytes.
pub(super) const PIECE: usize = 38;
/// The most tokens of a piece that is kept.
const TOKENS: usize = 6;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line {
    ids: [TokenId; TOKENS],
    count: u8,
    /// 0: vacant.
    len: u8,
    bytes: [u8; PIECE],
}

const _: () = assert!(size_of::<Line>() == 64);

/// The cache.
pub(super) struct PieceCache {
    lines: Vec<Line>,
}

impl PieceCache {
    pub(super) fn new() -> Self {
        let vacant = Line {
            ids: [TokenId(0); TOKENS],
            count: 0,
            len: 0,
            bytes: [0; PIECE],
        };
        Self {
            lines: vec![vacant; PLACES],
        }
    }

    /// The tokens of `piece`, if it is there.
    #[inline]
    pub(super) fn get(&self, piece: &[u8], place: Place) -> Option<&[TokenId]> {
        let line = &self.lines[place.0];
        let known = line.len as usize == piece.len() && line.bytes[..piece.len()] == *piece;
        known.then(|| &line.ids[..line.count as usize])
    }

    /// Remembers the tokens of `piece` if they fit.
    pub(super) fn put(&mut self, piece: &[u8], place: Place, ids: &[TokenId]) {
        if ids.len() > TOKENS || piece.len() > PIECE {
            return;
        }
        let line = &mut self.lines[place.0];
        line.len = piece.len() as u8;
        line.count = ids.len() as u8;
        line.bytes[..piece.len()].copy_from_slice(piece);
        line.ids[..ids.len()].copy_from_slice(ids);
    }
}

/// Where a piece belongs.
#[derive(Clone, Copy)]
pub(super) struct Place(usize);

impl Place {
    /// The place of a piece of 1 to [`PIECE`] bytes.
    #[inline]
    pub(super) fn of(piece: &[u8]) -> Self {
        const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut hash = piece.len() as u64;
        let mut add = |word: u64| hash = (hash.rotate_left(23) ^ word).wrapping_mul(MIX);
        let (words, rest) = piece.as_chunks::<8>();
        for &word in words {
            add(u64::from_le_bytes(word));
        }
        if let Some(&last) = piece.last_chunk::<8>() {
            // The last eight bytes again, overlapping: no loop over the rest.
            add(u64::from_le_bytes(last));
        } else {
            add(rest
                .iter()
                .fold(0, |word, &byte| word << 8 | u64::from(byte)));
        }
        Self((hash >> 40) as usize % PLACES)
    }
}
