//! Replays the fuzzers' corpora: every file that once was interesting stays understood.

#![allow(
    clippy::unwrap_used,
    reason = "clippy knows tests by their attribute only"
)]

mod support;

use std::path::Path;

use ds4_gguf::Gguf;
use ds4_gguf::safetensors::Shard;

fn files(target: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut paths: Vec<_> = std::fs::read_dir(corpus)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// Both sides of the reader must be in the corpus for the replay to mean anything.
fn replay(target: &str, body: fn(&[u8]), opens: impl Fn(Vec<u8>) -> bool) {
    let files = files(target);
    files.iter().for_each(|bytes| body(bytes));
    let opened = files.iter().filter(|bytes| opens(bytes.to_vec())).count();
    assert!(
        opened >= 5,
        "{opened} of {} files in {target} open",
        files.len()
    );
    assert!(
        files.len() - opened >= 20,
        "{opened} of {} files in {target} open",
        files.len()
    );
}

#[test]
fn gguf_headers() {
    let opens = |bytes| Gguf::from_bytes("corpus", bytes).is_ok();
    replay("gguf_header", support::bodies::gguf_header, opens);
}

#[test]
fn safetensors_headers() {
    let opens = |bytes| Shard::from_bytes("corpus", bytes).is_ok();
    replay(
        "safetensors_header",
        support::bodies::safetensors_header,
        opens,
    );
}
