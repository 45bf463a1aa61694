//! Text to token ids and back, exactly as the model was trained: cut out added tokens,
//! pre-tokenize, merge bytes.
//!
//! The rules are in docs/tokenizer.md. A [`Tokenizer`] is immutable and shared between threads; the
//! work space of an encoding (piece cache, merge buffers) comes from a pool inside it, so there are
//! as many as encodings at one time.

mod added;
mod alphabet;
mod bpe;
mod cache;
mod error;
mod gguf;
mod json;
mod merges;
mod queue;
mod vocab;

use std::borrow::Borrow;
use std::sync::Mutex;

pub use error::TokenizerError;
pub use vocab::TokenType;

use added::{AddedIndex, Allowed, Found};
use bpe::Merger;
use cache::{PIECE, PieceCache, Place};
use merges::Merges;
use vocab::Vocab;

use crate::pretokenize::spans;
use crate::segment::{AddedTokens, Segment, SegmentKind};
use crate::token::{Special, TokenId};

/// A vocabulary with its merges, ready to encode and decode.
pub struct Tokenizer {
    vocab: Vocab,
    merges: Merges,
    added: AddedIndex,
    pool: Mutex<Vec<Workspace>>,
}

/// What one encoding works in.
struct Workspace {
    cache: PieceCache,
    merger: Merger,
}

