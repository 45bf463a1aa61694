//! The vocabulary: the bytes of every token, which tokens are added ones, and the reverse lookup.

use std::collections::HashMap;

use super::{TokenizerError, alphabet::byte_of};
use crate::token::{Special, TokenId};

/// Ids must fit 20 bits: the merge table packs two of them and a rank into one word.
pub(super) const MAX_TOKENS: usize = 1 << 20;
/// Bytes of all tokens together; the published vocabulary has 0.9 million.
const MAX_BYTES: usize = 1 << 28;
/// The size of the published vocabulary, for files that do not say which of its tokens are added
/// ones.
const PUBLISHED: usize = 129_280;

/// What a vocabulary file says a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// Made by merges, written in the byte alphabet.
    Base,
    /// Known by its text, never made by merges.
    Added,
}

impl TokenType {
    /// The reading of a GGUF `token_type`: control (3) and user defined (4) tokens are added ones.
    pub fn from_gguf(value: i64) -> Self {
        if matches!(value, 3 | 4) {
            Self::Added
        } else {
            Self::Base
        }
    }

    /// The fallback for a vocabulary of the published size without types.
    fn published(id: usize) -> Self {
        if !(3..128_000).contains(&id) {
            Self::Added
        } else {
            Self::Base
        }
    }
}

/// All tokens of a tokenizer.
pub(super) struct Vocab {
    /// The bytes of all tokens, one after the other.
    bytes: Vec<u8>,
    /// Where each token ends in `bytes`.
    ends: Vec<u32>,
    /// Ids of the added tokens, ascending.
    added: Vec<TokenId>,
    /// The id of each single-byte base token.
    byte_ids: [TokenId; 256],
    /// Ids of the protocol's tokens, by their place in `Special::ALL`.
    special: [Option<TokenId>; Special::ALL.len()],
}

impl Vocab {
    /// Reads tokens as their file writes them. The map leads from the written base tokens to their
    /// ids.
    pub(super) fn read<'a>(
        tokens: impl Iterator<Item = &'a str>,
        types: Option<&[TokenType]>,
    ) -> Result<(Self, HashMap<&'a str, TokenId>), TokenizerError> {
        let tokens: Vec<&str> = tokens.take(MAX_TOKENS + 1).collect();
        if tokens.len() > MAX_TOKENS {
            return Err(TokenizerError::TooMany {
                what: "tokens",
                limit: MAX_TOKENS,
            });
        }
        if let Some(types) = types
            && types.len() != tokens.len()
        {
            return Err(TokenizerError::TypeCount {
                tokens: tokens.len(),
                types: types.len(),
            });
        }
        let type_of = |id: usize| match types {
            Some(types) => types[id],
            None if tokens.len() == PUBLISHED => TokenType::published(id),
            None => TokenType::Base,
        };
        let total: usize = tokens.iter().map(|token| token.len()).sum();
        if total > MAX_BYTES {
            return Err(TokenizerError::TooMany {
                what: "bytes of tokens",
                limit: MAX_BYTES,
            });
        }

        let mut vocab = Self {
            bytes: Vec::with_capacity(total),
            ends: Vec::with_capacity(tokens.len()),
            added: Vec::new(),
            byte_ids: [TokenId(u32::MAX); 256],
            special: [None; Special::ALL.len()],
        };
        let mut base = HashMap::with_capacity(tokens.len());
        let mut added = HashMap::new();
        for (id, &token) in tokens.iter().enumerate() {
            let (known, id) = match type_of(id) {
                TokenType::Base => (&mut base, TokenId(id as u32)),
                TokenType::Added => (&mut added, TokenId(id as u32)),
            };
            if token.is_empty() {
                return Err(TokenizerError::EmptyToken { id });
            }
            if let Some(first) = known.insert(token, id) {
                return Err(TokenizerError::TwiceTheSame {
                    token: token.into(),
                    first,
                    second: id,
                });
            }
            vocab.push(token, id, type_of(id.index()))?;
        }
        vocab.find_special(&added);
        match vocab
            .byte_ids
            .iter()
            .position(|&id| id == TokenId(u32::MAX))
        {
            Some(byte) => Err(TokenizerError::MissingByte { byte: byte as u8 }),
            None => Ok((vocab, base)),
        }
    }

    fn push(&mut self, token: &str, id: TokenId, kind: TokenType) -> Result<(), TokenizerError> {
        let start = self.bytes.len();
        match kind {
            TokenType::Added => {
                self.added.push(id);
                self.bytes.extend_from_slice(token.as_bytes());
            }
            TokenType::Base => {
                for symbol in token.chars() {
                    let byte = byte_of(symbol).ok_or_else(|| TokenizerError::NotInAlphabet {
                        token: token.into(),
                        id,
                        symbol,
                    })?;
                    self.bytes.push(byte);
                }
                if let [byte] = self.bytes[start..] {
                    self.byte_ids[byte as usize] = id;
                }
            }
        }
        self.ends.push(self.bytes.len() as u32);
        Ok(())
    }

    fn find_special(&mut self, added: &HashMap<&str, TokenId>) {
        for (slot, special) in self.special.iter_mut().zip(Special::ALL) {
            *slot = added.get(special.text()).copied();
        }
    }

    /// How many tokens there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of a token, or nothing for an id outside the vocabulary.
    #[inline]
    pub(super) fn bytes(&self, id: TokenId) -> &[u8] {
        let Some(&end) = self.ends.get(id.index()) else {
            return &[];
        };
        let start = id
            .index()
            .checked_sub(1)
            .map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..end as usize]
    }

    /// Ids of the added tokens, ascending.
    pub(super) fn added(&self) -> &[TokenId] {
        &self.added
    }

    /// The id of the base token that is this one byte.
    #[inline]
    pub(super) fn of_byte(&self, byte: u8) -> TokenId {
        self.byte_ids[byte as usize]
    }

    /// The id of a token of the protocol.
    pub(super) fn special(&self, special: Special) -> Option<TokenId> {
        self.special[special as usize]
    }
}
