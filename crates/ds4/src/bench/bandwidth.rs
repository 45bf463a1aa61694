//! What this machine's memory delivers: the yardstick for decoding, which mostly reads weights.

use std::hint::black_box;
use std::thread;
use std::time::Instant;

use crate::hardware::Memory;

/// Most bytes to read over; enough that no cache holds them.
const MOST: u64 = 1 << 30;
/// Passes; the fastest counts, since nothing but a disturbance makes one slower.
const PASSES: usize = 5;

/// Bytes a second that `threads` threads read together.
pub(super) fn measure(threads: usize, memory: Option<Memory>) -> f64 {
    let available = memory.map_or(MOST, |memory| memory.available);
    let words = (available / 8).min(MOST) as usize / 8 / threads.max(1);
    let mut parts: Vec<Vec<u64>> = (0..threads.max(1)).map(|_| Vec::new()).collect();
    // Each thread writes its own part first, so that it lies in memory near it.
    thread::scope(|scope| {
        for (part, seed) in parts.iter_mut().zip(1..) {
            scope.spawn(move || part.extend((0..words as u64).map(|at| at ^ seed)));
        }
    });
    let pass = |_| {
        let begun = Instant::now();
        thread::scope(|scope| {
            for part in &parts {
                scope.spawn(|| black_box(sum(black_box(part))));
            }
        });
        begun.elapsed().as_secs_f64()
    };
    let fastest = (0..PASSES).map(pass).fold(f64::INFINITY, f64::min);
    (8 * words * parts.len()) as f64 / fastest.max(1e-9)
}

/// Reads everything, in as many sums as hide the latency of an addition.
fn sum(words: &[u64]) -> u64 {
    let (chunks, rest) = words.as_chunks::<32>();
    let mut sums = [0u64; 32];
    for chunk in chunks {
        for (sum, word) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter()
        .chain(rest)
        .fold(0, |sum, word| sum.wrapping_add(*word))
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn every_word_is_read() {
        let words: Vec<u64> = (1..=1000).collect();
        assert_eq!(sum(&words), 500_500);
        assert_eq!(sum(&words[..31]), 496);
    }
}
