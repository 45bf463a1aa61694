//! Generated text from arbitrary bytes.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/prompt/tests/support/bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::dsml_reader(bytes));
