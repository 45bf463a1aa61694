//! Weight files of DeepSeek V4.
//!
//! This crate reads, checks, writes and synthesises the files a model lives in. It knows containers (GGUF,
//! safetensors), block formats and random weights; it knows no model: names and shapes come from whoever asks.
//!
//! | module | what |
//! |---|---|
//! | [`format`] | the number formats by GGUF id: names, sizes |
//! | [`block`] | one file per block format; scalar decode is the truth for every backend |
//! | [`scalar`] | E4M3, E8M0, E2M1, the small floats of checkpoints and KV rows |

pub mod block;
pub mod format;
pub mod scalar;

pub use format::Format;
