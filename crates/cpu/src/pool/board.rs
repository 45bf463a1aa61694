//! The board: one job at a time, published by the caller, done by whoever claims its tasks.
//!
//! A job goes through four steps, and each rests on the one before:
//!
//! 1. The caller writes the job and the number of pending tasks, then puts up a new [`Notice`]
//!    (release).
//! 2. Whoever subtracts one from the notice (acquire) and finds tasks left has claimed one *of the
//!    job whose epoch the subtraction returned*. There is no look first and claim later, so a
//!    worker that dozed off in between with an old job in mind claims either nothing or a task of
//!    the present job, and sees the present job.
//! 3. Who finds none left takes the tasks it did off the pending ones (release).
//! 4. When none is pending (acquire), the caller may forget the job and write the next one.
//!
//! Hence the job is read only by someone with a claimed task that is still pending, and lives as
//! long as any task is pending. Workers who come too late for a job touch nothing but the notice,
//! and nobody waits for them: a sleeping worker never holds up a run.

use std::any::Any;
use std::mem::forget;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::bell::Bell;
use super::notice::{DISMISSED, MAX_TASKS, Notice, SLEEPERS};
use super::sync::{AtomicU64, Mutex, Ordering, UnsafeCell, locked, spin_loop};

/// What a panicking task panicked with.
pub(super) type Panic = Box<dyn Any + Send>;

/// In `pending`: the caller sleeps.
const CALLER_SLEEPS: u64 = 1 << 63;

/// A closure without its type and lifetime, and how many times to call it.
#[derive(Clone, Copy)]
pub(super) struct Job {
    work: *const (),
    call: unsafe fn(*const (), usize, usize),
    tasks: u32,
}

impl Job {
    pub(super) fn new<W: Fn(usize, usize) + Sync>(work: &W, tasks: usize) -> Self {
        assert!(
            tasks <= MAX_TASKS,
            "{tasks} tasks in one run, where {MAX_TASKS} are the limit"
        );
        Self {
            work: std::ptr::from_ref(work).cast(),
            call: call::<W>,
            tasks: tasks as u32,
        }
    }
}

/// # Safety
/// `work` points to a live `W`.
unsafe fn call<W: Fn(usize, usize) + Sync>(work: *const (), worker: usize, task: usize) {
    // SAFETY: by the contract of this function; `W: Sync`, so other workers may hold the same
    // reference.
    let work = unsafe { &*work.cast::<W>() };
    work(worker, task);
}

/// A value with cache lines of its own: 128 bytes, since processors fetch lines in pairs.
#[repr(align(128))]
struct Lines<T>(T);

impl<T> Deref for Lines<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// What caller and workers share.
pub(super) struct Board {
    /// A [`Notice`].
    notice: Lines<AtomicU64>,
    /// Tasks of the job that are not done, and [`CALLER_SLEEPS`].
    pending: Lines<AtomicU64>,
    job: Lines<UnsafeCell<Job>>,
    /// The first panic of the job.
    panic: Mutex<Option<Panic>>,
    /// For workers without a job.
    published: Bell,
    /// For the caller.
    completed: Bell,
    /// Looks before anyone sleeps.
    spins: u32,
}

// SAFETY: all fields but `job` are Sync; `job` is written and read as the header of this module
// says, and what it points to is Sync.
unsafe impl Sync for Board {}
// SAFETY: as above; nothing belongs to a thread.
unsafe impl Send for Board {}

impl Board {
    pub(super) fn new(spins: u32) -> Self {
        let nothing = Job::new(&|_, _| {}, 0);
        Self {
            notice: Lines(AtomicU64::new(Notice::BLANK.0)),
            pending: Lines(AtomicU64::new(0)),
            job: Lines(UnsafeCell::new(nothing)),
            panic: Mutex::new(None),
            published: Bell::new(),
            completed: Bell::new(),
            spins,
        }
    }

