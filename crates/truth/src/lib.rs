//! Goldens of the model and the comparisons that every backend must pass. For tests only.
//!
//! A backend's test makes a [`Rig`] of it, runs prompts, and states its limits on what [`check`] measures. The goldens
//! come from two independent float64 implementations that agree to 1e-13; `golden/README.md` says what each file holds.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "for tests"
)]

pub mod check;
pub mod golden;
mod rig;
pub mod trace;

pub use golden::{Mode, Model};
pub use rig::Rig;
