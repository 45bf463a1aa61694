//! From a device's pages to the tiers below, a little at a time.
//!
//! What is to be written is copied out between two steps, at most [`AT_ONCE`] records each time,
//! and only while the writer has room for it: a step is never late by more than that. Until a page
//! is copied it is kept here, so nobody writes over it.

use std::collections::VecDeque;

use ds4_model::kv::PAGE_TOKENS;
use ds4_store::tree::Kind;
use ds4_store::{Buffer, Head, Name, Put, Shelf};

use crate::machine::{Machine, MachineError};
use crate::pages::Pages;
use crate::rows;
use crate::tiers::{Offer, Tiers};

/// Records copied between two steps: a page of the large models takes a third of a millisecond.
const AT_ONCE: usize = 2;

/// Frontiers that may wait to be copied.
const MOST: usize = 64;

/// A frontier to be written, and the pages before it that are not there yet.
pub(crate) struct Job {
    pub(crate) name: Name,
    pub(crate) root: Name,
    /// Names of the full pages.
    pub(crate) names: Vec<Name>,
    pub(crate) tokens: Vec<u32>,
    /// The full pages; those that are written, or were there, are taken out.
    pub(crate) full: Vec<Option<u32>>,
    /// Pages looked at.
    pub(crate) done: usize,
    pub(crate) open: Option<u32>,
    pub(crate) kind: Kind,
    pub(crate) frontier: Buffer,
}

pub(crate) struct Saver {
    tiers: Tiers,
    jobs: VecDeque<Job>,
    /// A record that a tier had no room for in its queue.
    waiting: Option<Offer>,
}

impl Saver {
    pub(crate) fn new(tiers: Tiers) -> Self {
        Self {
            tiers,
            jobs: VecDeque::new(),
            waiting: None,
        }
    }

    /// Takes a job on, if it is not done and not hopeless.
    pub(crate) fn add(&mut self, mut job: Job, page_bytes: u64, pages: &mut Pages) {
        let is_hopeless = job.full.len() as u64 * page_bytes > self.tiers.bytes;
        let is_queued = self.jobs.iter().any(|other| other.name == job.name);
        if is_hopeless || is_queued || self.tiers.have(Shelf::Frontiers, job.name) {
            return;
        }
        for (page, &name) in job.full.iter_mut().zip(&job.names) {
            if self.tiers.have(Shelf::Pages, name) {
                *page = None;
            }
        }
        for page in job.full.iter().flatten() {
            pages.keep(*page, PAGE_TOKENS as u32);
        }
        if let Some(open) = job.open {
            pages.keep(open, job.rest() as u32);
        }
        self.jobs.push_back(job);
        if self.jobs.len() > MOST {
            self.give_up_one(pages);
        }
    }

    /// This frontier was replaced: it need not be written any more.
    pub(crate) fn cancel(&mut self, name: Name, pages: &mut Pages) {
        if let Some(at) = self.jobs.iter().position(|job| job.name == name)
            && let Some(job) = self.jobs.remove(at)
        {
            job.release(pages);
        }
    }

    /// Gives up the oldest job, whose pages are wanted. Was there one?
    pub(crate) fn give_up_one(&mut self, pages: &mut Pages) -> bool {
        let job = self.jobs.pop_front();
        let found = job.is_some();
        job.into_iter().for_each(|job| job.release(pages));
        found
    }

    /// Copies a few records. Could more be copied at once?
    pub(crate) fn pump(&mut self, pages: &mut Pages, machine: &mut dyn Machine) -> bool {
        for _ in 0..AT_ONCE {
            if !self.hand_over() {
                return false;
            }
            let Some(job) = self.jobs.front_mut() else {
                return false;
            };
            match job.next(&self.tiers, pages, machine) {
                Ok(Some(put)) => self.waiting = Some(self.tiers.offer_of(put)),
                Ok(None) => {
                    self.jobs.pop_front();
                }
                // The device failed; the next step says so. What was copied is sound.
                Err(_) => {
                    self.give_up_one(pages);
                }
            }
        }
        self.hand_over() && !self.jobs.is_empty()
    }

