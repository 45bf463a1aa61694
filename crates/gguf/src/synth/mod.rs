//! Weights out of a seed.
//!
//! | module | what |
//! |---|---|
//! | [`values`] | small models: every value is a pure function of seed, tensor name and index |
//! | [`noise`] | full-size models: whole blocks out of a seed, any byte range of any tensor alone |
//!
//! Names, sizes and amplitudes come from whoever asks: this module knows no model.

pub mod noise;
pub mod values;

pub use noise::{Fill, Noise};
pub use values::Values;
