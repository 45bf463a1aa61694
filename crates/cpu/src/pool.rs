//! Workers that share out the tasks of an operation.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A fixed number of workers.
#[derive(Debug)]
pub struct Pool {
    workers: usize,
}

impl Pool {
    /// A pool of `workers` workers, the caller included.
    pub fn new(workers: usize) -> Self {
        Self {
            workers: workers.max(1),
        }
    }

    /// Number of workers.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Calls `work(worker, task)` once for every task and returns when all are done. No two calls that run at the same
    /// time have the same worker number.
    pub fn run(&self, tasks: usize, work: impl Fn(usize, usize) + Sync) {
        if self.workers == 1 || tasks <= 1 {
            for task in 0..tasks {
                work(0, task);
            }
            return;
        }
        let next = AtomicUsize::new(0);
        let turn = |worker: usize| loop {
            let task = next.fetch_add(1, Ordering::Relaxed);
            if task >= tasks {
                return;
            }
            work(worker, task);
        };
        std::thread::scope(|scope| {
            let turn = &turn;
            for worker in 1..self.workers.min(tasks) {
                scope.spawn(move || turn(worker));
            }
            turn(0);
        });
    }
}
