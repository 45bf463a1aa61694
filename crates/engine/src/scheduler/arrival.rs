//! Snapshots on their way in, a few pages between two steps.
//!
//! All pages are taken when a snapshot arrives, so that it is known at once whether there is room;
//! they are filled [`AT_ONCE`] in a turn, and then there is a session.

use super::Scheduler;
use super::capture::AT_ONCE;
use crate::error::EngineError;
use crate::event::{Gone, Reply, SessionId};
use crate::machine::MachineError;
use crate::pages::Table;
use crate::snapshot::Parts;
use crate::timeline::Timeline;

/// A snapshot of which pages are left to be filled.
pub(super) struct Arrival {
    parts: Box<Parts>,
    table: Table,
    /// Pages that are filled.
    done: usize,
    gone: Gone,
    reply: Reply<SessionId>,
}

impl Scheduler {
    /// Begins to restore a session; the answer comes when it is there.
    pub(super) fn restore(&mut self, parts: Box<Parts>, gone: Gone, reply: Reply<SessionId>) {
        match self.table_of(parts.tokens.len() as u32) {
            Ok(table) => {
                self.arrivals.push_back(Arrival {
                    parts,
                    table,
                    done: 0,
                    gone,
                    reply,
                });
                // A short session need not wait for the next step.
                if self.arrivals.len() == 1 {
                    self.advance_arrivals();
                }
            }
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    }

    /// Fills a few pages. Was there something to fill?
    pub(super) fn advance_arrivals(&mut self) -> bool {
        let Some(mut arrival) = self.arrivals.pop_front() else {
            return false;
        };
        match self.fill_pages(&mut arrival) {
            Ok(false) => self.arrivals.push_front(arrival),
            Ok(true) => {
                let frontier = arrival.parts.frontier().to_vec();
                let (tokens, table) = (arrival.parts.tokens, arrival.table);
                let most = self.options.frontiers;
                let timeline = Timeline::restored(tokens, table, frontier, most);
                let session = self.open(timeline, arrival.gone);
                let _ = arrival.reply.send(session);
            }
            Err(error) => {
                self.pages.close(arrival.table);
                let _ = arrival.reply.send(Err(EngineError::from(error)));
            }
        }
        true
    }

    /// Fills the next pages. Were they the last?
    fn fill_pages(&mut self, arrival: &mut Arrival) -> Result<bool, MachineError> {
        let pages = &arrival.table.pages()[arrival.done..];
        for &page in &pages[..AT_ONCE.min(pages.len())] {
            let bytes = arrival.parts.page(arrival.done);
            self.machine.load_page(page, bytes)?;
            arrival.done += 1;
        }
        Ok(arrival.done == arrival.table.pages().len())
    }
}
