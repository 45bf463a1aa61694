//! Conversations in the encoder's own form from arbitrary bytes.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/prompt/tests/support/bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::chat_render(bytes));
