//! Replays the fuzzers' corpora: every text that once was interesting stays understood.

mod support;

use std::path::Path;

/// Runs `body` over a corpus; both outcomes must be in it for the replay to mean anything.
fn replay(target: &str, body: fn(&[u8]), expected: usize) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let entries = std::fs::read_dir(&corpus).expect("the corpus is in the tree");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("a readable entry").path())
        .collect();
    paths.sort();
    assert!(
        paths.len() >= expected,
        "{} files in {}",
        paths.len(),
        corpus.display()
    );
    for path in paths {
        body(&std::fs::read(&path).expect("a readable file"));
    }
}

#[test]
fn chat_render() {
    replay("chat_render", support::bodies::chat_render, 40);
}

#[test]
fn dsml_reader() {
    replay("dsml_reader", support::bodies::dsml_reader, 100);
}
