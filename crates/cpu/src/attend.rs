//! Attention of one token: all heads over the rows it sees, in one pass with a running softmax.

use crate::dot::Simd;

#[cfg(target_arch = "x86_64")]
mod avx512;

/// Rows decoded at a time; a tile of them stays in the second-level cache for all heads.
pub(crate) const TILE: usize = 32;

/// Lanes in which products are added.
const LANES: usize = 16;

/// The running softmax of every head of one token.
pub(crate) struct Heads<'a> {
    /// Queries, `(H, D)`.
    pub(crate) q: &'a [f32],
    /// Weighted sums of rows, `(H, D)`; divided by the denominators at the end.
    pub(crate) out: &'a mut [f32],
    /// Largest score so far and sum of exponentials, by head.
    pub(crate) state: &'a mut [(f32, f32)],
    pub(crate) d: usize,
    /// Instructions the loops are compiled for.
    pub(crate) simd: Simd,
}

impl Heads<'_> {
    /// Begins with the sinks alone: a logit without a row.
    pub(crate) fn begin(&mut self, sinks: &[f32]) {
        self.out.fill(0.0);
        for (state, sink) in self.state.iter_mut().zip(sinks) {
            *state = (*sink, 1.0);
        }
    }

    /// Joins the rows of a tile, `(rows, D)`, at most [`TILE`] of them.
    pub(crate) fn join(&mut self, tile: &[f32]) {
        match self.simd {
            Simd::Scalar => self.join_with::<false>(tile),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is chosen only where the machine has it.
            Simd::Avx2 => unsafe { self.join_avx2(tile) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is chosen only where the machine has it.
            Simd::Avx512 => unsafe { self.join_avx512(tile) },
            #[cfg(not(target_arch = "x86_64"))]
            Simd::Avx2 | Simd::Avx512 => unreachable!("levels of another machine"),
            // Every 64-bit ARM has fused multiplication: the loops need no other compilation.
            #[cfg(target_arch = "aarch64")]
            Simd::Neon | Simd::NeonDot => self.join_with::<true>(tile),
            #[cfg(not(target_arch = "aarch64"))]
            Simd::Neon | Simd::NeonDot => unreachable!("levels of another machine"),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn join_avx2(&mut self, tile: &[f32]) {
        self.join_with::<true>(tile);
    }

    /// Four heads at a time; the loops for what is left over.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vl,fma")]
    fn join_avx512(&mut self, tile: &[f32]) {
        let d = self.d;
        if !d.is_multiple_of(avx512::COLUMNS) || !self.state.len().is_multiple_of(avx512::HEADS) {
            return self.join_with::<true>(tile);
        }
        let heads = self
            .q
            .chunks_exact(avx512::HEADS * d)
            .zip(self.out.chunks_exact_mut(avx512::HEADS * d))
            .zip(self.state.as_chunks_mut().0);
        for ((q, out), state) in heads {
            avx512::join(q, out, state, tile, d);
        }
    }

    /// The loops, compiled once for each level.
    #[inline(always)]
    fn join_with<const FUSED: bool>(&mut self, tile: &[f32]) {
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
                *score = dot::<FUSED>(q, row) * scale;
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
                    *o = fused::<FUSED>(p, *v, *o);
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

/// `a b + c`, in one rounding where the machine does that in one instruction.
#[inline(always)]
fn fused<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn dot<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane = fused::<FUSED>(*a, *b, *lane);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    // Pairwise, so that the error grows with the logarithm of the lanes.
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0] + rest
}
