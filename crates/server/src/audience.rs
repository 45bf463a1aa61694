//! Who hears the events of an answer: the client of a stream, or nobody.

use std::io;
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

/// Where events go while an answer grows.
pub(crate) trait Audience {
    /// Whether anybody still listens.
    async fn hear(&mut self, events: String) -> bool;
    /// Returns when nobody does.
    async fn left(&self);
}

/// Nobody listens while a whole reply grows; the connection drops the request when the client goes.
pub(crate) struct Nobody;

impl Audience for Nobody {
    async fn hear(&mut self, _: String) -> bool {
        true
    }

    async fn left(&self) {
        std::future::pending::<()>().await;
    }
}

/// The client of a stream.
pub(crate) struct Listener {
    pub(crate) sender: Sender<io::Result<Bytes>>,
    /// How long it may take nothing.
    pub(crate) stall: Duration,
}

impl Drop for Listener {
    /// A stream whose task failed breaks off; it does not end as if all had been said.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self
                .sender
                .try_send(Err(io::Error::other("the server failed")));
        }
    }
}

impl Audience for Listener {
    async fn hear(&mut self, events: String) -> bool {
        if events.is_empty() {
            return true;
        }
        let sent = timeout(self.stall, self.sender.send(Ok(Bytes::from(events))));
        matches!(sent.await, Ok(Ok(())))
    }

    async fn left(&self) {
        self.sender.closed().await;
    }
}
