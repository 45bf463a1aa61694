//! The handle of one session.

use std::sync::atomic::Ordering::Release;

use ds4_prompt::dsml::Reader;

use super::{Engine, Rewind, SessionStatus};
use crate::error::{EngineError, RequestError};
use crate::event::{Event, Gone, SessionId};
use crate::generation::Generation;
use crate::outlet::Outlet;
use crate::request::{Request, Scoring};

/// One timeline of tokens. Dropping it gives its memory back, or leaves it to others.
#[derive(Debug)]
pub struct Session {
    pub(super) engine: Engine,
    pub(super) id: SessionId,
    pub(super) gone: Gone,
    pub(super) cached: u32,
}

impl Session {
    /// The engine it runs on.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Tokens that were computed already when [`Engine::resume`] made it.
    pub fn cached(&self) -> u32 {
        self.cached
    }

    /// Begins a generation: computes what is new of the prompt, then samples. What the session has
    /// computed beyond the tokens it shares with the prompt is forgotten.
    ///
    /// # Errors
    /// If the request cannot be served, the session is at work, or the engine busy. Whether there
    /// is memory for it is known when it is its turn: then the stream ends with an error.
    pub fn generate(&self, request: Request) -> Result<Generation, EngineError> {
        self.check(&request)?;
        let reader = request.reading.as_ref().map(Reader::new);
        let (outlet, messages, signals) = Outlet::new();
        self.engine.call(|reply| Event::Generate {
            session: self.id,
            request: Box::new(request),
            outlet,
            reply,
        })?;
        let engine = self.engine.clone();
        Ok(Generation::new(messages, signals, engine, reader))
    }

    /// Goes back to position `to`, or to the deepest kept frontier before it: at cuts of the
    /// prompt, ends of turns, and every so many tokens. Where it is now and the beginning are
    /// always possible.
    ///
    /// # Errors
    /// If the session is at work, or the engine busy.
    pub fn rewind(&self, to: u32) -> Result<Rewind, EngineError> {
        self.engine.call(|reply| Event::Rewind {
            session: self.id,
            to,
            reply,
        })
    }

    /// A second session that goes on from what is computed of this one. Both see the same pages;
    /// only the open one will be copied.
    ///
    /// # Errors
    /// If there are too many sessions, no page for the copy, or the engine is busy.
    pub fn fork(&self) -> Result<Self, EngineError> {
        self.engine.open(|gone, reply| Event::Fork {
            session: self.id,
            gone,
            reply,
        })
    }

    /// What is computed, as bytes that [`Engine::restore`] takes. Others go on meanwhile: a few pages
    /// are copied between two steps.
    ///
    /// # Errors
    /// If the engine is busy, or the device failed.
    pub fn snapshot(&self) -> Result<Vec<u8>, EngineError> {
        let copied = self.engine.call(|reply| Event::Snapshot {
            session: self.id,
            reply,
        })?;
        Ok(copied.seal())
    }

    /// How the session is doing.
    ///
    /// # Errors
    /// If the engine is busy.
    pub fn status(&self) -> Result<SessionStatus, EngineError> {
        self.engine.call(|reply| Event::Describe {
            session: self.id,
            reply,
        })
    }

    fn check(&self, request: &Request) -> Result<(), RequestError> {
        self.engine
            .check_prompt(&request.prompt, request.max_tokens > 0)?;
        if request.reading.is_some() && self.engine.tokenizer().is_none() {
            return Err(RequestError::NoTokenizer);
        }
        if request.grammar.is_some() && request.scoring != Scoring::Off {
            return Err(RequestError::GrammarWhileScoring);
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.gone.store(true, Release);
        self.engine.wake();
    }
}
