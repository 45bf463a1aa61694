//! Everything that can happen to the engine thread, but for the passing of steps.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::SyncSender;

use ds4_store::{Body, Buffer, Name, Scope};

use crate::engine::{Rewind, SessionStatus, Status};
use crate::error::EngineError;
use crate::outlet::Outlet;
use crate::request::Request;
use crate::snapshot::{Copied, Parts};

/// Where an answer goes. It has room for the one answer, so answering never blocks.
pub(crate) type Reply<T> = SyncSender<Result<T, EngineError>>;

/// Number of a session.
pub(crate) type SessionId = u64;

/// Set by a session's handle when it is dropped.
pub(crate) type Gone = Arc<AtomicBool>;

pub(crate) enum Event {
    /// A new, empty session.
    Open { gone: Gone, reply: Reply<SessionId> },
    /// A session that goes on from the deepest place known on the path of a prompt: its number, and
    /// how many tokens that saved.
    Resume {
        scope: Scope,
        prompt: Vec<u32>,
        gone: Gone,
        reply: Reply<(SessionId, u32)>,
    },
    /// Pages of this path are about to come from the disk tier: how many are here already.
    Stage {
        session: SessionId,
        names: Vec<Name>,
        reply: Reply<usize>,
    },
    /// The next of them.
    LoadPage {
        session: SessionId,
        page: Buffer,
        reply: Reply<()>,
    },
    /// The frontier after them: the session goes on from there.
    Arrive {
        session: SessionId,
        tokens: Vec<u32>,
        body: Body,
        reply: Reply<()>,
    },
    /// They will not come.
    Unstage {
        session: SessionId,
        reply: Reply<()>,
    },
    /// A session out of a snapshot.
    Restore {
        parts: Box<Parts>,
        gone: Gone,
        reply: Reply<SessionId>,
    },
    /// A session of random rows after these tokens.
    Fill {
        tokens: Vec<u32>,
        seed: u64,
        gone: Gone,
        reply: Reply<SessionId>,
    },
    /// A second session that goes on from what is computed of this one.
    Fork {
        session: SessionId,
        gone: Gone,
        reply: Reply<SessionId>,
    },
    /// Back to an earlier position.
    Rewind {
        session: SessionId,
        to: u32,
        reply: Reply<Rewind>,
    },
    /// What is computed, copied in the course of several turns.
    Snapshot {
        session: SessionId,
        reply: Reply<Copied>,
    },
    /// A generation joins the line.
    Generate {
        session: SessionId,
        request: Box<Request>,
        outlet: Outlet,
        reply: Reply<()>,
    },
    /// How a session is doing.
    Describe {
        session: SessionId,
        reply: Reply<SessionStatus>,
    },
    /// How the engine is doing.
    Report { reply: Reply<Status> },
    /// A flag somewhere changed: look again.
    Wake,
}
