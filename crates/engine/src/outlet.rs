//! The engine's end of a generation's stream.
//!
//! The stream is bounded. A receiver that does not keep up pauses its own generation and nobody
//! else's: what does not fit waits here, and no row of that session is computed until it is gone. A
//! receiver that went away ends it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use crate::generation::Message;

/// Messages on their way before a generation pauses.
const AHEAD: usize = 64;

/// What both ends of a stream tell each other besides messages.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// The receiver wants no more.
    pub(crate) cancel: AtomicBool,
    /// The engine waits for the receiver to take something, and wants to be woken.
    pub(crate) paused: AtomicBool,
}

/// How a stream is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// All is sent.
    Open,
    /// The receiver is behind.
    Paused,
    /// The receiver is gone.
    Closed,
}

#[derive(Debug)]
pub(crate) struct Outlet {
    sender: SyncSender<Message>,
    signals: Arc<Signals>,
    behind: VecDeque<Message>,
    closed: bool,
}

impl Outlet {
    pub(crate) fn new() -> (Self, Receiver<Message>, Arc<Signals>) {
        let (sender, receiver) = sync_channel(AHEAD);
        let signals = Arc::<Signals>::default();
        let outlet = Self {
            sender,
            signals: Arc::clone(&signals),
            behind: VecDeque::with_capacity(2),
            closed: false,
        };
        (outlet, receiver, signals)
    }

    /// Sends, or keeps for later. Never blocks.
    pub(crate) fn send(&mut self, message: Message) {
        self.behind.push_back(message);
        self.flush();
    }

    /// Sends what waits.
    pub(crate) fn flush(&mut self) -> Flow {
        // A second look after announcing the pause: the receiver may have emptied the stream in
        // between, and then nobody would wake us.
        let _ = self.push_all() || {
            self.signals.paused.store(true, Release);
            self.push_all()
        };
        match (self.closed, self.behind.is_empty()) {
            (true, _) => Flow::Closed,
            (false, true) => Flow::Open,
            (false, false) => Flow::Paused,
        }
    }

    /// Does the receiver want no more?
    pub(crate) fn is_cancelled(&self) -> bool {
        self.closed || self.signals.cancel.load(Acquire)
    }

    /// Is there nothing waiting?
    pub(crate) fn is_open(&self) -> bool {
        self.behind.is_empty()
    }

    /// Sends as much as fits; says whether that was all.
    fn push_all(&mut self) -> bool {
        while let Some(message) = self.behind.pop_front() {
            match self.sender.try_send(message) {
                Ok(()) => {}
                Err(TrySendError::Full(message)) => {
                    self.behind.push_front(message);
                    return false;
                }
                Err(TrySendError::Disconnected(_)) => {
                    self.closed = true;
                    self.behind.clear();
                }
            }
        }
        true
    }
}
