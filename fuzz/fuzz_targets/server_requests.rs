//! Request bodies of every dialect from arbitrary bytes.

#![no_main]

#[path = "../../crates/server/tests/support/bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::requests(bytes));
