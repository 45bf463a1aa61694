//! Comparisons with the goldens. Each returns figures; the limits stand in the tests.

use crate::golden::{EveryPosition, Streams};

/// How far logits are from the goldens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Distance {
    /// Largest difference of a logit, over positions with all logits and the largest logit of every position.
    pub max: f64,
    /// Median over positions of the difference of the largest logit.
    pub median: f64,
    /// Positions whose most likely token differs though the margin is larger than `sure`.
    pub wrong: usize,
    /// Share of positions whose most likely token is the same.
    pub agreement: f64,
}

/// Compares the logits of positions 0, 1, ... with the goldens. `sure` is the margin from which the most likely token
/// must be the same.
pub fn logits(found: &[Vec<f32>], golden: &EveryPosition, sure: f64) -> Distance {
    assert!(!found.is_empty() && found.len() <= golden.argmax.len());
    let mut d = Distance::default();
    let mut differences = Vec::with_capacity(found.len());
    let mut same = 0;
    for (position, logits) in found.iter().enumerate() {
        let (best, top) = argmax(logits);
        let largest = (f64::from(top) - golden.max_logit[position]).abs();
        let sum = (log_sum_exp(logits) - golden.log_sum_exp[position]).abs();
        differences.push(nan_is_far(largest.max(sum)));
        if best == golden.argmax[position] {
            same += 1;
        } else if golden.margin[position] > sure {
            d.wrong += 1;
        }
    }
    let full = golden
        .full
        .iter()
        .filter(|(position, _)| *position < found.len());
    let full = full.flat_map(|(position, expected)| {
        assert_eq!(found[*position].len(), expected.len());
        found[*position]
            .iter()
            .zip(expected)
            .map(|(f, e)| nan_is_far((f64::from(*f) - e).abs()))
    });
    d.max = differences.iter().copied().chain(full).fold(0.0, f64::max);
    differences.sort_by(f64::total_cmp);
    d.median = differences[differences.len() / 2];
    d.agreement = same as f64 / found.len() as f64;
    d
}

/// Largest distance of streams `(rows, streams, width)`, position 0 first, from the goldens: first channels as they are, sums and sums of
/// squares relative to the root of the number of values they add.
pub fn streams(found: &[f32], width: usize, golden: &[Streams]) -> f64 {
    let mut worst = 0.0f64;
    for at in golden {
        let per_row = at.streams.len() * width;
        let row = &found[at.position * per_row..][..per_row];
        for (stream, (sum, squares, head)) in row.chunks_exact(width).zip(&at.streams) {
            let f64s = || stream.iter().map(|v| f64::from(*v));
            let scale = (width as f64).sqrt();
            let by_channel = f64s()
                .zip(head)
                .map(|(f, e)| (f - e).abs())
                .fold(0.0, f64::max);
            let by_sum = (f64s().sum::<f64>() - sum).abs() / scale;
            let by_squares = (f64s().map(|v| v * v).sum::<f64>() - squares).abs()
                / (scale * (squares / width as f64).sqrt().max(1.0));
            for distance in [by_channel, by_sum, by_squares] {
                worst = worst.max(nan_is_far(distance));
            }
        }
    }
    worst
}

/// The most likely token, the lower one among equals, and its logit.
pub fn argmax(logits: &[f32]) -> (u32, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, &logit) in logits.iter().enumerate() {
        if logit > best.1 {
            best = (token as u32, logit);
        }
    }
    best
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let top = f64::from(argmax(logits).1);
    top + logits
        .iter()
        .map(|l| (f64::from(*l) - top).exp())
        .sum::<f64>()
        .ln()
}

pub(crate) fn nan_is_far(distance: f64) -> f64 {
    if distance.is_nan() {
        f64::INFINITY
    } else {
        distance
    }
}
