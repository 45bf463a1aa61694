//! Engine, sessions, sampling and the step scheduler: the only crate front ends import.
//!
//! An [`Engine`] is a loaded model and the thread that runs it; a [`Session`] is one timeline of
//! tokens on it; a [`Generation`] is a stream of what the model says next. Tokens go in,
//! [`Output`]s come out; nobody above sees a tensor.
//!
//! | module | what |
//! |---|---|
//! | [`engine`], [`request`], [`generation`] | handles, what is asked for, what comes back |
//! | `scheduler` | the engine thread: one loop over one list of events, one step at a time |
//! | `timeline`, [`frontier`] | one session: tokens, how many are computed, ways back |
//! | [`pages`] | who owns which page; admission |
//! | `prefixes` | what is computed already, kept for sessions to come |
//! | `saver`, `restoring`, `rows` | from there to the disk tier and back |
//! | [`snapshot`] | a session as bytes |
//! | [`sampling`] | from logits to a token |
//! | [`machine`], [`load`] | a model on a device, behind one object-safe trait |
//! | `trial` | a card against the CPU |
//!
//! There is no `async` here, no JSON and no HTTP.

#![forbid(unsafe_code)]

pub mod engine;
pub mod error;
mod event;
mod fill;
pub mod frontier;
pub mod generation;
pub mod load;
pub mod machine;
mod outlet;
pub mod pages;
mod prefixes;
pub mod request;
mod restoring;
mod rows;
pub mod sampling;
mod saver;
mod scheduler;
pub mod snapshot;
mod tiers;
mod timeline;
mod trial;

pub use ds4_cpu::dot::Simd;
pub use ds4_cpu::{Arithmetic, Options as CpuOptions, few_arenas, selftest};
pub use ds4_model::kv::PAGE_TOKENS;
pub use ds4_store::{Report as StoreReport, Tenant};
pub use engine::{Engine, Options, Rewind, Session, SessionStatus, Status, Store};
pub use error::{EngineError, RequestError};
pub use generation::{
    Canceller, Finish, FinishReason, Generation, Output, Progress, Score, Token, Usage,
};
pub use load::{
    Card, CardError, CardRoom, CudaArithmetic, CudaOptions, LoadError, load_cpu, load_cuda,
};
pub use machine::{Identity, Limits, Loaded, Machine, MachineError};
pub use pages::Admission;
pub use request::{Grammar, Request, Scoring, Structure, end_of_turn};
pub use sampling::{Sampling, SamplingFields};
pub use snapshot::SnapshotError;
pub use trial::{CardFinding, TrialError, try_card};