    /// Has all tasks of a job done, by the caller as worker 0 and by the workers that
    /// [`Board::serve`]. Returns after the last call of the closure, with the first panic if there
    /// was one; never unwinds.
    ///
    /// # Safety
    /// The closure of `job` is alive until this returns, and no other call is made meanwhile.
    pub(super) unsafe fn share_out(&self, job: Job) -> Option<Panic> {
        // SAFETY: no task is pending, so nobody reads the job (header), and the contract excludes
        // other writers.
        self.job.with_mut(|place| unsafe { place.write(job) });
        self.pending.store(u64::from(job.tasks), Ordering::Relaxed);
        self.publish(job.tasks);
        self.work(0);
        self.wait_for_the_others();
        locked(&self.panic).take()
    }

    /// Does tasks as worker `worker` until [`Board::dismiss`].
    pub(super) fn serve(&self, worker: usize) {
        let mut known = Notice::BLANK;
        while !known.is_dismissal() {
            self.wait_for_news(known);
            known = self.work(worker);
        }
    }

    /// Sends all workers home.
    pub(super) fn dismiss(&self) {
        self.notice.fetch_or(DISMISSED, Ordering::Relaxed);
        self.published.ring();
    }

    fn publish(&self, tasks: u32) {
        let last = Notice(self.notice.load(Ordering::Relaxed));
        // A swap, because workers overdraw or fall asleep at any moment, and those asleep must be
        // noticed.
        let last = Notice(self.notice.swap(last.next(tasks).0, Ordering::Release));
        if last.has_sleepers() {
            self.published.ring();
        }
    }

    /// Does tasks until none is left, and returns the notice that said so.
    fn work(&self, worker: usize) -> Notice {
        let mut done = 0;
        loop {
            let notice = Notice(self.notice.fetch_sub(1, Ordering::Acquire));
            let Some(unclaimed) = notice.unclaimed() else {
                self.report(done);
                return notice;
            };
            self.perform(worker, unclaimed);
            done += 1;
        }
    }

    /// The claimed task: the one that has `unclaimed - 1` tasks after it.
    fn perform(&self, worker: usize, unclaimed: u32) {
        // SAFETY: the claimed task is pending until `report`, so nobody writes the job (header).
        let job = self.job.with(|place| unsafe { place.read() });
        let task = (job.tasks - unclaimed) as usize;
        let attempt = AssertUnwindSafe(|| {
            // SAFETY: as the task is pending, `share_out` has not returned, so the closure is alive
            // by its contract.
            unsafe { (job.call)(job.work, worker, task) };
        });
        if let Err(panic) = catch_unwind(attempt) {
            match &mut *locked(&self.panic) {
                first @ None => *first = Some(panic),
                // Its destructor might panic as well, here where nobody is left to catch it.
                Some(_) => forget(panic),
            }
        }
    }

    fn report(&self, done: u64) {
        if done == 0 {
            return;
        }
        let before = self.pending.fetch_sub(done, Ordering::Release);
        if before == done | CALLER_SLEEPS {
            self.completed.ring();
        }
    }

    fn wait_for_the_others(&self) {
        let complete = |pending: u64| pending & !CALLER_SLEEPS == 0;
        self.wait(
            &self.completed,
            || complete(self.pending.load(Ordering::Acquire)),
            || complete(self.pending.fetch_or(CALLER_SLEEPS, Ordering::Acquire)),
        );
    }

    /// Returns when there is another job than the `known` one, or the pool is being dropped.
    fn wait_for_news(&self, known: Notice) {
        let news = |notice: u64| {
            let notice = Notice(notice);
            notice.is_dismissal() || !notice.same_job(known)
        };
        self.wait(
            &self.published,
            || news(self.notice.load(Ordering::Relaxed)),
            || news(self.notice.fetch_or(SLEEPERS, Ordering::Relaxed)),
        );
    }

    /// Looks a bounded number of times, then sleeps until the bell rings and `marked`, which looks
    /// and marks, says yes.
    fn wait(&self, bell: &Bell, look: impl Fn() -> bool, marked: impl FnMut() -> bool) {
        for _ in 0..self.spins {
            if look() {
                return;
            }
            spin_loop();
        }
        bell.sleep_until(marked);
    }
}
