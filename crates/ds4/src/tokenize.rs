//! `ds4 tokenize`: the tokens of a text.

use std::io::{self, Read};
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::ArgGroup;
use ds4_gguf::Gguf;
use ds4_prompt::{TokenId, Tokenizer};
use serde_json::{Value, json};

use crate::manners;

/// Show the tokens of a text: reads stdin, prints one token a line, its id and its text.
///
/// A token that ends inside a character is shown as bytes, such as b"\xe4\xb8".
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("vocabulary").args(["tokenizer", "model"]).required(true)))]
pub(crate) struct Args {
    /// A tokenizer.json as published with the models.
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// A weight file: the tokenizer in its metadata.
    #[arg(short, long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Read added tokens such as `<think>` as tokens; without it they are text like any other.
    #[arg(long)]
    added: bool,
    /// For programs: one JSON object with `ids` and `tokens`.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let tokenizer = args.load()?;
    let text = read_text(io::stdin().lock())?;
    let ids = if args.added {
        tokenizer.encode_with_added(&text)
    } else {
        tokenizer.encode(&text)
    };
    manners::print(&if args.json {
        as_json(&tokenizer, &ids)
    } else {
        as_lines(&tokenizer, &ids)
    })
}

impl Args {
    fn load(&self) -> Result<Tokenizer> {
        if let Some(path) = &self.model {
            let file = Gguf::open(path).context("cannot read the weight file")?;
            return Tokenizer::from_gguf(&file)
                .with_context(|| format!("cannot use the tokenizer in {}", path.display()));
        }
        let path = self
            .tokenizer
            .as_ref()
            .expect("clap asks for one of the two");
        let file =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Tokenizer::from_json(&file).with_context(|| format!("cannot use {}", path.display()))
    }
}

fn read_text(mut from: impl Read) -> Result<String> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).context("cannot read stdin")?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow!(
            "stdin is not UTF-8: byte {at} is {:#04x}",
            error.as_bytes()[at]
        )
    })
}

/// One token a line.
pub(crate) fn as_lines(tokenizer: &Tokenizer, ids: &[TokenId]) -> String {
    let line = |&id: &TokenId| {
        let bytes = tokenizer.token_bytes(id);
        match std::str::from_utf8(bytes) {
            Ok(text) => format!("{id}\t{text:?}\n"),
            Err(_) => format!("{id}\tb\"{}\"\n", bytes.escape_ascii()),
        }
    };
    ids.iter().map(line).collect()
}

fn as_json(tokenizer: &Tokenizer, ids: &[TokenId]) -> String {
    let token = |&id: &TokenId| -> Value {
        let bytes = tokenizer.token_bytes(id);
        match std::str::from_utf8(bytes) {
            Ok(text) => json!({"id": id.0, "text": text}),
            Err(_) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                json!({"id": id.0, "hex": hex})
            }
        }
    };
    let numbers: Vec<u32> = ids.iter().map(|id| id.0).collect();
    let tokens: Vec<Value> = ids.iter().map(token).collect();
    format!("{}\n", json!({"ids": numbers, "tokens": tokens}))
}
