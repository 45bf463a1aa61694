//! Records of the disk tier from arbitrary bytes.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/store/tests/support/bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::kv_record(bytes));
