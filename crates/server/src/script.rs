//! Answers that are written beforehand, for tests: the words are given, all else is real.
//!
//! Models small enough for a test cannot be trusted to call the right tool. A script forces the
//! tokens of a text through the engine's sampler, so that prompts, memory, prefix reuse, speed and
//! text are those of any other answer.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use ds4_engine::sampling::TokenMask;
use ds4_engine::{Grammar, end_of_turn};
use ds4_prompt::{TokenId, Tokenizer};

/// From a rendered prompt to what the model shall say: everything after the prompt, without the end
/// of the turn. `None` leaves it to the model.
#[derive(Clone)]
pub struct Script(Arc<Writer>);

type Writer = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Script {
    /// A script.
    pub fn new(write: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    /// What forces the answer to this prompt.
    pub(crate) fn lines(&self, prompt: &str, tokenizer: &Tokenizer) -> Option<Box<dyn Grammar>> {
        let text = (self.0)(prompt)?;
        let tokens = tokenizer.encode_with_added(&text).into_iter();
        Some(Box::new(Lines {
            tokens: tokens.map(|TokenId(id)| id).collect(),
            end: end_of_turn(tokenizer).first().copied().unwrap_or(0),
        }))
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

struct Lines {
    tokens: VecDeque<u32>,
    end: u32,
}

impl Grammar for Lines {
    fn allow(&mut self, mask: &mut TokenMask) {
        mask.allow(self.tokens.front().copied().unwrap_or(self.end));
    }

    fn accept(&mut self, _: u32) {
        self.tokens.pop_front();
    }
}
