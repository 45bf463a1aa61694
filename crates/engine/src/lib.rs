//! Engine, sessions, sampling and the step scheduler: the only crate front ends import.

#![forbid(unsafe_code)]

pub mod pages;
pub mod sampling;
