//! Throughput of the tokenizer beside that of the Hugging Face `tokenizers` crate, on one core:
//! `cargo run --release -p ds4-prompt --example tokenizer_speed`.
//!
//! Ten megabytes of prose, code and CJK in documents of some kilobytes, made from the vocabulary
//! itself with word frequencies like those of real text. Both libraries encode the same documents,
//! one after the other, the reference by its fastest call (`encode_fast`: no offsets); their ids
//! are compared before any number is printed. Then hostile megabytes beside prose.

#![allow(clippy::print_stdout, reason = "a benchmark prints")]

mod documents;
#[path = "../../tests/tokenizer/corpus.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod hostile;

use std::io::Read;
use std::time::{Duration, Instant};

use ds4_prompt::{Decoder, TokenId, Tokenizer};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tokenizer.json.gz");
    let mut json = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path)?).read_to_end(&mut json)?;
    let start = Instant::now();
    let ours = Tokenizer::from_json(&json)?;
    let loaded = start.elapsed();
    let start = Instant::now();
    let reference = tokenizers::Tokenizer::from_bytes(&json)?;
    println!(
        "reading tokenizer.json: {loaded:.0?}, reference {:.0?}",
        start.elapsed()
    );

    println!(
        "\n{:24} {:>9} {:>12} {:>12} {:>8}",
        "text", "MB", "ours MB/s", "reference", "ratio"
    );
    let kinds = documents::all(&ours, 10 << 20);
    for (name, documents) in &kinds {
        race(name, documents, &ours, &reference)?;
    }
    decoding(&ours, &kinds[0].1);
    hostile_texts(&ours);
    Ok(())
}

fn race(
    name: &str,
    documents: &[String],
    ours: &Tokenizer,
    reference: &tokenizers::Tokenizer,
) -> Result<(), Failure> {
    let bytes: usize = documents.iter().map(String::len).sum();
    for document in documents {
        let theirs = reference.encode_fast(document.as_str(), false)?;
        let theirs: Vec<TokenId> = theirs.get_ids().iter().copied().map(TokenId).collect();
        assert!(
            ours.encode_with_added(document) == theirs,
            "different ids in {name}"
        );
    }
    let encode = |document: &String| drop(ours.encode_with_added(document));
    let fast = fastest(5, || documents.iter().for_each(encode));
    let encode = |document: &String| drop(reference.encode_fast(document.as_str(), false));
    let slow = fastest(3, || documents.iter().for_each(encode));
    println!(
        "{name:24} {:>9.1} {:>12.1} {:>12.1} {:>7.1}x",
        bytes as f64 / 1e6,
        rate(bytes, fast),
        rate(bytes, slow),
        slow.as_secs_f64() / fast.as_secs_f64()
    );
    Ok(())
}

fn decoding(ours: &Tokenizer, documents: &[String]) {
    let ids: Vec<TokenId> = documents
        .iter()
        .flat_map(|text| ours.encode(text))
        .collect();
    let bytes: usize = documents.iter().map(String::len).sum();
    let mut decoder = Decoder::new();
    let mut length = 0;
    let time = fastest(3, || {
        length = 0;
        for &id in &ids {
            length += decoder.push(ours.token_bytes(id)).len();
        }
    });
    assert_eq!(length, bytes);
    println!(
        "\nstreaming decoder: {:.0} MB/s, {:.1} ns a token, {:.2} bytes a token",
        rate(bytes, time),
        time.as_nanos() as f64 / ids.len() as f64,
        bytes as f64 / ids.len() as f64
    );
}

fn hostile_texts(ours: &Tokenizer) {
    const MEGABYTE: usize = 1 << 20;
    let texts = [
        ("prose", hostile::prose(MEGABYTE)),
        ("one letter", "a".repeat(MEGABYTE)),
        ("spaces", " ".repeat(MEGABYTE)),
        ("equals signs", "=".repeat(MEGABYTE)),
        ("base64", hostile::base64(MEGABYTE)),
        ("letter noise, one piece", hostile::letters(MEGABYTE)),
        ("ideograph noise", hostile::ideographs(MEGABYTE / 3)),
    ];
    println!(
        "\n{:24} {:>12} {:>16}",
        "a megabyte of", "ns a byte", "steps a byte"
    );
    for (name, text) in texts {
        let time = fastest(3, || drop(ours.encode(&text)));
        let steps = ours.encode_counting(&text).1;
        let per_byte = |total: f64| total / text.len() as f64;
        let (time, steps) = (per_byte(time.as_nanos() as f64), per_byte(steps as f64));
        println!("{name:24} {time:>12.1} {steps:>16.1}");
    }
}

fn fastest(runs: usize, mut work: impl FnMut()) -> Duration {
    let mut timed = || {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..runs).map(|_| timed()).min().unwrap_or_default()
}

fn rate(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}
