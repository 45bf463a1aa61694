//! The disk tier: what is written is found again, whatever happens in between.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are outside of test functions"
)]

mod budget;
mod faults;
mod rig;
mod sharing;
mod trust;
