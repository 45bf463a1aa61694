//! Attention of one token: all heads over the rows it sees, in one pass with a running softmax.

use crate::product::dot;

/// Rows decoded at a time; a tile of them stays in the second-level cache for all heads.
pub(crate) const TILE: usize = 32;

/// The running softmax of every head of one token.
pub(crate) struct Heads<'a> {
    /// Queries, `(H, D)`.
    pub(crate) q: &'a [f32],
    /// Weighted sums of rows, `(H, D)`; divided by the denominators at the end.
    pub(crate) out: &'a mut [f32],
    /// Largest score so far and sum of exponentials, by head.
    pub(crate) state: &'a mut [(f32, f32)],
    pub(crate) d: usize,
}

impl Heads<'_> {
    /// Begins with the sinks alone: a logit without a row.
    pub(crate) fn begin(&mut self, sinks: &[f32]) {
        self.out.fill(0.0);
        for (state, sink) in self.state.iter_mut().zip(sinks) {
            *state = (*sink, 1.0);
        }
    }

    /// Joins the rows of a tile, `(rows, D)`.
    pub(crate) fn join(&mut self, tile: &[f32]) {
        let d = self.d;
        let scale = 1.0 / (d as f32).sqrt();
        let mut scores = [0.0f32; TILE];
        let heads = self
            .q
            .chunks_exact(d)
            .zip(self.out.chunks_exact_mut(d))
            .zip(&mut *self.state);
        for ((q, out), (max, sum)) in heads {
            let scores = &mut scores[..tile.len() / d];
            let mut top = *max;
            for (score, row) in scores.iter_mut().zip(tile.chunks_exact(d)) {
                *score = dot(q, row) * scale;
                top = top.max(*score);
            }
            if top > *max {
                let shrink = (*max - top).exp();
                *sum *= shrink;
                out.iter_mut().for_each(|o| *o *= shrink);
                *max = top;
            }
            for (score, row) in scores.iter().zip(tile.chunks_exact(d)) {
                let p = (score - top).exp();
                *sum += p;
                for (o, v) in out.iter_mut().zip(row) {
                    *o += p * v;
                }
            }
        }
    }

    /// Divides by the denominators.
    pub(crate) fn finish(&mut self) {
        for (out, (_, sum)) in self.out.chunks_exact_mut(self.d).zip(&*self.state) {
            let share = 1.0 / sum;
            out.iter_mut().for_each(|o| *o *= share);
        }
    }
}
