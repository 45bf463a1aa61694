//! What can go wrong between a front end and the engine.

use thiserror::Error;

use crate::machine::MachineError;
use crate::pages::Admission;
use crate::sampling::SampleError;
use crate::snapshot::SnapshotError;

/// Why the engine refused something.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The command queue is full. Nothing was done; try again later.
    #[error("the engine is busy: {waiting} commands are waiting")]
    Busy {
        /// Length of the queue.
        waiting: usize,
    },
    /// The engine was shut down.
    #[error("the engine has stopped")]
    Stopped,
    /// Too many sessions.
    #[error("{most} sessions are open, and that is the most; close one, or allow more")]
    Sessions {
        /// The bound.
        most: usize,
    },
    /// A session does one thing at a time.
    #[error("the session is generating; wait for the end, or cancel it")]
    Generating,
    /// A request that no session can serve.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Not enough memory.
    #[error(transparent)]
    Admission(#[from] Admission),
    /// A snapshot that is not of this model, or damaged.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// No token to choose.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The device failed.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The directory for KV cannot be used.
    #[error(transparent)]
    Store(#[from] ds4_store::disk::OpenError),
    /// Options that do not hold together.
    #[error("{field} is {value}; it must be {expected}")]
    Options {
        /// The option.
        field: &'static str,
        /// Its value.
        value: usize,
        /// What it may be.
        expected: String,
    },
}

/// A request that no session can serve.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RequestError {
    /// Nothing to continue.
    #[error("the prompt is empty")]
    Empty,
    /// A token that the vocabulary does not have.
    #[error("the prompt holds token {token} at {at}; the vocabulary has {vocab}")]
    Token {
        /// The token.
        token: u32,
        /// Its place in the prompt.
        at: usize,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// The prompt leaves no room for one token.
    #[error("the prompt has {prompt} tokens; a context of {context} leaves no room for an answer")]
    Context {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens of a context.
        context: usize,
    },
    /// Pieces were asked for and there is no vocabulary to read tokens with.
    #[error("text was asked for, but the model was loaded without a tokenizer")]
    NoTokenizer,
    /// Logits of one token, where text is scored, cannot also be sampled from.
    #[error("a grammar cannot be combined with scoring the prompt")]
    GrammarWhileScoring,
}
