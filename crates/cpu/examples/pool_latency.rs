//! What a run of the thread pool costs that does nothing, against starting scoped threads for it.
//!
//! `cargo run --release -p ds4-cpu --example pool_latency [MOST_WORKERS]`
//!
//! Each run has as many empty tasks as there are workers. `run` is the time of runs in a tight loop, where workers find
//! the next job while they spin; `after sleep` that of a run which finds all workers asleep; `scoped` that of starting
//! and joining the same number of threads. Medians, in microseconds; the ratio is `scoped` over `run`.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its purpose")]

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

fn main() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let most = std::env::args()
        .nth(1)
        .and_then(|most| most.parse().ok())
        .unwrap_or(cores);
    println!("{cores} cores\n");
    println!("workers  run us  after sleep us  scoped us   ratio");
    let mut workers = 1;
    while workers <= most {
        let pool = Pool::new(workers);
        let empty = || pool.run(workers, |_, _| std::hint::black_box(()));
        let run = median(RUNS, Duration::ZERO, empty);
        let woken = median(SLEEPS, SLEEP, empty);
        let scoped = median(SCOPED_RUNS, Duration::ZERO, || scoped(workers));
        let ratio = scoped / run;
        println!("{workers:7}  {run:6.2}  {woken:14.2}  {scoped:9.2}  {ratio:5.0}x");
        workers = if workers < 4 {
            workers + 1
        } else {
            workers + workers / 2
        };
    }
}
