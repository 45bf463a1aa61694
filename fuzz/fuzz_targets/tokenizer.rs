//! Tokenizers and texts from arbitrary bytes.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/prompt/tests/tokenizer/fuzz_body.rs"]
mod fuzz_body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_body::tokenizer(bytes));
