//! Decoding a stream allocates nothing per token.

#![allow(
    unsafe_code,
    reason = "counting allocations takes an allocator, an unsafe trait"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ds4_prompt::{Decoder, TokenId, Tokenizer};

thread_local! {
    /// Allocations of this thread, so that the test harness does not count.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local cell
// that needs no allocation and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `alloc` above, that is from the system's allocator.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes in the order of their symbols, then a few longer tokens.
fn tokenizer() -> Tokenizer {
    let symbols = (0x21..=0x7E)
        .chain(0xA1..=0xAC)
        .chain(0xAE..=0xFF)
        .chain(0x100..0x144);
    let symbols = symbols.map(|code| char::from_u32(code).expect("a character").to_string());
    let longest = "x".repeat(200);
    let tokens: Vec<String> = symbols
        .chain(["the", "Ġthe", "ä¸Ń", "æĸĩ", "ðŁĺ", &longest].map(String::from))
        .collect();
    Tokenizer::from_vocab(tokens.iter().map(String::as_str), std::iter::empty(), None)
        .expect("a vocabulary that holds together")
}

#[test]
fn a_stream_of_tokens_allocates_nothing() {
    let tokenizer = tokenizer();
    let count = tokenizer.vocab_len() as u32;
    let mut decoder = Decoder::new();
    let mut length = 0;
    let before = ALLOCATIONS.get();
    for i in 0..100_000u32 {
        let id = TokenId(i.wrapping_mul(2_654_435_761) % count);
        length += decoder.push(tokenizer.token_bytes(id)).len();
    }
    length += decoder.finish().len();
    let allocations = ALLOCATIONS.get() - before;
    assert!(length > 100_000);
    assert_eq!(allocations, 0);
    drop(std::hint::black_box(Box::new(length)));
    assert_eq!(ALLOCATIONS.get() - before, 1, "the counter counts");
}
