//! Snapshots on their way out, a few pages between two steps.
//!
//! What may change is copied when a snapshot is asked for: the page that is not full and the
//! frontier. Full pages are never written again; they are kept until they are copied, [`AT_ONCE`] in
//! a turn, so a step is never late by more than that, however long the session. When somebody needs
//! the room that kept pages take, the rest is copied at once.

use std::collections::VecDeque;

use ds4_model::kv::PAGE_TOKENS;

use super::Scheduler;
use crate::error::EngineError;
use crate::event::{Reply, SessionId};
use crate::frontier::Reason;
use crate::machine::{Machine, MachineError};
use crate::pages::Pages;
use crate::snapshot::Copied;

/// Pages copied between two steps: one of the large models takes a third of a millisecond.
pub(super) const AT_ONCE: usize = 8;

/// A snapshot of which pages are left to be copied.
pub(super) struct Capture {
    copied: Copied,
    left: VecDeque<u32>,
    reply: Reply<Copied>,
}

impl Scheduler {
    /// Begins a snapshot; the answer comes when all is copied.
    pub(super) fn capture(&mut self, id: SessionId, reply: Reply<Copied>) {
        match self.begin_capture(id) {
            Ok((copied, left)) => {
                self.captures.push_back(Capture {
                    copied,
                    left,
                    reply,
                });
                // A short session's answer need not wait for the next step.
                if self.captures.len() == 1 {
                    self.advance_captures();
                }
            }
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    }

    fn begin_capture(&mut self, id: SessionId) -> Result<(Copied, VecDeque<u32>), EngineError> {
        let entry = self.sessions.get_mut(&id).ok_or(EngineError::Stopped)?;
        let timeline = &mut entry.timeline;
        timeline.keep(Reason::Cut, &mut *self.machine)?;
        let copied = Copied::begin(timeline, &mut *self.machine)?;
        let full = timeline.computed() as usize / PAGE_TOKENS;
        let left: VecDeque<u32> = timeline.table().pages()[..full].iter().copied().collect();
        for &page in &left {
            self.pages.keep(page, PAGE_TOKENS as u32);
        }
        Ok((copied, left))
    }

    /// Copies a few pages. Was there something to copy?
    pub(super) fn advance_captures(&mut self) -> bool {
        self.copy_captured(AT_ONCE)
    }

    /// Copies all that is left, because the pages are wanted.
    pub(super) fn finish_captures(&mut self) {
        while self.copy_captured(usize::MAX) {}
    }

    /// Copies at most `most` pages of the oldest capture, and answers if these were its last.
    fn copy_captured(&mut self, most: usize) -> bool {
        let Some(mut capture) = self.captures.pop_front() else {
            return false;
        };
        match capture.copy(most, &mut self.pages, &mut *self.machine) {
            Ok(()) if !capture.left.is_empty() => self.captures.push_front(capture),
            done => {
                for page in capture.left {
                    self.pages.let_go(page);
                }
                let answer = done.map(|()| capture.copied).map_err(EngineError::from);
                let _ = capture.reply.send(answer);
            }
        }
        true
    }
}

impl Capture {
    fn copy(
        &mut self,
        most: usize,
        pages: &mut Pages,
        machine: &mut dyn Machine,
    ) -> Result<(), MachineError> {
        for page in self.left.drain(..most.min(self.left.len())) {
            let saved = self.copied.append(page, machine);
            pages.let_go(page);
            saved?;
        }
        Ok(())
    }
}
