//! Scores of texts: what `logprobs` and `perplexity` share.

use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use ds4_engine::{FinishReason, Output, Request, Sampling, Score, Scoring, Session};
use ds4_prompt::{Special, TokenId, Tokenizer};

use crate::interrupts::Interrupts;
use crate::loading::Model;

/// The text of a file, or of stdin.
pub(crate) fn read_text(path: Option<&Path>) -> Result<String> {
    let (name, bytes) = match path {
        Some(path) => (path.display().to_string(), std::fs::read(path)),
        None => {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut bytes);
            ("stdin".to_owned(), read.map(|_| bytes))
        }
    };
    let bytes = bytes.with_context(|| format!("cannot read {name}"))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow::anyhow!(
            "{name} is not UTF-8: byte {at} is {:#04x}",
            error.as_bytes()[at]
        )
    })
}

/// The tokens of a text, as plain text.
pub(crate) fn tokens(model: &Model, text: &str) -> Vec<u32> {
    let ids = model.tokenizer.encode(text);
    ids.into_iter().map(|TokenId(id)| id).collect()
}

/// What stands before every text: BOS, as in training, where the vocabulary has it.
pub(crate) fn beginning(tokenizer: &Tokenizer) -> Vec<u32> {
    let bos = tokenizer.special(Special::Bos);
    bos.into_iter().map(|TokenId(id)| id).collect()
}

/// Scores every token of `text` but the first. None of them if Ctrl-C was pressed.
pub(crate) fn score(
    session: &Session,
    text: Vec<u32>,
    top: u8,
    interrupted: &Interrupts,
    mut each: impl FnMut(Score) -> Result<()>,
) -> Result<()> {
    let request = Request {
        scoring: Scoring::Prompt { top },
        ..Request::tokens(text, 0, Sampling::greedy())
    };
    for output in session.generate(request)? {
        if interrupted.is_pressed() {
            bail!("interrupted");
        }
        match output {
            Output::Score(score) => each(score)?,
            Output::Finish(finish) => {
                if let FinishReason::Error(error) = finish.reason {
                    return Err(error.into());
                }
            }
            _ => {}
        }
    }
    Ok(())
}
