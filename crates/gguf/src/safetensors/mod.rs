//! The files an original checkpoint comes in.
//!
//! A *shard* is a length, a JSON header and the payloads back to back; a *checkpoint* is a folder
//! of shards with an index that says which tensor lies in which. docs/formats/safetensors.md has
//! the bytes and our rules. Shapes are kept as written, slowest dimension first: the opposite of
//! [`crate::Dims`].

mod checkpoint;
mod dtype;
mod header;
mod shard;

pub use checkpoint::Checkpoint;
pub use dtype::Dtype;
pub use shard::{Shard, Tensor};

/// Longest JSON text read: the limit other readers of the format have.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Most dimensions of a tensor; checkpoints of this family use two.
pub const MAX_RANK: usize = 8;
