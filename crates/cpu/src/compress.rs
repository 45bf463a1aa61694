//! Compressors: windows of tokens pooled into rows, channel by channel.
//!
//! Softmax over a window is associative, so an open window is carried as three numbers a channel: the largest score, the
//! sum of exponentials relative to it, and the sum of values weighted by them. However the tokens are cut into steps,
//! each channel sees the same additions in the same order.
//!
//! In a slot's pool the sums of one compressor are lanes of `3 d` floats (all maxima, all sums, all weighted sums):
//! ratio 128 has one lane, the open window; ratio 4 has half A of the last complete window, open A, open B.

use std::ops::Range;

use ds4_model::Ratio;
use ds4_model::kv::{SUM_FLOATS, pool_lanes};

use crate::share::Shared;

/// Channels that one task carries through all tokens of a run.
pub(crate) const CHANNELS: usize = 32;

/// The softmax of one channel over one window, so far.
#[derive(Clone, Copy, Debug)]
struct Sum {
    max: f32,
    sum: f32,
    weighted: f32,
}

impl Sum {
    const EMPTY: Self = Self {
        max: f32::NEG_INFINITY,
        sum: 0.0,
        weighted: 0.0,
    };

    fn push(&mut self, z: f32, u: f32) {
        if z > self.max {
            let shrink = (self.max - z).exp();
            self.sum = self.sum * shrink + 1.0;
            self.weighted = self.weighted * shrink + u;
            self.max = z;
        } else {
            let e = (z - self.max).exp();
            self.sum += e;
            self.weighted += e * u;
        }
    }

    /// The pooled value of this window joined with an earlier one, which may be empty.
    fn joined(self, earlier: Self) -> f32 {
        let max = self.max.max(earlier.max);
        let (a, b) = ((earlier.max - max).exp(), (self.max - max).exp());
        (earlier.weighted * a + self.weighted * b) / (earlier.sum * a + self.sum * b)
    }
}

type Lane = [Sum; CHANNELS];

/// Sets the sums of a compressor of `d` channels to those of empty windows.
pub(crate) fn clear(pool: &mut [f32], d: usize) {
    for lane in pool.chunks_exact_mut(SUM_FLOATS * d) {
        lane[..d].fill(f32::NEG_INFINITY);
        lane[d..].fill(0.0);
    }
}

/// One run's inputs to a compressor of `d` channels.
pub(crate) struct Tokens<'a> {
    pub(crate) ratio: Ratio,
    pub(crate) d: usize,
    /// Position of the first token.
    pub(crate) first: u32,
    /// Values, `(tokens, lanes d)`.
    pub(crate) u: &'a [f32],
    /// Scores, `(tokens, lanes d)`.
    pub(crate) z: &'a [f32],
    /// Position bias, `(ratio, lanes d)`.
    pub(crate) ape: &'a [f32],
}

/// Feeds the tokens to the channels `channels` (at most [`CHANNELS`]) and gives the pooled value of each window they
/// complete to `emit(window, channel, value)`, windows counted from the first one completed here.
///
/// # Safety
/// Nobody else may access these channels of the compressor whose sums begin at `pool_at` meanwhile.
pub(crate) unsafe fn feed(
    tokens: &Tokens<'_>,
    pool: &Shared<'_, f32>,
    pool_at: usize,
    channels: Range<usize>,
    mut emit: impl FnMut(usize, usize, f32),
) {
    let (d, r) = (tokens.d, tokens.ratio.tokens());
    let width = tokens.ratio.lanes() * d;
    let lanes = pool_lanes(tokens.ratio);
    let mut open = [[Sum::EMPTY; CHANNELS]; 3];
    for (number, lane) in open[..lanes].iter_mut().enumerate() {
        // SAFETY: the contract of this function.
        unsafe {
            load(
                lane,
                pool,
                pool_at + number * SUM_FLOATS * d,
                d,
                channels.clone(),
            );
        }
    }
    let mut window = 0;
    let rows = tokens
        .u
        .chunks_exact(width)
        .zip(tokens.z.chunks_exact(width));
    for ((u, z), pos) in rows.zip(tokens.first as usize..) {
        let ape = &tokens.ape[pos % r * width..][..width];
        for (i, channel) in channels.clone().enumerate() {
            match tokens.ratio {
                Ratio::Four => {
                    let b = d + channel;
                    open[1][i].push(z[channel] + ape[channel], u[channel]);
                    open[2][i].push(z[b] + ape[b], u[b]);
                }
                _ => open[0][i].push(z[channel] + ape[channel], u[channel]),
            }
        }
        if (pos + 1).is_multiple_of(r) {
            for (i, channel) in channels.clone().enumerate() {
                emit(window, channel, close(tokens.ratio, &mut open, i));
            }
            window += 1;
        }
    }
    for (number, lane) in open[..lanes].iter().enumerate() {
        // SAFETY: the contract of this function.
        unsafe {
            store(
                lane,
                pool,
                pool_at + number * SUM_FLOATS * d,
                d,
                channels.clone(),
            );
        }
    }
}

/// The pooled value of a complete window, whose sums become those of the next one.
fn close(ratio: Ratio, open: &mut [Lane; 3], i: usize) -> f32 {
    match ratio {
        Ratio::Four => {
            let value = open[2][i].joined(open[0][i]);
            // Half A goes to the next row, half B went to its own.
            open[0][i] = open[1][i];
            open[1][i] = Sum::EMPTY;
            open[2][i] = Sum::EMPTY;
            value
        }
        _ => {
            let sum = std::mem::replace(&mut open[0][i], Sum::EMPTY);
            sum.weighted / sum.sum
        }
    }
}

/// # Safety
/// As [`feed`].
unsafe fn load(
    lane: &mut Lane,
    pool: &Shared<'_, f32>,
    at: usize,
    d: usize,
    channels: Range<usize>,
) {
    for (sum, channel) in lane.iter_mut().zip(channels) {
        // SAFETY: the contract of this function.
        let read = |part: usize| unsafe { pool.get(at + part * d + channel) };
        *sum = Sum {
            max: read(0),
            sum: read(1),
            weighted: read(2),
        };
    }
}

/// # Safety
/// As [`feed`].
unsafe fn store(lane: &Lane, pool: &Shared<'_, f32>, at: usize, d: usize, channels: Range<usize>) {
    for (sum, channel) in lane.iter().zip(channels) {
        for (part, value) in [sum.max, sum.sum, sum.weighted].into_iter().enumerate() {
            // SAFETY: the contract of this function.
            unsafe { pool.set(at + part * d + channel, value) };
        }
    }
}
