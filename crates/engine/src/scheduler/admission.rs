//! Who may begin: generations in order of arrival, as long as pages and slots are there.

use super::{Entry, Scheduler};
use crate::engine::Rewind;
use crate::error::EngineError;
use crate::event::SessionId;
use crate::frontier::Reason;
use crate::generation::FinishReason;
use crate::machine::MachineError;

impl Scheduler {
    /// Admits generations in order of arrival, as long as they fit. Was there one?
    pub(super) fn admit(&mut self) -> bool {
        let (mut found, mut after) = (false, None);
        loop {
            let waiting = self.sessions.iter().filter_map(|(&id, entry)| {
                let run = entry.run.as_ref().filter(|run| run.is_waiting())?;
                (Some(run.order) > after).then_some((run.order, id))
            });
            let Some((order, id)) = waiting.min() else {
                return found;
            };
            after = Some(order);
            if self.is_under_way(id) {
                continue;
            }
            match self.begin(id) {
                Ok(true) => {}
                Ok(false) => return found,
                Err(error) => self.finish(id, FinishReason::Error(error)),
            }
            found = true;
        }
    }

    /// Is another session about to arrive at a cut on the path of this prompt? Then waiting for it
    /// is faster than computing the same.
    fn is_under_way(&self, id: SessionId) -> bool {
        let entry = &self.sessions[&id];
        let (Some(scope), Some(run)) = (entry.timeline.scope(), &entry.run) else {
            return false;
        };
        let Some((_, prompt)) = run.prompt_in_line().and_then(<[u32]>::split_last) else {
            return false;
        };
        let own = entry.timeline.reach(run.reusable(&entry.timeline));
        self.sessions.values().any(|other| {
            let (timeline, run) = (&other.timeline, &other.run);
            // One that is paused may stay so.
            let run = run.as_ref().filter(|run| run.is_ready());
            run.is_some_and(|run| {
                timeline.scope() == Some(scope)
                    && run
                        .cuts_after(timeline.computed().max(own))
                        .take_while(|&cut| cut as usize <= prompt.len())
                        .any(|cut| timeline.tokens().starts_with(&prompt[..cut as usize]))
            })
        })
    }

    /// Admits one generation; false if it has to wait for others to end.
    fn begin(&mut self, id: SessionId) -> Result<bool, EngineError> {
        let Some(slot) = self.slot_for(id)? else {
            return Ok(false);
        };
        let Some(Entry {
            timeline,
            run: Some(run),
            ..
        }) = self.sessions.get_mut(&id)
        else {
            return Ok(true);
        };
        let reusable = run.reusable(timeline);
        let own = timeline.reach(reusable);
        let (pages, machine) = (&mut self.pages, &mut *self.machine);
        let start = match (timeline.scope(), run.prompt_in_line()) {
            (Some(scope), Some(prompt)) => {
                let scope = *scope;
                self.prefixes.start(&scope, prompt, own, pages, machine)?
            }
            _ => None,
        };
        let at = match start {
            Some(start) => {
                let at = start.at;
                timeline.start_at(start, run.prompt_in_line().unwrap_or_default(), pages);
                at
            }
            None => match timeline.rewind(reusable, pages) {
                Rewind::Exact { at } | Rewind::Short { at, .. } => at,
            },
        };
        let end = run.end();
        // Out of the session meanwhile: others may have to make room for it.
        let mut table = std::mem::take(timeline.table_mut());
        let promise = self.promise(&mut table, at, end);
        let Some(Entry {
            timeline,
            run: Some(run),
            ..
        }) = self.sessions.get_mut(&id)
        else {
            unreachable!("a session with a generation in line is not closed");
        };
        *timeline.table_mut() = table;
        let promise = match promise {
            Ok(promise) => promise,
            Err(refused) => {
                let held = self.pages.charge(timeline.table());
                let could_fit = refused.needed + held.own + held.shared <= refused.total;
                // Those under way will give back what they do not use, and be idle at the end.
                return match could_fit && self.is_anybody_running() {
                    true => Ok(false),
                    false => Err(refused.into()),
                };
            }
        };
        let seated = match timeline.slot() {
            // Where the last turn ended is where a conversation forks.
            Some(_) => timeline.keep(Reason::Turn, &mut *self.machine),
            None => timeline.sit(slot, &mut *self.machine),
        };
        run.admit(promise, timeline);
        seated?;
        Ok(true)
    }

    fn is_anybody_running(&self) -> bool {
        let mut runs = self
            .sessions
            .values()
            .filter_map(|entry| entry.run.as_ref());
        runs.any(|run| !run.is_waiting())
    }

    /// The slot of a session, a free one, or that of the session idle for longest; none if all are
    /// at work.
    fn slot_for(&mut self, id: SessionId) -> Result<Option<u32>, MachineError> {
        let own = self
            .sessions
            .get(&id)
            .and_then(|entry| entry.timeline.slot());
        if own.is_some() {
            return Ok(own);
        }
        let taken = |slot| {
            let mut seated = self.sessions.values();
            seated.any(|entry| entry.timeline.slot() == Some(slot))
        };
        if let Some(free) = (0..self.limits.slots as u32).find(|&slot| !taken(slot)) {
            return Ok(Some(free));
        }
        let idle = self.sessions.values_mut().filter(|entry| {
            let is_running = entry.run.as_ref().is_some_and(|run| !run.is_waiting());
            entry.timeline.slot().is_some() && !is_running
        });
        let Some(entry) = idle.min_by_key(|entry| entry.used) else {
            return Ok(None);
        };
        let slot = entry.timeline.slot();
        entry.timeline.leave(&mut *self.machine)?;
        Ok(slot)
    }
}
