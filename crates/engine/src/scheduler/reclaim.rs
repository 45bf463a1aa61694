//! Memory under pressure: who makes room for those that want to compute.
//!
//! First goes what is kept for sessions to come. Then sessions that nobody uses: an idle one keeps
//! its pages so that its next turn need not compute them again, and is emptied when somebody does
//! not fit otherwise, the one idle for longest first; its next turn then costs a prefill, or less
//! if its beginning is still kept. Sessions with a generation under way or in line keep what they
//! have, and nobody is emptied where that would not be enough.

use super::{Entry, Scheduler};
use crate::engine::Rewind;
use crate::pages::{Admission, Promise, Table};

impl Scheduler {
    /// A promise of all pages that writing positions `from..to` takes, after others let go of as
    /// many as it needs.
    pub(super) fn promise(
        &mut self,
        table: &mut Table,
        from: u32,
        to: u32,
    ) -> Result<Promise, Admission> {
        loop {
            self.clear(self.pages.missing(table, from, to));
            match self.pages.promise(table, from, to) {
                Err(admission) if self.make_room(&admission) => {}
                promise => return promise,
            }
        }
    }

    /// Promises `more` pages besides, as [`Pages::raise`](crate::pages::Pages::raise) does, after
    /// others let go of them.
    pub(super) fn raise(&mut self, promise: &mut Promise, more: usize) -> Result<(), Admission> {
        loop {
            self.clear(more);
            match self.pages.raise(promise, more) {
                Err(admission) if self.make_room(&admission) => {}
                raised => return raised,
            }
        }
    }

    /// Makes as many pages free as can be without emptying a session.
    fn clear(&mut self, count: usize) {
        if count > self.pages.unpromised() {
            // They keep pages that look as if they could be let go of.
            self.finish_captures();
        }
        self.prefixes.make_room(&mut self.pages, count);
    }

    /// Empties the session idle for longest, if idle ones hold enough to admit whoever was refused.
    /// Is there more room now?
    fn make_room(&mut self, refused: &Admission) -> bool {
        // Pages that two of them share count twice, so this may hope too much, never too little.
        let held = self
            .sessions
            .values()
            .filter(|entry| is_idle(entry))
            .map(|entry| {
                let charge = self.pages.charge(entry.timeline.table());
                charge.own + charge.shared
            });
        if held.sum::<u64>() < refused.needed.saturating_sub(refused.free) {
            return false;
        }
        let idle = self.sessions.values_mut().filter(|entry| is_idle(entry));
        let Some(entry) = idle.min_by_key(|entry| entry.used) else {
            return false;
        };
        let (Rewind::Exact { .. } | Rewind::Short { .. }) =
            entry.timeline.rewind(0, &mut self.pages);
        true
    }
}

/// Does it hold something that nobody is waiting for?
fn is_idle(entry: &Entry) -> bool {
    entry.run.is_none() && entry.timeline.computed() > 0
}
