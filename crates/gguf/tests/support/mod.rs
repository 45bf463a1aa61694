//! What the tests of hostile files share.

#![allow(dead_code, reason = "every test binary uses its own part of this")]
#![allow(
    unreachable_pub,
    reason = "a module of a test binary is reached by that binary only"
)]

pub mod bodies;
pub mod memory;
pub mod raw;
