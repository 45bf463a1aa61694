//! The tokenizer a file carries.

use ds4_gguf::Gguf;
use ds4_prompt::Tokenizer;

use super::facts::printable;

/// Facts about the tokenizer.
pub(super) struct TokenizerFacts {
    pub(super) kind: String,
    pub(super) tokens: usize,
    pub(super) added: usize,
    pub(super) merges: usize,
    /// The protocol's tokens and their ids.
    pub(super) special: Vec<(&'static str, usize)>,
    pub(super) odd: Vec<String>,
}

/// Texts that the protocol of V4 needs, found by text, never by id.
const SPECIAL: [&str; 7] = [
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<think>",
    "</think>",
    "｜DSML｜",
];

impl TokenizerFacts {
    /// `None` where the file has no tokens, as support files do.
    pub(super) fn of(file: &Gguf) -> Option<Self> {
        let metadata = file.metadata();
        let array = |key: &str| metadata.get(key).and_then(|value| value.as_array());
        let text = |key: &str| {
            metadata
                .get(key)
                .and_then(|value| value.as_str())
                .unwrap_or("?")
        };
        let tokens = array("tokenizer.ggml.tokens")?;
        let types = array("tokenizer.ggml.token_type").and_then(|types| types.i64s());
        let mut special = Vec::new();
        for (id, token) in tokens.strs().into_iter().flatten().enumerate() {
            special.extend(
                SPECIAL
                    .iter()
                    .filter(|&&text| text == token)
                    .map(|&text| (text, id)),
            );
        }
        special.sort_by_key(|&(text, _)| SPECIAL.iter().position(|&known| known == text));
        let missing = SPECIAL
            .iter()
            .filter(|text| special.iter().all(|found| found.0 != **text));
        let mut odd: Vec<String> = missing
            .map(|text| format!("the vocabulary has no token {text}"))
            .collect();
        // It names the same gaps, and others.
        if let Err(error) = Tokenizer::from_gguf(file) {
            odd.push(format!("the tokenizer cannot be used: {error}"));
        }
        Some(Self {
            kind: printable(&format!(
                "{}, {}",
                text("tokenizer.ggml.model"),
                text("tokenizer.ggml.pre")
            )),
            tokens: tokens.len(),
            added: types.map_or(0, |types| {
                types.filter(|kind| matches!(kind, 3 | 4)).count()
            }),
            merges: array("tokenizer.ggml.merges").map_or(0, |merges| merges.len()),
            special,
            odd,
        })
    }
}
