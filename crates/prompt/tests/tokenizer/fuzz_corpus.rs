//! The corpus of the fuzz target `tokenizer`, replayed.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::fuzz_body::tokenizer;

#[test]
fn every_input_found_so_far() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/tokenizer");
    let inputs = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut count = 0;
    for input in inputs {
        tokenizer(&std::fs::read(input.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 8, "only {count} inputs in {folder}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_input(choice in 1u8..3, bytes in vec(any::<u8>(), 0..200)) {
        tokenizer(&[&[choice], bytes.as_slice()].concat());
    }

    #[test]
    fn any_lines(lines in "([ab<>ĠĊ]{1,4} ?[ab<>]{0,4}\n){0,20}") {
        tokenizer(format!("\u{1}{lines}").as_bytes());
    }
}
