//! Small floats: the formats of checkpoint weights, block scales and KV rows.
//!
//! | type | bits | values |
//! |---|---|---|
//! | [`E4M3`] | sign, 4 exponent, 3 mantissa | ±448, no infinity, one NaN code per sign |
//! | [`E2M1`] | sign, 2 exponent, 1 mantissa | ±{0, 0.5, 1, 1.5, 2, 3, 4, 6} |
//! | [`E8M0`] | 8 exponent | powers of two, 2^-127 to 2^127, and one NaN code |
//!
//! Encoding rounds to nearest, ties to the even code, and saturates. [`shared`] puts a row of codes
//! under one scale, as the KV rows have it. Everything here is branch-free arithmetic on float32
//! bits, so that a loop over it becomes vector code; the tests compare it with tables written from
//! the definitions.

mod e2m1;
mod e4m3;
mod e8m0;
pub mod shared;

pub use e2m1::E2M1;
pub use e4m3::E4M3;
pub use e8m0::E8M0;
