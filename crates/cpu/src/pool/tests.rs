//! The pool with real threads: what `models` cannot reach, above all numbers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::ThreadId;

use super::{Pool, SPINS, SPINS_CROWDED};

/// Makes a run and checks that each task runs once and that no worker number is taken twice at a
/// time.
fn check_run(pool: &Pool, tasks: usize) {
    let counts: Vec<_> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
    let taken: Vec<_> = (0..pool.workers())
        .map(|_| AtomicBool::new(false))
        .collect();
    pool.run(tasks, |worker, task| {
        assert!(!taken[worker].swap(true, Ordering::Relaxed), "{worker}");
        counts[task].fetch_add(1, Ordering::Relaxed);
        assert!(taken[worker].swap(false, Ordering::Relaxed), "{worker}");
    });
    for (task, count) in counts.iter().enumerate() {
        let count = count.load(Ordering::Relaxed);
        assert_eq!(
            count,
            1,
            "task {task} of {tasks}, {} workers",
            pool.workers()
        );
    }
}

#[test]
fn every_task_runs_once_in_many_tiny_runs() {
    for workers in [1, 2, 3, 4, 7, 16] {
        for spins in [0, SPINS_CROWDED, SPINS] {
            let pool = Pool::with_spins(workers, spins);
            assert_eq!(pool.workers(), workers);
            for run in 0..600 {
                check_run(&pool, [0, 1, 2, 3, 5, 8, 40][run % 7]);
            }
        }
    }
}

#[test]
fn every_task_runs_once_in_a_long_run() {
    check_run(&Pool::new(4), 200_000);
}

/// Plain writes of the tasks are there when `run` returns, and the caller's are there in the tasks.
#[test]
fn runs_pass_plain_values_on() {
    let pool = Pool::new(3);
    let mut values = vec![1u64; 64];
    for run in 0..2000u64 {
        let places = crate::share::Shared::new(&mut values);
        pool.run(64, |_, task| {
            // SAFETY: each place belongs to one task.
            let before = unsafe { places.get(task) };
            // SAFETY: as above.
            unsafe { places.set(task, before + run) };
        });
        values.rotate_left(7);
    }
    assert_eq!(values, vec![1 + 1999 * 2000 / 2; 64]);
}

/// Tasks that all wait for each other end only if every worker takes one.
#[test]
fn all_workers_take_part_also_after_a_sleep() {
    let pool = Pool::with_spins(4, 0);
    for _ in 0..50 {
        let together = Barrier::new(4);
        let workers = AtomicUsize::new(0);
        pool.run(4, |worker, _| {
            together.wait();
            workers.fetch_or(1 << worker, Ordering::Relaxed);
        });
        assert_eq!(workers.into_inner(), 0b1111);
    }
}

#[test]
fn worker_zero_is_the_caller() {
    let caller = std::thread::current().id();
    let check = |worker: usize, thread: ThreadId| assert_eq!(worker == 0, thread == caller);
    let pool = Pool::new(3);
    for _ in 0..200 {
        pool.run(9, |worker, _| check(worker, std::thread::current().id()));
    }
}

#[test]
fn a_panic_comes_out_of_run_after_the_other_tasks() {
    let pool = Pool::new(3);
    for culprit in 0..20 {
        let done = AtomicUsize::new(0);
        let run = AssertUnwindSafe(|| {
            pool.run(20, |_, task| {
                if task == culprit {
                    std::panic::resume_unwind(Box::new(task));
                }
                done.fetch_add(1, Ordering::Relaxed);
            });
        });
        let panic = catch_unwind(run).expect_err("one task panics");
        assert_eq!(panic.downcast_ref(), Some(&culprit));
        assert_eq!(done.into_inner(), 19);
        check_run(&pool, 20);
    }
}

#[test]
fn when_all_tasks_panic_one_panic_comes_out() {
    let pool = Pool::new(4);
    let run = AssertUnwindSafe(|| {
        pool.run(50, |_, task| std::panic::resume_unwind(Box::new(task)));
    });
    let panic = catch_unwind(run).expect_err("all tasks panic");
    assert!(panic.downcast_ref::<usize>().is_some());
    check_run(&pool, 50);
}

#[test]
fn a_run_within_a_task_is_done_by_its_caller() {
    let pool = Pool::new(3);
    let inner = AtomicUsize::new(0);
    pool.run(6, |_, _| {
        let here = std::thread::current().id();
        pool.run(5, |worker, _| {
            assert_eq!(worker, 0);
            assert_eq!(std::thread::current().id(), here);
            inner.fetch_add(1, Ordering::Relaxed);
        });
    });
    assert_eq!(inner.into_inner(), 30);
    check_run(&pool, 6);
}

#[test]
fn callers_on_many_threads() {
    let pool = Pool::new(3);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|run| check_run(&pool, run % 6)));
        }
    });
}

#[test]
fn pools_come_and_go() {
    for workers in (0..40).chain([0]) {
        let pool = Pool::new(workers);
        assert_eq!(pool.workers(), workers.max(1));
        if workers % 2 == 0 {
            check_run(&pool, 3);
        }
    }
}

#[test]
#[should_panic(expected = "tasks in one run, where")]
fn more_tasks_than_a_notice_can_count() {
    Pool::new(2).run(usize::MAX, |_, _| ());
}
