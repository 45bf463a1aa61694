//! How much memory this process has, over time.

use std::thread;
use std::time::{Duration, Instant};

/// Megabytes of this process that are resident; 0 where the system does not tell.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.unwrap_or(0.0) / 1e3
}

/// Looks until the time is over, or something is wrong already.
pub(crate) fn watch(whole: Duration, mut is_broken: impl FnMut() -> bool) -> Vec<f64> {
    let (begun, mut samples, mut told) = (Instant::now(), Vec::new(), 0);
    while begun.elapsed() < whole && !is_broken() {
        thread::sleep(Duration::from_secs(1).min(whole / 60));
        samples.push(resident());
        let minute = begun.elapsed().as_secs() / 60;
        if minute > told {
            told = minute;
            println!("{minute} min: {:.1} MB", resident());
        }
    }
    samples
}

/// Once everything is warm, which takes a third of the time at most, and at the end: the median of
/// a sixth each.
pub(crate) fn ends(samples: &[f64]) -> (f64, f64) {
    let sixth = (samples.len() / 6).max(1);
    let median = |part: &[f64]| {
        let mut part = part.to_vec();
        part.sort_by(f64::total_cmp);
        part.get(part.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let early = &samples[(2 * sixth).min(samples.len() - 1)..];
    let late = &samples[samples.len() - sixth..];
    (median(&early[..sixth.min(early.len())]), median(late))
}
