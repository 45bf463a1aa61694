//! `ds4 logprobs`: how likely each token of a text is.

use std::fmt::Write;

use anyhow::Result;
use ds4_prompt::{TokenId, Tokenizer};
use serde_json::{Value, json};

use crate::loading::{ModelArgs, Wants};
use crate::{interrupts, manners, scoring};

/// Show how likely the model finds each token of a text, and what it would rather have read.
///
/// One line a token: its position, its log-probability, its text, then the likeliest tokens in its
/// place. The distribution is the model's own, before temperature and everything else.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The text; stdin without it.
    #[arg(short, long, value_name = "TEXT")]
    prompt: Option<String>,
    /// How many of the likeliest tokens to show.
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u8).range(0..=20))]
    top: u8,
    /// For programs: one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let text = match &args.prompt {
        Some(text) => text.clone(),
        None => scoring::read_text(None)?,
    };
    let model = args.model.load(Wants::EveryToken)?;
    let mut tokens = scoring::beginning(&model.tokenizer);
    tokens.extend(scoring::tokens(&model, &text));
    let interrupted = interrupts::catch()?;
    let session = model.engine.session()?;
    let tokenizer = &*model.tokenizer;
    scoring::score(&session, tokens, args.top, &interrupted, |score| {
        let top = score.top.as_slice().iter();
        manners::print(&if args.json {
            let item = |token, logprob: f32| {
                let mut value = shown(tokenizer, token);
                value["logprob"] = json!(logprob);
                value
            };
            let mut line = item(score.token.token, score.token.logprob);
            line["at"] = json!(score.at);
            line["top"] = top.map(|t| item(t.token, t.logprob)).collect();
            format!("{line}\n")
        } else {
            let text = quoted(tokenizer, score.token.token);
            let mut line = format!("{}\t{:.4}\t{text}", score.at, score.token.logprob);
            for t in top {
                let text = quoted(tokenizer, t.token);
                // Writing to a string does not fail.
                let _ = write!(line, "\t{text} {:.4}", t.logprob);
            }
            line + "\n"
        })
    })
}

fn quoted(tokenizer: &Tokenizer, token: u32) -> String {
    let bytes = tokenizer.token_bytes(TokenId(token));
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("b\"{}\"", bytes.escape_ascii()),
    }
}

fn shown(tokenizer: &Tokenizer, token: u32) -> Value {
    let bytes = tokenizer.token_bytes(TokenId(token));
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "id": token, "text": text }),
        Err(_) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "id": token, "hex": hex })
        }
    }
}
