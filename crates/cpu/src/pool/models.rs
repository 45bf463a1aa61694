//! The protocol of the pool under every interleaving (up to a number of preemptions), and under the
//! memory model.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p ds4-cpu --lib --target-dir target/loom pool`
//!
//! loom fails a model on a deadlock, which is what a lost wake-up is, and on an access to one of
//! its cells that is not ordered with another one. So the closures here write plain cells, and the
//! caller writes the same cells as soon as `run` returns: a task that runs twice, in the wrong run,
//! or while nobody waits for it any more, is found even where it would do no visible harm.

use std::panic::{AssertUnwindSafe, catch_unwind};

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::{Arc, Condvar, Mutex};

use super::Pool;

fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Plain counters, one a task. They are not atomic: loom reports accesses that no happens-before
/// orders.
struct Counters(Vec<UnsafeCell<u32>>);

// SAFETY: loom checks every access.
unsafe impl Sync for Counters {}

impl Counters {
    fn new(tasks: usize) -> Self {
        Self((0..tasks).map(|_| UnsafeCell::new(0)).collect())
    }

    fn count(&self, task: usize) {
        self.0[task].with_mut(|place| {
            // SAFETY: loom would have panicked were somebody else at it.
            unsafe { *place += 1 };
        });
    }

    /// Each is `value`; leaves 100 there, so that later calls are seen. A write, which loom checks
    /// against all others.
    fn settle(&self, value: u32) {
        for count in &self.0 {
            count.with_mut(|place| {
                // SAFETY: loom would have panicked were somebody else at it.
                let count = unsafe { place.replace(100) };
                assert_eq!(count, value);
            });
        }
    }
}

/// A run whose closure does not outlive it.
fn run_once(pool: &Pool, tasks: usize) {
    let counters = Counters::new(tasks);
    let locals = Counters::new(pool.workers());
    pool.run(tasks, |worker, task| {
        // A race on this one would mean that two calls had the same worker number at the same time.
        locals.count(worker);
        counters.count(task);
    });
    counters.settle(1);
}

#[test]
fn a_worker_that_never_spins() {
    check(6, || run_once(&Pool::with_spins(2, 0), 2));
}

#[test]
fn a_worker_that_spins() {
    check(5, || run_once(&Pool::with_spins(2, 1), 2));
}

/// The worker may wake up for the first run during the second one, or after it.
#[test]
fn a_worker_late_for_the_job() {
    check(4, || {
        let pool = Pool::with_spins(2, 0);
        run_once(&pool, 2);
        run_once(&pool, 3);
    });
}

#[test]
fn three_runs() {
    check(4, || {
        let pool = Pool::with_spins(2, 0);
        for _ in 0..3 {
            run_once(&pool, 2);
        }
    });
}

#[test]
fn two_workers_and_the_caller() {
    check(3, || {
        let pool = Pool::with_spins(3, 0);
        run_once(&pool, 3);
    });
}

#[test]
fn two_workers_late_for_the_job() {
    check(2, || {
        let pool = Pool::with_spins(3, 0);
        run_once(&pool, 2);
        run_once(&pool, 2);
    });
}

#[test]
fn a_pool_without_work_ends() {
    check(4, || drop(Pool::with_spins(3, 0)));
}

#[test]
fn a_panic_waits_for_the_other_tasks() {
    check(4, || {
        let pool = Pool::with_spins(2, 0);
        let counters = Counters::new(2);
        let run = AssertUnwindSafe(|| {
            pool.run(2, |_, task| {
                counters.count(task);
                if task == 0 {
                    // Unlike `panic!`, without a message for every interleaving.
                    std::panic::resume_unwind(Box::new("task 0"));
                }
            });
        });
        let panic = catch_unwind(run).expect_err("the panic of task 0");
        assert_eq!(panic.downcast_ref(), Some(&"task 0"));
        counters.settle(1);
        run_once(&pool, 2);
    });
}

#[test]
fn two_callers_do_not_mix() {
    check(3, || {
        let pool = Arc::new(Pool::with_spins(2, 0));
        let other = {
            let pool = Arc::clone(&pool);
            loom::thread::spawn(move || run_once(&pool, 2))
        };
        run_once(&pool, 2);
        other.join().expect("the other caller");
    });
}

#[test]
fn a_caller_that_comes_in_between_twice() {
    check(2, || {
        let pool = Arc::new(Pool::with_spins(2, 0));
        let other = {
            let pool = Arc::clone(&pool);
            loom::thread::spawn(move || {
                run_once(&pool, 2);
                run_once(&pool, 2);
            })
        };
        run_once(&pool, 2);
        other.join().expect("the other caller");
    });
}

/// The first of the two tasks ends only when the second has begun, so the run ends only if both
/// workers come to it: the one way to tell a worker that was never woken from one that was late.
fn meet(pool: &Pool) {
    let (arrived, changed) = (Mutex::new(0), Condvar::new());
    pool.run(2, |_, _| {
        let mut count = arrived.lock().expect("no task panics");
        *count += 1;
        changed.notify_all();
        while *count < 2 {
            count = changed.wait(count).expect("no task panics");
        }
    });
}

#[test]
fn a_sleeping_worker_is_woken() {
    check(3, || meet(&Pool::with_spins(2, 0)));
    check(2, || {
        let pool = Pool::with_spins(2, 0);
        meet(&pool);
        meet(&pool);
    });
}
