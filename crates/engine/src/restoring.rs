//! From the tiers below to a device, on the thread of whoever wants it.
//!
//! Pages are read and checked by a few threads at a time and handed to the engine thread one by
//! one, which puts them into the device between two steps; the other sessions go on meanwhile.
//! What is resident is not read.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use ds4_model::kv::{KvGeometry, PAGE_TOKENS};
use ds4_store::{Body, Head, ReadError, Scope, Shelf, Stored};

use crate::engine::Engine;
use crate::error::EngineError;
use crate::event::{Event, Reply, SessionId};
use crate::rows;
use crate::tiers::Tiers;

/// Threads that read and check pages: a core hashes slower than a medium reads.
const READERS: usize = 8;

/// Pages on their way to the engine thread.
const AHEAD: usize = 32;

/// The tiers and what their records have to look like.
#[derive(Clone)]
pub(crate) struct Restorer {
    pub(crate) tiers: Tiers,
    pub(crate) geometry: KvGeometry,
}

/// Why a session was not restored.
enum Stop {
    /// A record is not what it should be. The store knows.
    Refused,
    /// The engine has no room, or is gone.
    Engine,
}

impl From<ReadError> for Stop {
    fn from(_: ReadError) -> Self {
        Self::Refused
    }
}

impl From<EngineError> for Stop {
    fn from(_: EngineError) -> Self {
        Self::Engine
    }
}

impl Restorer {
    /// Brings a session to the deepest stored place on the path of `prompt`, if that is deeper than
    /// `cached`. Where it stands then.
    pub(crate) fn restore(
        &self,
        engine: &Engine,
        session: SessionId,
        scope: &Scope,
        prompt: &[u32],
        cached: u32,
    ) -> u32 {
        // At least one token must be computed, for its logits.
        let known = prompt.split_last().map_or(prompt, |(_, known)| known);
        loop {
            let found = self.tiers.find(scope, known);
            let Some(found) = found.filter(|found| found.at > cached as usize) else {
                return cached;
            };
            let pin = self.tiers.pin(found.frontier);
            let brought = self.bring(engine, session, scope, known, &found);
            drop(pin);
            match brought {
                Ok(()) => {
                    self.tiers.touch(found.frontier);
                    return found.at as u32;
                }
                Err(stop) => {
                    let _ = engine.ask(|reply| Event::Unstage { session, reply });
                    // What was refused is forgotten at once, so there is another to be tried.
                    let is_known = self
                        .tiers
                        .find(scope, known)
                        .is_some_and(|next| next == found);
                    if matches!(stop, Stop::Engine) || is_known {
                        return cached;
                    }
                }
            }
        }
    }

    fn bring(
        &self,
        engine: &Engine,
        session: SessionId,
        scope: &Scope,
        tokens: &[u32],
        found: &Stored,
    ) -> Result<(), Stop> {
        // The frontier first: it is what another conversation, or another process, may replace.
        let name = found.frontier;
        let (head, last) = self.tiers.read(Shelf::Frontiers, name, scope)?;
        let sizes = (
            self.geometry.frontier_bytes(found.at),
            rows::open_bytes(&self.geometry, found.at % PAGE_TOKENS),
        );
        if (last.state.len(), last.open.len()) != sizes {
            self.tiers.discard(Shelf::Frontiers, name);
            return Err(Stop::Refused);
        }
        let names = found.pages.clone();
        let resident = engine.ask(|reply| Event::Stage {
            session,
            names,
            reply,
        })?;
        let missing = found.pages.get(resident..).unwrap_or_default();
        thread::scope(|threads| {
            let readers = readers().min(missing.len());
            let read: Vec<Receiver<Read>> = (0..readers)
                .map(|first| {
                    let (send, receive) = sync_channel(2);
                    threads.spawn(move || {
                        for &name in missing.iter().skip(first).step_by(readers) {
                            let read = self.tiers.read(Shelf::Pages, name, scope);
                            if send.send(read).is_err() {
                                // Nobody wants the rest.
                                return;
                            }
                        }
                    });
                    receive
                })
                .collect();
            let mut answers = VecDeque::new();
            for (at, &name) in missing.iter().enumerate() {
                let (head, page) = read[at % readers].recv().map_err(|_| Stop::Engine)??;
                if page.state.len() != self.geometry.page_bytes {
                    self.tiers.discard(Shelf::Pages, name);
                    return Err(Stop::Refused);
                }
                self.tiers.keep(head, &page);
                answers.push_back(engine.tell(|reply| Event::LoadPage {
                    session,
                    page: page.state,
                    reply,
                })?);
                if answers.len() > AHEAD {
                    wait(answers.pop_front())?;
                }
            }
            for answer in answers {
                wait(Some(answer))?;
            }
            Ok::<_, Stop>(())
        })?;
        self.tiers.keep(head, &last);
        let tokens = tokens[..found.at].to_vec();
        engine.ask(|reply| Event::Arrive {
            session,
            tokens,
            body: last,
            reply,
        })?;
        Ok(())
    }
}

/// As many threads as there are cores for, one of which the engine's thread needs.
fn readers() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores - 1).clamp(1, READERS)
}

/// What a reader has to say of a record.
type Read = Result<(Option<Head>, Body), ReadError>;

type Answer = Receiver<Result<(), EngineError>>;

fn wait(answer: Option<Answer>) -> Result<(), EngineError> {
    match answer {
        Some(answer) => answer.recv().unwrap_or(Err(EngineError::Stopped)),
        None => Ok(()),
    }
}

impl Engine {
    /// Tells the engine thread something, waiting for room in the queue; where the answer will be.
    fn tell<T>(
        &self,
        event: impl FnOnce(Reply<T>) -> Event,
    ) -> Result<Receiver<Result<T, EngineError>>, EngineError> {
        let (reply, answer) = sync_channel(1);
        self.send(event(reply))?;
        Ok(answer)
    }

    /// The same, and waits for the answer.
    fn ask<T>(&self, event: impl FnOnce(Reply<T>) -> Event) -> Result<T, EngineError> {
        let answer = self.tell(event)?;
        answer.recv().unwrap_or(Err(EngineError::Stopped))
    }
}