    /// Copies and writes everything that outlives this process.
    pub(crate) fn drain(&mut self, pages: &mut Pages, machine: &mut dyn Machine) {
        if self.tiers.disk.is_none() {
            return;
        }
        while self.waiting.is_some() || !self.jobs.is_empty() {
            if !self.pump(pages, machine) {
                self.tiers.flush();
            }
        }
        self.tiers.flush();
    }

    /// Hands over what waits; false if the writer is behind.
    fn hand_over(&mut self) -> bool {
        if let Some(offer) = self.waiting.take() {
            self.waiting = self.tiers.hand_over(offer);
        }
        self.waiting.is_none()
    }
}

impl Job {
    /// Tokens since the last full page.
    fn rest(&self) -> usize {
        self.tokens.len() % PAGE_TOKENS
    }

    /// The next record that is not there; none after the last.
    fn next(
        &mut self,
        tiers: &Tiers,
        pages: &mut Pages,
        machine: &mut dyn Machine,
    ) -> Result<Option<Box<Put>>, MachineError> {
        while self.done < self.full.len() {
            let at = self.done;
            self.done += 1;
            let Some(page) = self.full[at].take() else {
                continue;
            };
            // Another conversation may have written it meanwhile.
            let put = match tiers.have(Shelf::Pages, self.names[at]) {
                true => Ok(None),
                false => self.page(at, page, tiers, machine).map(Some),
            };
            pages.let_go(page);
            if let Some(put) = put? {
                return Ok(Some(put));
            }
        }
        if self.done > self.full.len() {
            return Ok(None);
        }
        self.done += 1;
        let put = self.last(tiers, machine);
        if let Some(page) = self.open.take() {
            pages.let_go(page);
        }
        put.map(Some)
    }

    fn page(
        &self,
        at: usize,
        page: u32,
        tiers: &Tiers,
        machine: &mut dyn Machine,
    ) -> Result<Box<Put>, MachineError> {
        let mut state = tiers.pool.take(machine.geometry().page_bytes);
        machine.save_page(page, &mut state)?;
        let state = state.share();
        let end = (at + 1) * PAGE_TOKENS;
        let head = Head {
            kind: None,
            identity: tiers.identity,
            root: self.root,
            before: self.before(at),
            name: self.names[at],
            at: end as u32,
            tokens: self.tokens[at * PAGE_TOKENS..end].into(),
            state: state.len() as u64,
            open: 0,
        };
        let open = Vec::new().into();
        Ok(Box::new(Put { head, state, open }))
    }

    /// The record of the frontier itself.
    fn last(&self, tiers: &Tiers, machine: &mut dyn Machine) -> Result<Box<Put>, MachineError> {
        let open = match self.open {
            Some(page) => {
                let mut bytes = tiers.pool.take(machine.geometry().page_bytes);
                machine.save_page(page, &mut bytes)?;
                rows::pack(machine.geometry(), self.rest(), &bytes)
            }
            None => Vec::new(),
        };
        let full = self.names.len();
        let head = Head {
            kind: Some(self.kind),
            identity: tiers.identity,
            root: self.root,
            before: self.before(full),
            name: self.name,
            at: self.tokens.len() as u32,
            tokens: self.tokens[full * PAGE_TOKENS..].into(),
            state: self.frontier.len() as u64,
            open: open.len() as u64,
        };
        let (state, open) = (self.frontier.clone(), open.into());
        Ok(Box::new(Put { head, state, open }))
    }

    /// What stands before page `at`.
    fn before(&self, at: usize) -> Name {
        at.checked_sub(1).map_or(self.root, |at| self.names[at])
    }

    fn release(self, pages: &mut Pages) {
        for page in self.full.into_iter().flatten().chain(self.open) {
            pages.let_go(page);
        }
    }
}
