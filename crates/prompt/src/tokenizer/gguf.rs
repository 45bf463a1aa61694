//! The tokenizer a weight file carries in its metadata.

use ds4_gguf::{Array, Gguf};

use super::{TokenType, Tokenizer, TokenizerError};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";

impl Tokenizer {
    /// Reads the tokenizer in the metadata of a weight file.
    ///
    /// # Errors
    /// If a key is missing, names another kind of tokenizer, or the vocabulary does not hold
    /// together.
    pub fn from_gguf(file: &Gguf) -> Result<Self, TokenizerError> {
        let metadata = file.metadata();
        for (key, wanted) in [(MODEL, "gpt2"), (PRE, "joyai-llm")] {
            let found = metadata.str(key)?;
            if found != wanted {
                let (field, found) = (key.into(), format!("{found:?}"));
                return Err(TokenizerError::Field {
                    field,
                    wanted,
                    found,
                });
            }
        }
        let tokens = metadata.array(TOKENS)?;
        let merges = metadata.array(MERGES)?;
        let types = match metadata.get(TYPES) {
            None => None,
            Some(_) => Some(types(metadata.array(TYPES)?)?),
        };
        let tokens = tokens
            .strs()
            .ok_or_else(|| wrong_items(TOKENS, "strings", tokens))?;
        let merges = merges
            .strs()
            .ok_or_else(|| wrong_items(MERGES, "strings", merges))?;
        Self::from_vocab(tokens, merges, types.as_deref())
    }
}

fn types(list: Array<'_>) -> Result<Vec<TokenType>, TokenizerError> {
    let types = list
        .i64s()
        .ok_or_else(|| wrong_items(TYPES, "integers", list))?;
    Ok(types.map(TokenType::from_gguf).collect())
}

fn wrong_items(key: &str, wanted: &'static str, found: Array<'_>) -> TokenizerError {
    let (field, found) = (key.into(), format!("{found:?}"));
    TokenizerError::Field {
        field,
        wanted,
        found,
    }
}
