//! The word on the board: which job there is, and how many of its tasks are unclaimed.
//!
//! | bits | meaning |
//! | --- | --- |
//! | 0..32 | [`OVERDRAFT`] + tasks not claimed yet |
//! | 32 | somebody sleeps who wants to hear of the next job |
//! | 33 | the pool is being dropped |
//! | 34..64 | epoch: the number of the job |
//!
//! Epoch and tasks share a word so that a claim, which subtracts one, learns in the same instant
//! which job it got a task of. A worker claims again only when the epoch is another than the one in
//! which it was told "none left", or when it is dismissed, so it overdraws each job twice at most:
//! the overdraft of all workers never reaches the other bits.
//!
//! The epoch comes round after 2^30 jobs. A worker that slept through exactly so many takes the
//! current job for the one it knows and leaves it to the others; that is all.

/// Most workers, the caller included.
pub(super) const MAX_WORKERS: usize = 1024;

/// What claims may subtract in vain.
const OVERDRAFT: u32 = 4096;
const _: () = assert!(2 * MAX_WORKERS <= OVERDRAFT as usize);

/// Most tasks of a job.
pub(super) const MAX_TASKS: usize = (u32::MAX - OVERDRAFT) as usize;

/// Set by those who fall asleep.
pub(super) const SLEEPERS: u64 = 1 << 32;

/// Set once, at the end.
pub(super) const DISMISSED: u64 = 1 << 33;

const EPOCH_SHIFT: u32 = 34;

/// A word as it was at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Notice(pub(super) u64);

impl Notice {
    /// Before the first job: as if it were over.
    pub(super) const BLANK: Self = Self(OVERDRAFT as u64);

    /// The job after the one of this notice, with nobody asleep.
    pub(super) fn next(self, tasks: u32) -> Self {
        let epoch = (self.0 >> EPOCH_SHIFT).wrapping_add(1) << EPOCH_SHIFT;
        Self(epoch | u64::from(OVERDRAFT + tasks))
    }

    /// Unclaimed tasks, if there are any.
    pub(super) fn unclaimed(self) -> Option<u32> {
        let tasks = (self.0 as u32).saturating_sub(OVERDRAFT);
        (tasks > 0).then_some(tasks)
    }

    /// Whether this is about the same job.
    pub(super) fn same_job(self, other: Self) -> bool {
        self.0 >> EPOCH_SHIFT == other.0 >> EPOCH_SHIFT
    }

    pub(super) fn has_sleepers(self) -> bool {
        self.0 & SLEEPERS != 0
    }

    pub(super) fn is_dismissal(self) -> bool {
        self.0 & DISMISSED != 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn claims_count_down_and_overdraw_without_touching_the_epoch() {
        let first = Notice::BLANK.next(2);
        assert_eq!(Notice::BLANK.unclaimed(), None);
        assert_eq!(first.unclaimed(), Some(2));
        assert_eq!(Notice(first.0 - 1).unclaimed(), Some(1));
        let overdrawn = Notice(first.0 - 2 - u64::from(OVERDRAFT));
        assert_eq!(overdrawn.unclaimed(), None);
        assert!(overdrawn.same_job(first) && !overdrawn.same_job(Notice::BLANK));
        assert!(!overdrawn.has_sleepers() && !overdrawn.is_dismissal());
    }

    #[test]
    fn the_largest_job_fits() {
        let notice = Notice::BLANK.next(MAX_TASKS as u32);
        assert_eq!(notice.unclaimed(), Some(MAX_TASKS as u32));
        assert!(!notice.has_sleepers() && !notice.is_dismissal());
    }

    #[test]
    fn the_epoch_comes_round() {
        let last = Notice(u64::MAX << EPOCH_SHIFT);
        assert!(last.next(0).same_job(Notice::BLANK));
    }
}
