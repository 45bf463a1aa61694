//! How handles reach the engine thread.

use std::sync::mpsc::{TrySendError, sync_channel};

use super::Engine;
use crate::error::EngineError;
use crate::event::{Event, Reply};

impl Engine {
    /// Puts an event into the queue, waiting for room.
    pub(crate) fn send(&self, event: Event) -> Result<(), EngineError> {
        let sent = self.0.commands.send(event);
        sent.map_err(|_| EngineError::Stopped)
    }

    /// Makes the engine thread look at its flags. A full queue means that it is about to.
    pub(crate) fn wake(&self) {
        let _ = self.0.commands.try_send(Event::Wake);
    }

    /// Asks the engine thread something, if its queue has room, and waits for the answer.
    pub(super) fn call<T>(&self, event: impl FnOnce(Reply<T>) -> Event) -> Result<T, EngineError> {
        let (reply, answer) = sync_channel(1);
        self.0
            .commands
            .try_send(event(reply))
            .map_err(|error| match error {
                TrySendError::Full(_) => EngineError::Busy {
                    waiting: self.0.options.queue,
                },
                TrySendError::Disconnected(_) => EngineError::Stopped,
            })?;
        answer.recv().unwrap_or(Err(EngineError::Stopped))
    }
}
