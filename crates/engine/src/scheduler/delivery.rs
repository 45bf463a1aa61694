//! Handing every session the logits of its rows. To choose a token is a pass or two over the
//! vocabulary, a tenth of a millisecond; a step of many sessions on a card is short enough for that
//! to count, so they choose at the same time.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::thread::available_parallelism;

use ds4_cpu::Pool;
use ds4_model::Outputs;

use super::Entry;
use super::step::Pick;
use crate::event::SessionId;

/// Fewer sessions than this choose one after the other: waking the others would take longer.
const WORTH: usize = 4;

/// Most sessions that choose at the same time.
const WORKERS: usize = 8;

/// Who hands out logits.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// There from the first step on that is worth it.
    pool: Option<Pool>,
}

/// One session's share of a step.
struct Share<'a> {
    pick: &'a mut Pick,
    entry: &'a mut Entry,
    logits: &'a [f32],
}

impl Delivery {
    /// Gives the rows of `picks` their logits, in the order in which they were planned.
    pub(super) fn deliver(
        &mut self,
        picks: &mut [Pick],
        sessions: &mut BTreeMap<SessionId, Entry>,
        mut logits: &[f32],
        vocab: usize,
        turn: u64,
    ) {
        // What could not be planned has an end already and no rows in the step.
        let picks = picks.iter_mut().filter(|pick| pick.end.is_none());
        let own = picks.map(|pick| {
            let (own, rest) = logits.split_at(pick.logits() * vocab);
            logits = rest;
            (pick, own)
        });
        if sessions.len() < WORTH {
            for (pick, logits) in own {
                if let Some(entry) = sessions.get_mut(&pick.session) {
                    Share {
                        pick,
                        entry,
                        logits,
                    }
                    .take(vocab, turn);
                }
            }
            return;
        }
        let mut own: Vec<_> = own.collect();
        own.sort_unstable_by_key(|(pick, _)| pick.session);
        let mut own = own.into_iter().peekable();
        // Both are in order of sessions, of which each is picked once.
        let shares: Vec<_> = sessions
            .iter_mut()
            .filter_map(|(id, entry)| {
                while own.next_if(|(pick, _)| pick.session < *id).is_some() {}
                let (pick, logits) = own.next_if(|(pick, _)| pick.session == *id)?;
                Some(Mutex::new(Share {
                    pick,
                    entry,
                    logits,
                }))
            })
            .collect();
        let work = |share: usize| {
            let share = &mut shares[share].lock().unwrap_or_else(PoisonError::into_inner);
            share.take(vocab, turn);
        };
        if shares.len() < WORTH {
            return (0..shares.len()).for_each(work);
        }
        let pool = self.pool.get_or_insert_with(|| {
            let cores = available_parallelism().map_or(1, usize::from);
            Pool::new(cores.min(WORKERS))
        });
        pool.run(shares.len(), |_, share| work(share));
    }
}

impl Share<'_> {
    fn take(&mut self, vocab: usize, turn: u64) {
        let Self {
            pick,
            entry,
            logits,
        } = self;
        entry.used = turn;
        entry.timeline.advance(pick.rows);
        if let Some(run) = &mut entry.run {
            pick.end = run.take(&mut entry.timeline, pick.rows, logits, vocab);
        }
    }
}

impl Pick {
    /// Rows of logits that it gets.
    fn logits(&self) -> usize {
        match self.outputs {
            Outputs::None => 0,
            Outputs::Last => 1,
            Outputs::All => self.rows as usize,
        }
    }
}
