//! Workers that share out the tasks of an operation.
//!
//! A decoded token is a thousand short operations, each of them a [`Pool::run`]: starting threads
//! for it would cost more than the operation. So the workers stay, and a run is a few atomic
//! operations without a heap allocation:
//!
//! - [`board`] is the protocol: how a job is published, claimed task by task, and known to be
//!   complete. It also says why a worker that wakes up late cannot do harm.
//! - [`notice`] is the one word on which workers look for jobs, and from which they claim tasks.
//! - [`bell`] is where they sleep. They look for a job a bounded number of times and then sleep, so
//!   an idle engine costs nothing, and more workers than cores are slow but no disaster.
//! - [`sync`] is the standard library's atomics and locks, or those of `loom`, which tries all
//!   interleavings of the models in `models`.

mod bell;
mod board;
mod notice;
mod sync;

#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(loom)))]
mod tests;

use std::fmt;
use std::panic::resume_unwind;

use board::{Board, Job};
use sync::{Arc, AtomicBool, Builder, JoinHandle, Ordering};

/// Looks for a job before a worker sleeps. A look takes 3 to 50 ns by the processor's notion of a
/// spin hint; what the caller does alone between two operations of a token is over in that time.
const SPINS: u32 = 4096;

/// The same when there are more workers than cores: then it is somebody with work to do who waits
/// for the core.
const SPINS_CROWDED: u32 = 32;

/// A fixed number of workers that stay until the pool is dropped.
pub struct Pool {
    board: Arc<Board>,
    /// All workers but worker 0, who is the caller.
    threads: Vec<JoinHandle<()>>,
    /// Whether a run is under way.
    busy: AtomicBool,
}

impl Pool {
    /// Most workers of a pool.
    pub const MAX_WORKERS: usize = notice::MAX_WORKERS;

    /// A pool of `workers` workers, the caller included: at least one, at most
    /// [`Pool::MAX_WORKERS`], and fewer than asked for where the system refuses more threads.
    /// [`Pool::workers`] tells.
    pub fn new(workers: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let spins = if workers > cores {
            SPINS_CROWDED
        } else {
            SPINS
        };
        Self::with_spins(workers, spins)
    }

    fn with_spins(workers: usize, spins: u32) -> Self {
        let board = Arc::new(Board::new(spins));
        let start = |worker: usize| {
            let board = Arc::clone(&board);
            Builder::new()
                .name(format!("ds4-worker-{worker}"))
                .spawn(move || board.serve(worker))
                .ok()
        };
        let threads = (1..workers.min(Self::MAX_WORKERS))
            .map_while(start)
            .collect();
        Self {
            threads,
            board,
            busy: AtomicBool::new(false),
        }
    }

    /// Number of workers.
    pub fn workers(&self) -> usize {
        self.threads.len() + 1
    }

    /// Calls `work(worker, task)` once for every task and returns when all are done. No two calls
    /// of one run that are made at the same time have the same worker number, and that number is
    /// below [`Pool::workers`].
    ///
    /// A run within a task, or while another thread has a run of this pool under way, is done by
    /// its caller alone: all its calls have worker number 0.
    ///
    /// # Panics
    /// With the panic of a task, if one panicked: here as everywhere, after all tasks are done or
    /// have panicked.
    pub fn run<W: Fn(usize, usize) + Sync>(&self, tasks: usize, work: W) {
        if tasks <= 1 || self.threads.is_empty() {
            return alone(tasks, work);
        }
        let Some(_turn) = Turn::take(&self.busy) else {
            return alone(tasks, work);
        };
        let job = Job::new(&work, tasks);
        // SAFETY: `work` lives until the end of this function, and `_turn` excludes other calls
        // until then.
        if let Some(panic) = unsafe { self.board.share_out(job) } {
            resume_unwind(panic);
        }
    }
}

fn alone(tasks: usize, work: impl Fn(usize, usize)) {
    for task in 0..tasks {
        work(0, task);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.board.dismiss();
        for thread in self.threads.drain(..) {
            // Panics of tasks are caught, so a worker has none of its own to report.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}

/// The right to publish a job, given back when dropped.
struct Turn<'a>(&'a AtomicBool);

impl<'a> Turn<'a> {
    fn take(busy: &'a AtomicBool) -> Option<Self> {
        // Not `then_some`: a turn that was never had would be given back.
        (!busy.swap(true, Ordering::Acquire)).then(|| Self(busy))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
