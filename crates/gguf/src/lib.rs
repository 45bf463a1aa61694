//! Weight files of DeepSeek V4.
//!
//! This crate reads, checks, writes and synthesises the files a model lives in. It knows containers
//! (GGUF, safetensors), block formats and random weights; it knows no model: names and shapes come
//! from whoever asks.
//!
//! | module | what |
//! |---|---|
//! | [`Gguf`] | reads a GGUF file: metadata, tensors, payloads in place |
//! | [`mod@write`] | writes one: plan first, then payloads in order, atomically |
//! | [`safetensors`] | reads the shards of an original checkpoint |
//! | [`synth`] | weights out of a seed, for tests and benchmarks |
//! | [`limits`] | what a header may claim |
//! | [`mod@format`] | the number formats by GGUF id: names, sizes |
//! | [`block`] | one file per block format; scalar decode is the truth for every backend |
//! | [`scalar`] | E4M3, E8M0, E2M1, the small floats of checkpoints and KV rows |

pub mod block;
mod directory;
mod error;
mod fault;
pub mod format;
mod intake;
pub mod limits;
mod mapping;
mod metadata;
mod payload;
mod reader;
pub mod safetensors;
pub mod scalar;
pub mod synth;
mod tensor;
mod value;
pub mod write;

pub use error::{Error, Stamp};
pub use fault::{Fault, Place};
pub use format::Format;
pub use mapping::Progress;
pub use metadata::{KeyError, Metadata};
pub use payload::Payload;
pub use reader::Gguf;
pub use tensor::{Dims, TensorInfo};
pub use value::{Array, Items, Value, ValueType};
