//! The paper: shapes, weights, and one forward pass over one trait of operations.
//!
//! `model` knows the architecture of DeepSeek V4 and nothing else: no text, no files beyond `Gguf`, no kernels.

#![forbid(unsafe_code)]

pub mod shape;
pub mod weights;

pub use shape::{Profile, Ratio, Rope, Shape};
pub use weights::Weights;
