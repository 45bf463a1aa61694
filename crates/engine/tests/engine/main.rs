//! The engine over the CPU backend and a small model made from a seed.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are outside of test functions"
)]

mod family;
mod faults;
mod fill;
mod hooked;
mod hosting;
mod invariance;
mod laws;
mod prefixes;
mod restoring;
mod rig;
mod scheduling;
mod snapshots;
mod storing;
mod streams;
mod tiers;
