//! Where threads sleep until something is worth a look.
//!
//! No wake-up is lost if both sides keep to one rule. The sleeper's `ready` leaves a mark that the
//! other side cannot miss (it sets a bit in the very word which the other side changes); the other
//! side changes the word first and then, if it saw the mark, rings. `ready` runs under the lock and
//! ringing takes the lock, so the sleeper is heard of either before it looked or after it lay down,
//! never in between.

use super::sync::{Condvar, Mutex, locked};

/// A lock and a condition variable.
pub(super) struct Bell {
    lock: Mutex<()>,
    rung: Condvar,
}

impl Bell {
    pub(super) fn new() -> Self {
        Self {
            lock: Mutex::new(()),
            rung: Condvar::new(),
        }
    }

    /// Sleeps while `ready`, asked at first and after every ring, says no.
    pub(super) fn sleep_until(&self, mut ready: impl FnMut() -> bool) {
        let mut guard = locked(&self.lock);
        while !ready() {
            guard = self
                .rung
                .wait(guard)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Wakes everyone who sleeps.
    pub(super) fn ring(&self) {
        drop(locked(&self.lock));
        self.rung.notify_all();
    }
}
