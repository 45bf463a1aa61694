//! What a run of the thread pool costs that does nothing, against starting scoped threads for it.
//!
//! `cargo run --release -p ds4-cpu --example pool_latency [MOST_WORKERS]`
//!
//! Each run has as many tasks as there are workers. `empty` is a run of empty tasks in a tight
//! loop: the first worker there does them all, so it is what the caller pays at least. In `meet`
//! every task waits until all have begun, so all workers take part: the way there and back (not
//! measured with more workers than cores, where spinning tasks would wait for the scheduler).
//! `after sleep` is a run of empty tasks that finds all workers asleep, `scoped` starts and joins
//! the same number of threads. Medians, in microseconds; the ratio is `scoped` over `meet`.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its purpose")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ds4_cpu::Pool;

const RUNS: usize = 20_000;
const SCOPED_RUNS: usize = 500;
const SLEEPS: usize = 100;
/// Longer than workers spin.
const SLEEP: Duration = Duration::from_millis(2);

/// The median time of some calls, in microseconds, with a pause before each.
fn median(calls: usize, pause: Duration, mut call: impl FnMut()) -> f64 {
    let mut times: Vec<_> = (0..calls)
        .map(|_| {
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
            let start = Instant::now();
            call();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[calls / 2].as_secs_f64() * 1e6
}

fn scoped(threads: usize) {
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| std::hint::black_box(()));
        }
    });
}

/// A run in which every worker has one task.
fn meet(pool: &Pool) {
    let arrived = AtomicUsize::new(0);
    pool.run(pool.workers(), |_, _| {
        arrived.fetch_add(1, Ordering::Relaxed);
        while arrived.load(Ordering::Relaxed) < pool.workers() {
            std::hint::spin_loop();
        }
    });
}

fn main() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let most = std::env::args()
        .nth(1)
        .and_then(|most| most.parse().ok())
        .unwrap_or(cores);
    println!("{cores} cores\n");
    println!("workers  empty us  meet us  after sleep us  scoped us  ratio");
    let mut workers = 1;
    while workers <= most {
        let pool = Pool::new(workers);
        let run_empty = || pool.run(workers, |_, _| std::hint::black_box(()));
        let empty = median(RUNS, Duration::ZERO, run_empty);
        let woken = median(SLEEPS, SLEEP, run_empty);
        let scoped = median(SCOPED_RUNS, Duration::ZERO, || scoped(workers));
        print!("{workers:7}  {empty:8.2}  ");
        if (2..=cores).contains(&workers) {
            let met = median(RUNS, Duration::ZERO, || meet(&pool));
            println!(
                "{met:7.2}  {woken:14.2}  {scoped:9.2}  {:4.0}x",
                scoped / met
            );
        } else {
            println!("{:>7}  {woken:14.2}  {scoped:9.2}  {:>5}", "-", "-");
        }
        workers = if workers < 4 {
            workers + 1
        } else {
            workers + workers / 2
        };
    }
}
