//! Everything that can be wrong with a vocabulary.

use crate::token::TokenId;

/// Why a tokenizer could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A list is longer than any vocabulary of the family.
    #[error("more than {limit} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The most that is accepted.
        limit: usize,
    },
    /// Types are given, but not one per token.
    #[error("{tokens} tokens, but {types} token types")]
    TypeCount {
        /// Number of tokens.
        tokens: usize,
        /// Number of types.
        types: usize,
    },
    /// A token without text.
    #[error("token {id} is empty")]
    EmptyToken {
        /// Its id.
        id: TokenId,
    },
    /// Two tokens have the same text.
    #[error("tokens {first} and {second} are both {token:?}")]
    TwiceTheSame {
        /// Their text.
        token: String,
        /// The earlier id.
        first: TokenId,
        /// The later id.
        second: TokenId,
    },
    /// A base token has a character that stands for no byte.
    #[error(
        "token {id} {token:?} has {symbol:?}, which stands for no byte (an added token has no type 3 or 4?)"
    )]
    NotInAlphabet {
        /// The token as written.
        token: String,
        /// Its id.
        id: TokenId,
        /// The character.
        symbol: char,
    },
    /// Without a token for each byte some texts could not be encoded.
    #[error("no token for the byte {byte:#04x}; byte-level vocabularies have all 256")]
    MissingByte {
        /// The byte.
        byte: u8,
    },
    /// A merge is not two tokens with a space between them.
    #[error("merge {rank} is {merge:?}, not two tokens with a space between them")]
    NotAMerge {
        /// Place in the list.
        rank: usize,
        /// The merge as written.
        merge: String,
    },
    /// A side of a merge, or what it makes, is not in the vocabulary.
    #[error("merge {rank} ({merge:?}) needs the token {token:?}, which is not in the vocabulary")]
    MergeOfUnknown {
        /// Place in the list.
        rank: usize,
        /// The merge as written.
        merge: String,
        /// What is missing.
        token: String,
    },
    /// A merge is listed twice.
    #[error("merge {rank} ({merge:?}) is merge {first} again")]
    MergeTwice {
        /// The merge as written.
        merge: String,
        /// The earlier place.
        first: u32,
        /// The later place.
        rank: u32,
    },
    /// A tokenizer file is not JSON.
    #[error("the tokenizer file is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The metadata of a weight file lacks a key of the tokenizer, or holds something else there.
    #[error(transparent)]
    Metadata(#[from] ds4_gguf::KeyError),
    /// A field of a tokenizer file or of metadata is missing or of another kind.
    #[error("{field}: expected {wanted}, found {found}")]
    Field {
        /// Path of the field.
        field: String,
        /// What should be there.
        wanted: &'static str,
        /// What is there, shortened.
        found: String,
    },
}
