//! The tokenizer against vectors, oracles and hostile input.
//!
//! One binary, because reading the published vocabulary is what these tests spend their time on: it
//! is read once.

#![allow(
    clippy::unwrap_used,
    reason = "the lint spares test functions, not their helpers"
)]

mod corpus;
mod decoding;
mod fuzz_body;
mod fuzz_corpus;
mod linear;
mod merging;
mod oracle;
mod published;
mod segments;
mod texts;
mod vectors;
mod vocabularies;
