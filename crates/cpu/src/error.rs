//! Why the CPU backend refused something. All of these are misuse by the engine, but for the arena.

use std::io;

use thiserror::Error;

use crate::dot::Simd;

/// An error of the CPU backend.
#[derive(Debug, Error)]
pub enum Error {
    /// The page arena could not be reserved.
    #[error("cannot reserve {bytes} bytes of address space for KV pages")]
    Arena {
        /// Bytes asked for.
        bytes: usize,
        /// What the system said.
        source: Option<io::Error>,
    },
    /// Vector instructions this machine does not have.
    #[error("this machine has no {simd:?} instructions")]
    Simd {
        /// The level asked for.
        simd: Simd,
    },
    /// A plan with more rows than buffers were made for.
    #[error(
        "a step of {rows} rows, {outputs} with logits; there is room for {max_rows} and {max_outputs}"
    )]
    PlanTooLarge {
        /// Rows of the plan.
        rows: usize,
        /// Rows that want logits.
        outputs: usize,
        /// Rows there is room for.
        max_rows: usize,
        /// Rows with logits there is room for.
        max_outputs: usize,
    },
    /// A slot that does not exist.
    #[error("slot {slot} of {slots}")]
    Slot {
        /// The slot.
        slot: u32,
        /// How many there are.
        slots: usize,
    },
    /// A page that does not exist.
    #[error("page {page} of {pages}")]
    Page {
        /// The page.
        page: u32,
        /// How many there are.
        pages: usize,
    },
    /// A run that goes beyond its slot's pages.
    #[error("slot {slot} has pages for {have} tokens and was to compute up to token {need}")]
    NoPages {
        /// The slot.
        slot: u32,
        /// Tokens its pages hold.
        have: usize,
        /// Tokens the plan needs.
        need: usize,
    },
    /// A token outside of the vocabulary.
    #[error("token {token} in a vocabulary of {vocab}")]
    Token {
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// Bytes of a page or frontier of another size than this model's.
    #[error("a {what} of {found} bytes where this model's has {expected}")]
    Size {
        /// Page or frontier.
        what: &'static str,
        /// Bytes given.
        found: usize,
        /// Bytes of this model's.
        expected: usize,
    },
}
