//! Pages that come from the disk tier, put into the device between two steps.
//!
//! They are gathered in a table beside the session's own; when the frontier is there as well, the
//! session moves. Whatever goes wrong before that, it stands where it stood.

use ds4_model::kv::PAGE_TOKENS;
use ds4_store::{Body, Name};

use super::Scheduler;
use crate::error::EngineError;
use crate::event::SessionId;
use crate::frontier::Reason;
use crate::pages::Promise;
use crate::prefixes::Start;
use crate::rows;

impl Scheduler {
    /// Begins with the pages of this path that are resident; how many those are.
    pub(super) fn stage(&mut self, id: SessionId, names: &[Name]) -> Result<usize, EngineError> {
        self.unstage(id);
        let resident = self.prefixes.resident(names);
        let count = resident.len();
        let table = self.pages.share(resident);
        match self.sessions.get_mut(&id) {
            Some(entry) if entry.run.is_none() => {
                entry.staging = Some(table);
                Ok(count)
            }
            Some(_) => {
                self.pages.close(table);
                Err(EngineError::Generating)
            }
            None => {
                self.pages.close(table);
                Err(EngineError::Stopped)
            }
        }
    }

    /// One more page.
    pub(super) fn load_page(&mut self, id: SessionId, bytes: &[u8]) -> Result<(), EngineError> {
        self.prefixes.make_room(&mut self.pages, 1);
        let entry = self.sessions.get_mut(&id).ok_or(EngineError::Stopped)?;
        let table = entry.staging.as_mut().ok_or(EngineError::Generating)?;
        let from = (table.pages().len() * PAGE_TOKENS) as u32;
        let mut none = Promise::default();
        let never = |_, _| Ok::<(), EngineError>(());
        self.pages.open(table, from, from + 1, &mut none, never)?;
        let page = table.pages().last().copied().ok_or(EngineError::Stopped)?;
        Ok(self.machine.load_page(page, bytes)?)
    }

    /// The frontier: the session moves to it.
    pub(super) fn arrive(
        &mut self,
        id: SessionId,
        tokens: &[u32],
        body: Body,
    ) -> Result<(), EngineError> {
        let rest = tokens.len() % PAGE_TOKENS;
        if rest > 0 {
            let page = rows::unpack(self.machine.geometry(), rest, &body.open);
            self.load_page(id, &page)?;
        }
        let entry = self.sessions.get_mut(&id).ok_or(EngineError::Stopped)?;
        let table = entry.staging.take().ok_or(EngineError::Generating)?;
        debug_assert_eq!(table.pages().len(), tokens.len().div_ceil(PAGE_TOKENS));
        let start = Start {
            at: tokens.len() as u32,
            table,
            frontier: body.state,
        };
        let (timeline, pages) = (&mut entry.timeline, &mut self.pages);
        timeline.start_at(start, tokens, pages);
        self.prefixes.publish(timeline, Reason::Turn, pages);
        Ok(())
    }

    /// It will not arrive.
    pub(super) fn unstage(&mut self, id: SessionId) {
        let entry = self.sessions.get_mut(&id);
        if let Some(table) = entry.and_then(|entry| entry.staging.take()) {
            self.pages.close(table);
        }
    }
}
