//! What callers ask of sessions, answered between two steps.

use ds4_model::kv::PAGE_TOKENS;
use ds4_store::{Chain, Scope};

use super::run::{Run, Stage};
use super::{Entry, Scheduler};
use crate::engine::{Rewind, SessionStatus, Status};
use crate::error::EngineError;
use crate::event::{Gone, SessionId};
use crate::fill::Filler;
use crate::outlet::Outlet;
use crate::pages::Table;
use crate::request::Request;
use crate::timeline::Timeline;

impl Scheduler {
    pub(super) fn open(
        &mut self,
        timeline: Timeline,
        gone: Gone,
    ) -> Result<SessionId, EngineError> {
        if self.sessions.len() >= self.options.sessions {
            timeline.close(&mut self.pages);
            let most = self.options.sessions;
            return Err(EngineError::Sessions { most });
        }
        let id = self.next_id;
        self.next_id += 1;
        let entry = Entry {
            timeline,
            run: None,
            staging: None,
            gone,
            used: self.turn,
        };
        self.sessions.insert(id, entry);
        Ok(id)
    }

    /// A shared session at the deepest place known on the path of `prompt`.
    pub(super) fn resume(
        &mut self,
        scope: Scope,
        prompt: &[u32],
        gone: Gone,
    ) -> Result<(SessionId, u32), EngineError> {
        let chain = Chain::new(scope, PAGE_TOKENS);
        let mut timeline = Timeline::new(self.options.frontiers, Some(chain));
        let (pages, machine) = (&mut self.pages, &mut *self.machine);
        if let Some(start) = self.prefixes.start(&scope, prompt, 0, pages, machine)? {
            timeline.start_at(start, prompt, pages);
        }
        let cached = timeline.computed();
        Ok((self.open(timeline, gone)?, cached))
    }

    /// A session of random rows.
    pub(super) fn fill(
        &mut self,
        tokens: Vec<u32>,
        seed: u64,
        gone: Gone,
    ) -> Result<SessionId, EngineError> {
        let mut filler = Filler::new(self.machine.geometry(), seed);
        let mut bytes = vec![0; filler.page_bytes()];
        let count = tokens.len() as u32;
        let table = self.table_of(count)?;
        let filled = table.pages().iter().try_for_each(|&page| {
            filler.page(&mut bytes);
            self.machine.load_page(page, &bytes)
        });
        if let Err(error) = filled {
            self.pages.close(table);
            return Err(error.into());
        }
        let frontier = filler.frontier(count);
        let timeline = Timeline::restored(tokens, table, frontier, self.options.frontiers);
        self.open(timeline, gone)
    }

    /// Pages of `tokens` tokens, whatever they hold.
    pub(super) fn table_of(&mut self, tokens: u32) -> Result<Table, EngineError> {
        let mut table = Table::default();
        let mut promise = self.promise(&mut table, 0, tokens)?;
        let never = |_, _| Ok::<(), EngineError>(());
        let opened = self.pages.open(&mut table, 0, tokens, &mut promise, never);
        self.pages.release(promise);
        match opened {
            Ok(_) => Ok(table),
            Err(error) => {
                self.pages.close(table);
                Err(error)
            }
        }
    }

    pub(super) fn fork(
        &mut self,
        session: SessionId,
        gone: Gone,
    ) -> Result<SessionId, EngineError> {
        // A session that is being written will have to copy the page that both will see.
        let run = self
            .sessions
            .get_mut(&session)
            .and_then(|entry| entry.run.as_mut());
        if let Some(Stage::Running(promise)) = run.map(|run| &mut run.stage) {
            // Out of the session meanwhile: others may have to make room for it.
            let mut promise = std::mem::take(promise);
            let raised = self.raise(&mut promise, 1);
            let run = self
                .sessions
                .get_mut(&session)
                .and_then(|entry| entry.run.as_mut());
            match run.map(|run| &mut run.stage) {
                Some(Stage::Running(place)) => *place = promise,
                _ => unreachable!("making room ends no generation"),
            }
            raised?;
        }
        let entry = self
            .sessions
            .get_mut(&session)
            .ok_or(EngineError::Stopped)?;
        let fork = entry.timeline.fork(&mut self.pages, &mut *self.machine)?;
        self.open(fork, gone)
    }

    pub(super) fn rewind(&mut self, session: SessionId, to: u32) -> Result<Rewind, EngineError> {
        let entry = self
            .sessions
            .get_mut(&session)
            .ok_or(EngineError::Stopped)?;
        if entry.run.is_some() {
            return Err(EngineError::Generating);
        }
        Ok(entry.timeline.rewind(to, &mut self.pages))
    }

    pub(super) fn enqueue(
        &mut self,
        session: SessionId,
        request: Request,
        outlet: Outlet,
    ) -> Result<(), EngineError> {
        let entry = self
            .sessions
            .get_mut(&session)
            .ok_or(EngineError::Stopped)?;
        if entry.run.is_some() {
            return Err(EngineError::Generating);
        }
        let sizes = (self.limits.vocab, self.options.context);
        let tokenizer = self.tokenizer.clone();
        entry.run = Some(Run::new(self.next_order, request, outlet, sizes, tokenizer));
        self.next_order += 1;
        Ok(())
    }

    pub(super) fn describe(&self, entry: &Entry) -> SessionStatus {
        let timeline = &entry.timeline;
        SessionStatus {
            tokens: timeline.tokens()[..timeline.computed() as usize].to_vec(),
            kept: timeline.frontiers().positions().collect(),
            pages: self.pages.charge(timeline.table()),
            frontier_bytes: timeline.frontiers().bytes(),
            is_generating: entry.run.is_some(),
        }
    }

    pub(super) fn report(&self) -> Status {
        let runs = || {
            self.sessions
                .values()
                .filter_map(|entry| entry.run.as_ref())
        };
        Status {
            sessions: self.sessions.len(),
            running: runs().filter(|run| !run.is_waiting()).count(),
            waiting: runs().filter(|run| run.is_waiting()).count(),
            free_bytes: self.pages.free_bytes(),
            idle_bytes: self.pages.idle_bytes(),
            kept_frontiers: self.prefixes.len(),
            kept_bytes: self.prefixes.frontier_bytes(),
            promised_bytes: self.pages.promised_bytes(),
            total_bytes: self.pages.total_bytes(),
        }
    }
}
