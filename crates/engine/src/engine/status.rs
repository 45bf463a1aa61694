//! What engines and sessions say of themselves.

use crate::pages::Charge;

/// How an engine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Open sessions.
    pub sessions: usize,
    /// Generations under way.
    pub running: usize,
    /// Generations in line.
    pub waiting: usize,
    /// Bytes of KV pages that no session holds and nobody was promised.
    pub free_bytes: u64,
    /// Those of them that are kept for sessions to come, until somebody needs the room.
    pub idle_bytes: u64,
    /// Frontiers kept for sessions to come.
    pub kept_frontiers: usize,
    /// Their bytes, with their open pages.
    pub kept_bytes: u64,
    /// Bytes promised to generations under way and not used yet.
    pub promised_bytes: u64,
    /// Bytes of all KV pages.
    pub total_bytes: u64,
}

/// How a session is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionStatus {
    /// The tokens that are computed.
    pub tokens: Vec<u32>,
    /// Positions it can go back to without computing anything, ascending, besides 0 and where it
    /// is.
    pub kept: Vec<u32>,
    /// Pages it holds.
    pub pages: Charge,
    /// Bytes of its kept frontiers.
    pub frontier_bytes: u64,
    /// Is a generation under way or in line?
    pub is_generating: bool,
}

/// Where a rewind led.
#[must_use = "after a short rewind some tokens have to be computed again"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewind {
    /// To where it was wanted.
    Exact {
        /// The position.
        at: u32,
    },
    /// To the deepest kept frontier before that. The tokens in between are computed again by the
    /// next prompt.
    Short {
        /// The position.
        at: u32,
        /// The position wanted.
        wanted: u32,
    },
}
