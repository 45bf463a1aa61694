//! One step: choosing its rows, computing them, handing out the logits.

use std::time::Instant;

use ds4_model::Outputs;

use super::run::{Run, Stage};
use super::{Entry, Scheduler};
use crate::error::EngineError;
use crate::event::SessionId;
use crate::frontier::Reason;
use crate::generation::FinishReason;
use crate::machine::MachineError;

/// Frontiers kept for their distance are this part of what is before them apart, where that is more
/// than the distance asked for: what is lost behind the last one stays in proportion, and a million
/// tokens leave some forty instead of 256.
const SPARSE: u32 = 8;

/// A session's rows in the step being made.
pub(super) struct Pick {
    pub(super) session: SessionId,
    pub(super) rows: u32,
    pub(super) outputs: Outputs,
    pub(super) end: Option<FinishReason>,
}

impl Scheduler {
    /// Makes and runs one step. Was there anything to compute?
    pub(super) fn step(&mut self) -> bool {
        let (decoding, prefilling) = self.choose();
        self.plan.clear();
        for index in 0..self.picks.len() {
            if let Err(error) = self.plan_rows(index) {
                self.picks[index].end = Some(FinishReason::Error(error));
            }
        }
        let begun = Instant::now();
        if !self.plan.is_empty() {
            match self.machine.step(&self.plan) {
                Ok(logits) => {
                    let vocab = self.limits.vocab;
                    let (picks, sessions) = (&mut self.picks, &mut self.sessions);
                    self.delivery
                        .deliver(picks, sessions, logits, vocab, self.turn);
                }
                Err(error) => self.fail(&error),
            }
            self.pace.note(decoding, prefilling, begun.elapsed());
        }
        let found = !self.picks.is_empty();
        while let Some(pick) = self.picks.pop() {
            let kept = self.keep(pick.session);
            let end = pick
                .end
                .or(kept.err().map(|error| FinishReason::Error(error.into())));
            if let Some(end) = end {
                self.finish(pick.session, end);
            }
        }
        found
    }

    /// Picks the rows of the next step: all that decode, then the oldest prompts. How many of each.
    fn choose(&mut self) -> (usize, usize) {
        self.picks.clear();
        let ready = |entry: &Entry| entry.run.as_ref().is_some_and(Run::is_ready);
        for (&session, entry) in &self.sessions {
            let Some(run) = entry.run.as_ref().filter(|_| ready(entry)) else {
                continue;
            };
            if entry.timeline.computed() >= run.prompt {
                self.picks.push(Pick {
                    session,
                    rows: 1,
                    outputs: Outputs::Last,
                    end: None,
                });
            }
        }
        let decoding = self.picks.len();
        let mut rows = self.limits.max_rows - decoding;
        let mut outputs = self.limits.max_outputs - decoding;
        rows = rows.min(self.pace.slice(decoding));
        let (budget, mut after) = (rows, None);
        while rows > 0 && outputs > 0 {
            let prompts = self.sessions.iter().filter_map(|(&id, entry)| {
                let run = entry.run.as_ref().filter(|_| ready(entry))?;
                let is_next = entry.timeline.computed() < run.prompt && Some(run.order) > after;
                is_next.then_some((run.order, id))
            });
            let Some((order, session)) = prompts.min() else {
                break;
            };
            after = Some(order);
            let pick = self.slice(session, rows, outputs);
            rows -= pick.rows as usize;
            outputs -= match pick.outputs {
                Outputs::None => 0,
                Outputs::Last => 1,
                Outputs::All => pick.rows as usize,
            };
            self.picks.push(pick);
        }
        (decoding, budget - rows)
    }

    /// Up to `rows` rows of a prompt: not beyond a cut, and with no more logits than there is room
    /// for.
    fn slice(&self, session: SessionId, rows: usize, outputs: usize) -> Pick {
        let entry = &self.sessions[&session];
        let run = entry.run.as_ref().expect("picked for its run");
        let (timeline, pending) = (&entry.timeline, entry.timeline.pending().len());
        let to_cut = run.to_next_cut(timeline.computed()) as usize;
        let mut rows = rows.min(pending).min(to_cut);
        let outputs = match run.is_scoring() {
            true => {
                rows = rows.min(outputs);
                Outputs::All
            }
            false if rows == pending => Outputs::Last,
            false => Outputs::None,
        };
        Pick {
            session,
            rows: rows as u32,
            outputs,
            end: None,
        }
    }

    /// Puts the rows of a pick into the plan, with pages to write to.
    fn plan_rows(&mut self, index: usize) -> Result<(), EngineError> {
        let pick = &self.picks[index];
        let Some(Entry {
            timeline,
            run: Some(run),
            ..
        }) = self.sessions.get_mut(&pick.session)
        else {
            return Ok(());
        };
        let Stage::Running(promise) = &mut run.stage else {
            return Ok(());
        };
        let slot = timeline.open(pick.rows, &mut self.pages, promise, &mut *self.machine)?;
        let tokens = &timeline.pending()[..pick.rows as usize];
        let pushed = self
            .plan
            .push(slot, timeline.computed(), tokens, pick.outputs);
        pushed.expect("every session has its own slot and at least one row");
        Ok(())
    }

    /// A step failed: whatever it touched goes back to what is safe.
    fn fail(&mut self, error: &MachineError) {
        for pick in &mut self.picks {
            if let Some(entry) = self.sessions.get_mut(&pick.session) {
                entry.timeline.fall_back(&mut self.pages);
            }
            let error = EngineError::Machine(error.clone());
            pick.end.get_or_insert(FinishReason::Error(error));
        }
    }

    /// Keeps a frontier where this session has just arrived, if the place is worth it.
    fn keep(&mut self, session: SessionId) -> Result<(), MachineError> {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return Ok(());
        };
        let timeline = &mut entry.timeline;
        let (at, last) = (timeline.computed(), timeline.frontiers().last());
        let reason = if entry.run.as_ref().is_some_and(|run| run.is_cut(at)) {
            Reason::Cut
        } else if at >= last.saturating_add(self.options.frontier_tokens.max(last / SPARSE)) {
            Reason::Distance
        } else {
            return Ok(());
        };
        timeline.keep(reason, &mut *self.machine)?;
        self.prefixes.publish(timeline, reason, &mut self.pages);
        Ok(())
    }
}
