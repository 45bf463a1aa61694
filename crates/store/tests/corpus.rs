//! Every input that fuzzing found worth keeping, once more.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are outside of test functions"
)]

#[path = "support/bodies.rs"]
mod bodies;

use std::fs;
use std::path::Path;

#[test]
fn the_corpus_is_read_without_harm() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/kv_record");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        bodies::kv_record(&bytes);
        count += 1;
        // And what is near it.
        for at in 0..bytes.len().min(220) {
            for change in [1, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= change;
                bodies::kv_record(&bytes);
            }
            bodies::kv_record(&bytes[..at]);
        }
    }
    assert!(count >= 10, "{count} files");
}
