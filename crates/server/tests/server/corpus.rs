//! Replays the fuzzer's corpus: every body that once was interesting is understood or refused.

use std::path::Path;

#[path = "../support/bodies.rs"]
mod bodies;

#[test]
fn server_requests() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/server_requests");
    let entries = std::fs::read_dir(corpus).unwrap();
    let paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(paths.len() >= 59, "{} files", paths.len());
    for path in paths {
        bodies::requests(&std::fs::read(path).unwrap());
    }
}
