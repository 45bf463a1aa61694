//! GGUF files from arbitrary bytes.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/gguf/tests/support/bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::gguf_header(bytes));
