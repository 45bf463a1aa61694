//! Matrix products: rows of a weight against rows of activations.

use std::ops::Range;

use crate::pool::Pool;
use crate::share::Shared;
use crate::tensor::Tensor;

/// Rows of activations: `count` rows, one every `stride` floats.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) count: usize,
}

impl Inputs<'_> {
    pub(crate) fn row(&self, row: usize, width: usize) -> &[f32] {
        &self.data[row * self.stride..][..width]
    }
}

/// Sum of products, in sixteen lanes.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    debug_assert_eq!(a.len(), b.len());
    let mut lanes = [0.0f32; 16];
    let (a, a_rest) = a.as_chunks::<16>();
    let (b, b_rest) = b.as_chunks::<16>();
    for (a, b) in a.iter().zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    // Pairwise, so that the error grows with the logarithm of the lanes.
    let mut width = 8;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0] + rest
}

/// `out[t][r] = x[t] . w[r]` for the weight rows `rows`; `out` holds a row of `out_stride` floats for each input, in which
/// weight row r goes to place `r - rows.start`.
pub(crate) fn product(
    pool: &Pool,
    locals: &mut [Vec<f32>],
    w: &Tensor,
    rows: Range<usize>,
    x: Inputs<'_>,
    out: (&mut [f32], usize),
) {
    let (out, out_stride) = out;
    assert!(out.len() >= x.count * out_stride && rows.len() <= out_stride);
    let chunk = rows.len().div_ceil(pool.workers() * 8).max(8);
    let out = Shared::new(out);
    let locals = Shared::new(locals);
    pool.run(rows.len().div_ceil(chunk), |worker, task| {
        // SAFETY: worker numbers are not shared by calls that run at the same time.
        let local = unsafe { &mut locals.part(worker..worker + 1)[0] };
        local.resize(w.cols, 0.0);
        for place in task * chunk..(task * chunk + chunk).min(rows.len()) {
            w.decode_row(rows.start + place, local);
            for t in 0..x.count {
                let value = dot(local, x.row(t, w.cols));
                // SAFETY: each place belongs to the one task that has its weight row.
                unsafe { out.set(t * out_stride + place, value) };
            }
        }
    });
}
