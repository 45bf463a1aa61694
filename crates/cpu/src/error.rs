//! Why the CPU backend refused something. All of these are misuse by the engine, but for the arena.

use std::io;

use ds4_model::Misuse;
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
    /// A step or a piece of memory that does not fit.
    #[error(transparent)]
    Misuse(#[from] Misuse),
}
