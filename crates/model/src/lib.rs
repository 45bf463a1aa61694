//! The paper: shapes, weights, and one forward pass over one trait of operations.
//!
//! `model` knows the architecture of DeepSeek V4 and nothing else: no text, no files beyond `Gguf`, no kernels. Read
//! [`forward`](mod@forward) first; it is the whole model on one page. [`ops`] says what each operation means, [`kv`] what
//! a session remembers.
//!
//! | module | what |
//! |---|---|
//! | [`shape`], [`weights`] | sizes and tensors, by the paper's names |
//! | [`forward`](mod@forward), `attention` | the forward pass and the draft block |
//! | [`ops`], [`scratch`], [`plan`] | the seam to the backends: operations, intermediates, the rows of a step |
//! | [`backend`] | what a device offers besides: plans, sessions' memory, results |
//! | [`probe`] | any backend, seen operation by operation: dumps, timers, comparisons |
//! | [`kv`], [`row`], [`rope`], [`hadamard`](mod@hadamard) | memory and number formats that all backends share |
//! | [`bind`], [`tensor`] | from a file to weights: checked against [`layout`], all differences in one error |
//! | [`support`] | the drafters' own files: MTP and DSpark |
//! | [`role`], [`recipe`] | what a tensor is for, and how it is stored |
//! | [`inventory`] | what a bound model amounts to: formats, bytes read, bytes kept |
//! | [`synthetic`] | models out of a seed: small ones for tests, full-size ones for benchmarks |

#![forbid(unsafe_code)]

mod attention;
pub mod backend;
pub mod bind;
pub mod forward;
pub mod hadamard;
pub mod inventory;
pub mod kv;
pub mod layout;
mod mismatch;
mod misuse;
pub mod ops;
pub mod plan;
pub mod probe;
mod profile;
pub mod recipe;
pub mod role;
pub mod rope;
pub mod row;
pub mod scratch;
pub mod shape;
pub mod support;
pub mod synthetic;
pub mod tensor;
pub mod weights;

/// The unfused bodies of the groups that a backend may override for some plans only.
pub mod groups {
    pub use crate::attention::attention;
    pub use crate::forward::{enter, feed, pass};
}

pub use backend::{Backend, HostBlock, HostMemory};
pub use inventory::Inventory;
pub use kv::{KvGeometry, Rounding, RowFormat};
pub use mismatch::{BindError, Mismatch};
pub use misuse::Misuse;
pub use ops::{Ops, RowSet, Seen, Site, Stream};
pub use plan::{Outputs, Plan, PlanError, Row, Run};
pub use probe::{Call, Probe, Probed};
pub use recipe::Recipe;
pub use role::Role;
pub use rope::{Frequencies, RopeTable};
pub use row::RowCodec;
pub use scratch::Scratch;
pub use shape::{Profile, Ratio, Rope, Shape};
pub use tensor::Tensor;
pub use weights::Weights;
