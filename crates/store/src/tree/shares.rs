//! Whose bytes these are: one tenant must not push out what others keep.
//!
//! A tree is shared by as many as have paths in it, each tenant of each model by himself. Whoever
//! holds less than an equal part of everything loses nothing to the others, as long as he was there
//! lately; what he does not use is theirs. So one that asks a thousand questions an hour pushes out
//! its own, and a model that nobody runs any more makes room.

use crate::name::{Name, NameMap};

/// Seconds for which a share is kept for somebody who does not come back: two half-lives of use.
const LATELY: f64 = 3600.0;

/// What everybody holds.
#[derive(Default)]
pub(super) struct Shares(NameMap<Share>);

#[derive(Clone, Copy, Default)]
struct Share {
    bytes: u64,
    used: f64,
}

impl Shares {
    /// Somebody holds so much more, now.
    pub(super) fn add(&mut self, root: Name, bytes: u64, now: f64) {
        let share = self.0.entry(root).or_default();
        share.bytes += bytes;
        share.used = share.used.max(now);
    }

    /// Somebody holds so much less.
    pub(super) fn take(&mut self, root: Name, bytes: u64) {
        if let Some(share) = self.0.get_mut(&root) {
            share.bytes -= bytes;
            if share.bytes == 0 {
                self.0.remove(&root);
            }
        }
    }

    /// Says of everybody whether he may lose something.
    pub(super) fn losers(&self, now: f64) -> impl Fn(Name) -> bool {
        let is_late = move |share: &Share| now - share.used > LATELY;
        let lately = self.0.values().filter(|share| !is_late(share));
        let (count, bytes) = lately.fold((0, 0), |(count, bytes), share| {
            (count + 1, bytes + u128::from(share.bytes))
        });
        move |root| match self.0.get(&root) {
            Some(share) => is_late(share) || u128::from(share.bytes) * count >= bytes,
            None => true,
        }
    }
}
