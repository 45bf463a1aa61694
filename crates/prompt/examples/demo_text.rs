//! Conversations to training text of the demo model (models/demo), through the renderer and the
//! tokenizer that the engine uses, so that the model is trained on exactly what it will be shown.
//!
//! Reads JSON lines from stdin, each `{"messages": […], "thinking": bool}` with messages in the
//! encoder's own form.
//!
//! ```sh
//! demo_text pieces < conversations.jsonl             # what merges are learnt from: count, piece
//! demo_text ids vocab.json < conversations.jsonl     # per line: u32 length, u16 ids, little-endian
//! ```

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "a tool of the training script: data on stdout, and it stops at the first bad line"
)]

use std::collections::HashMap;
use std::io::{self, BufRead, BufWriter, Write};

use ds4_prompt::chat::{Settings, official, render};
use ds4_prompt::json::{Grammar, Value, parse};
use ds4_prompt::pretokenize::pieces;
use ds4_prompt::tokenizer::TokenType;
use ds4_prompt::{AddedTokens, Effort, Generation, Prompt, Special, Thinking, Tokenizer};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [mode] if mode == "pieces" => print_pieces(),
        [mode, vocabulary] if mode == "ids" => print_ids(vocabulary),
        _ => {
            eprintln!("usage: demo_text pieces | demo_text ids VOCAB.json");
            std::process::exit(2);
        }
    }
}

/// The prompts of all lines.
fn prompts() -> impl Iterator<Item = Prompt> {
    let lines = io::stdin().lock().lines();
    lines.map(|line| {
        let line = line.expect("stdin is readable UTF-8");
        let case = parse(&line, Grammar::Python).expect("a line is JSON");
        let messages = case.get("messages").expect("a line has messages");
        let messages = official::messages_of(messages).expect("messages are well-formed");
        let thinking = match case.get("thinking") {
            Some(Value::Bool(true)) => Thinking::On(Effort::High),
            _ => Thinking::Off,
        };
        let settings = Settings::new(Generation::April, thinking);
        render(&messages, &settings).expect("messages can be rendered")
    })
}

/// Counts the pieces between tokens of the protocol.
fn print_pieces() {
    let mut counts: HashMap<String, u64> = HashMap::new();
    for prompt in prompts() {
        let mut text = prompt.text().to_owned();
        for special in Special::ALL {
            text = text.replace(special.text(), "\0");
        }
        for stretch in text.split('\0') {
            for piece in pieces(stretch) {
                match counts.get_mut(piece) {
                    Some(count) => *count += 1,
                    None => drop(counts.insert(piece.to_owned(), 1)),
                }
            }
        }
    }
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut out = BufWriter::new(io::stdout().lock());
    for (piece, count) in counts {
        let piece = serde_json::to_string(&piece).expect("a string is JSON");
        writeln!(out, "{count}\t{piece}").expect("stdout takes it");
    }
}

fn print_ids(vocabulary: &str) {
    let tokenizer = tokenizer(vocabulary);
    let mut out = BufWriter::new(io::stdout().lock());
    for prompt in prompts() {
        let ids = prompt.encode(&tokenizer, AddedTokens::AsText).ids;
        let mut bytes = (ids.len() as u32).to_le_bytes().to_vec();
        for id in ids {
            let id = u16::try_from(id.0).expect("a small vocabulary");
            bytes.extend(id.to_le_bytes());
        }
        out.write_all(&bytes).expect("stdout takes it");
    }
}

/// The vocabulary that the training script made: `tokens`, `merges`, and how many tokens at the
/// `front` and from `added` on are added ones.
fn tokenizer(path: &str) -> Tokenizer {
    let text = std::fs::read(path).expect("the vocabulary is readable");
    let file: serde_json::Value = serde_json::from_slice(&text).expect("the vocabulary is JSON");
    let strings = |key: &str| -> Vec<String> {
        serde_json::from_value(file[key].clone()).expect("a list of strings")
    };
    let (tokens, merges) = (strings("tokens"), strings("merges"));
    let types: Vec<i32> = serde_json::from_value(file["types"].clone()).expect("a list of numbers");
    let types: Vec<TokenType> = types
        .into_iter()
        .map(|kind| match kind {
            3 | 4 => TokenType::Added,
            _ => TokenType::Base,
        })
        .collect();
    let (tokens, merges) = (
        tokens.iter().map(String::as_str),
        merges.iter().map(String::as_str),
    );
    Tokenizer::from_vocab(tokens, merges, Some(&types)).expect("a sound vocabulary")
}