impl Tokenizer {
    /// Makes a tokenizer from tokens in the byte alphabet (the index is the id), merges `left
    /// right` (the index is the rank) and, where the file has them, the types of the tokens.
    ///
    /// Without types a vocabulary of the published size has its added tokens in the published
    /// places, any other has none.
    ///
    /// # Errors
    /// If the vocabulary does not hold together: see [`TokenizerError`].
    pub fn from_vocab<'a>(
        tokens: impl Iterator<Item = &'a str>,
        merges: impl Iterator<Item = &'a str>,
        types: Option<&[TokenType]>,
    ) -> Result<Self, TokenizerError> {
        let (vocab, ids) = Vocab::read(tokens, types)?;
        let merges = Merges::read(merges, &ids, vocab.len())?;
        let added = AddedIndex::new(&vocab);
        Ok(Self {
            vocab,
            merges,
            added,
            pool: Mutex::default(),
        })
    }

    /// How many tokens there are; ids are below it.
    pub fn vocab_len(&self) -> usize {
        self.vocab.len()
    }

    /// The id of a token of the protocol, if the vocabulary has it.
    pub fn special(&self, special: Special) -> Option<TokenId> {
        self.vocab.special(special)
    }

    /// Whether `id` is an added token: known by its text, never made by merges.
    pub fn is_added(&self, id: TokenId) -> bool {
        self.vocab.added().binary_search(&id).is_ok()
    }

    /// The bytes of a token; they need not be UTF-8. Nothing for an id outside the vocabulary.
    pub fn token_bytes(&self, id: TokenId) -> &[u8] {
        self.vocab.bytes(id)
    }

    /// The bytes of `ids`, one after the other.
    pub fn decode_bytes(&self, ids: &[TokenId]) -> Vec<u8> {
        ids.iter()
            .flat_map(|&id| self.token_bytes(id))
            .copied()
            .collect()
    }

    /// The text of `ids`; what is not UTF-8 becomes U+FFFD. For a stream use
    /// [`Decoder`](crate::Decoder).
    pub fn decode(&self, ids: &[TokenId]) -> String {
        String::from_utf8_lossy(&self.decode_bytes(ids)).into_owned()
    }

    /// The ids of `text` as plain text: the texts of added tokens are ordinary characters.
    pub fn encode(&self, text: &str) -> Vec<TokenId> {
        self.encode_around(text, &[])
    }

    /// The ids of `text` with added tokens recognised wherever they stand. Not for anybody's data.
    pub fn encode_with_added(&self, text: &str) -> Vec<TokenId> {
        let mut found = Vec::new();
        self.added
            .find(text.as_bytes(), 0..text.len(), Allowed::All, &mut found);
        self.encode_around(text, &found)
    }

    /// The ids of rendered text, with added tokens in data read as `policy` says.
    pub fn encode_segments<'a, S: Borrow<Segment<'a>>>(
        &self,
        segments: impl IntoIterator<Item = S>,
        policy: AddedTokens,
    ) -> Vec<TokenId> {
        let mut text = String::new();
        let mut ends: Vec<(SegmentKind, usize)> = Vec::new();
        for segment in segments {
            let segment = segment.borrow();
            text.push_str(segment.text);
            ends.push((segment.kind, text.len()));
        }
        if policy == AddedTokens::AsToken {
            return self.encode_with_added(&text);
        }
        let in_data = match policy {
            AddedTokens::AsText => Allowed::None,
            AddedTokens::TurnsAsText | AddedTokens::AsToken => Allowed::Markup,
        };
        let mut found = Vec::new();
        let mut at = 0;
        // A token is recognised within neighbouring segments of one kind, never across a change of
        // kind: otherwise data could eat the beginning of a control token, or complete one.
        for same in ends.chunk_by(|a, b| a.0 == b.0) {
            let (kind, end) = same[same.len() - 1];
            let allowed = match kind {
                SegmentKind::Control => Allowed::All,
                SegmentKind::Data => in_data,
            };
            self.added
                .find(text.as_bytes(), at..end, allowed, &mut found);
            at = end;
        }
        self.encode_around(&text, &found)
    }

    /// [`Self::encode`] without the piece cache, and how many steps merging took: for tests of the
    /// linear bound.
    #[doc(hidden)]
    pub fn encode_counting(&self, text: &str) -> (Vec<TokenId>, u64) {
        let mut merger = Merger::new();
        let mut ids = Vec::new();
        for span in spans(text) {
            merger.merge(&text.as_bytes()[span], &self.vocab, &self.merges, &mut ids);
        }
        (ids, merger.steps)
    }

    /// Encodes the text between the tokens already found.
    fn encode_around(&self, text: &str, found: &[Found]) -> Vec<TokenId> {
        let mut work = self.workspace();
        let mut ids = Vec::with_capacity(text.len() / 4);
        let mut at = 0;
        for token in found {
            self.encode_stretch(&text[at..token.start], &mut work, &mut ids);
            ids.push(token.id);
            at = token.end;
        }
        self.encode_stretch(&text[at..], &mut work, &mut ids);
        self.give_back(work);
        ids
    }

    fn encode_stretch(&self, text: &str, work: &mut Workspace, ids: &mut Vec<TokenId>) {
        let bytes = text.as_bytes();
        for span in spans(text) {
            let piece = &bytes[span];
            if let [byte] = *piece {
                ids.push(self.vocab.of_byte(byte));
                continue;
            }
            if piece.len() > PIECE {
                work.merger.merge(piece, &self.vocab, &self.merges, ids);
                continue;
            }
            let place = Place::of(piece);
            if let Some(known) = work.cache.get(piece, place) {
                ids.extend_from_slice(known);
                continue;
            }
            let start = ids.len();
            work.merger.merge(piece, &self.vocab, &self.merges, ids);
            work.cache.put(piece, place, &ids[start..]);
        }
    }

    fn workspace(&self) -> Workspace {
        let pooled = self
            .pool
            .lock()
            .map(|mut pool| pool.pop())
            .unwrap_or_default();
        pooled.unwrap_or_else(|| Workspace {
            cache: PieceCache::new(),
            merger: Merger::new(),
        })
    }

    fn give_back(&self, work: Workspace) {
        // A poisoned pool only costs its work spaces.
        if let Ok(mut pool) = self.pool.lock() {
            pool.push(work);
        }
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("tokens", &self.vocab.len())
            .field("merges", &self.merges.len())
            .finish_non_exhaustive()
    }
}
