//! The vocabulary as grammars see it.

use std::sync::Arc;

use ds4_prompt::{Special, TokenId, Tokenizer};
use llguidance::ParserFactory;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};

use crate::error::ApiError;

/// Bytes of every token, arranged for grammars. Made once, since that takes a moment.
pub(crate) struct Vocabulary(ParserFactory);

impl Vocabulary {
    /// The vocabulary of `tokenizer`. Added tokens are nothing a grammar can ask for, but for the
    /// mark of tool markup, which stands for its text.
    ///
    /// # Errors
    /// If the library cannot work with it.
    pub(crate) fn new(tokenizer: &Tokenizer, vocab: usize) -> Result<Self, ApiError> {
        let mark = tokenizer.special(Special::Dsml);
        let word = |id: usize| {
            let id = TokenId(id as u32);
            let is_text = id.index() < tokenizer.vocab_len() && !tokenizer.is_added(id);
            match is_text || Some(id) == mark {
                true => tokenizer.token_bytes(id).to_vec(),
                false => Vec::new(),
            }
        };
        let words: Vec<Vec<u8>> = (0..vocab).map(word).collect();
        let end = tokenizer.special(Special::Eos).map_or(0, |TokenId(id)| id);
        let trie = TokTrie::from(&TokRxInfo::new(vocab as u32, end), &words);
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&env).map_err(|error| {
            ApiError::internal(format!("no grammars with this vocabulary: {error}"))
        })?;
        factory.quiet();
        Ok(Self(factory))
    }

    pub(crate) fn factory(&self) -> &ParserFactory {
        &self.0
    }
}
