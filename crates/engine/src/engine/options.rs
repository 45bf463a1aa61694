//! How an engine is set up.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::EngineError;
use crate::machine::Limits;

/// How an engine behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most tokens of a session, prompt and answer together.
    pub context: usize,
    /// Most sessions, idle ones included.
    pub sessions: usize,
    /// Commands that may wait.
    pub queue: usize,
    /// How long a step may take while somebody waits for a next token: bounds how much of a prompt
    /// it holds.
    pub between_tokens: Duration,
    /// How long a step may take otherwise: bounds how long a cancellation takes.
    pub longest_step: Duration,
    /// Most frontiers a session keeps, 4 to 6 MB each for the large models.
    pub frontiers: usize,
    /// Tokens after which one is kept, whatever happens; an eighth of those before, where that is
    /// more.
    pub frontier_tokens: u32,
    /// Most bytes of frontiers kept for sessions to come; see [`Engine::resume`](crate::Engine::resume). Their pages take
    /// what no session needs.
    pub kept_bytes: u64,
    /// Most bytes of pages and frontiers kept in memory of the host when the device has no room for
    /// them; nothing where the device has no other memory.
    pub host_bytes: u64,
    /// Where they are kept when the process is gone, if anywhere.
    pub store: Option<Store>,
}

/// A directory for pages and frontiers that outlive the process. Several processes, and several
/// models, may share one. `docs/formats/kv-store.md` says what lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The directory; made if it is not there, for its owner alone.
    pub dir: PathBuf,
    /// Most bytes in it. What saves the least prefill per byte lately goes first.
    pub bytes: u64,
    /// Bytes of the medium that are left free.
    pub free: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            context: 1 << 15,
            sessions: 64,
            queue: 256,
            between_tokens: Duration::from_millis(200),
            longest_step: Duration::from_secs(1),
            frontiers: 16,
            frontier_tokens: 4096,
            kept_bytes: 1 << 30,
            host_bytes: 0,
            store: None,
        }
    }
}

impl Options {
    /// Whether they go with the machine.
    pub(super) fn check(&self, limits: Limits) -> Result<(), EngineError> {
        let refuse = |field, value, expected| {
            Err(EngineError::Options {
                field,
                value,
                expected,
            })
        };
        if !(2..=limits.context).contains(&self.context) {
            let expected = format!("2 to {}, the model's longest context", limits.context);
            return refuse("context", self.context, expected);
        }
        if self.sessions == 0 {
            return refuse("sessions", 0, "at least 1".into());
        }
        if self.queue == 0 {
            return refuse("queue", 0, "at least 1".into());
        }
        // Every slot may decode at once, and a prompt wants a row besides.
        let most = limits.max_outputs.min(limits.max_rows);
        if limits.slots == 0 || limits.slots > most {
            let expected = format!("1 to {most}, the rows with logits of a step");
            return refuse("slots", limits.slots, expected);
        }
        Ok(())
    }
}
