//! Matrix products: rows of a weight against rows of activations.

use std::ops::Range;

use crate::dot::Activations;
use crate::kernels::Kernels;
use crate::pool::Pool;
use crate::share::Shared;
use crate::tensor::Tensor;

/// Where products are computed: the workers and what they work with.
pub(crate) struct Bench<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) kernels: &'a Kernels,
    /// One working buffer a worker.
    pub(crate) locals: &'a mut [Vec<f32>],
    /// Activations in the form of the weight at hand.
    pub(crate) activations: &'a mut Activations,
}

/// Rows of results: one every `stride` floats.
pub(crate) struct Results<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) stride: usize,
}

/// `out[t][r - rows.start] = x[t] . w[r]` for the weight rows `rows` and all rows of `x`.
pub(crate) fn product<'x>(
    bench: &mut Bench<'_>,
    w: &Tensor,
    rows: Range<usize>,
    x: impl ExactSizeIterator<Item = &'x [f32]>,
    out: Results<'_>,
) {
    let count = x.len();
    let stride = out.stride;
    assert!(out.data.len() >= (count.max(1) - 1) * stride + rows.len() && rows.len() <= stride);
    bench
        .activations
        .fill(bench.kernels.partner(w.format), w.cols, x);
    let (kernels, activations) = (bench.kernels, &*bench.activations);
    let chunk = rows.len().div_ceil(bench.pool.workers() * 8).max(8);
    let out = Shared::new(out.data);
    let locals = Shared::new(bench.locals);
    bench.pool.run(rows.len().div_ceil(chunk), |worker, task| {
        // SAFETY: worker numbers are not shared by calls that run at the same time.
        let local = unsafe { &mut locals.part(worker..worker + 1)[0] };
        for place in task * chunk..(task * chunk + chunk).min(rows.len()) {
            kernels.meet(
                w,
                rows.start + place,
                local,
                activations,
                0..count,
                |t, value| {
                    // SAFETY: each place belongs to the one task that has its weight row.
                    unsafe { out.set(t * stride + place, value) };
                },
            );
        }
    });
}
