//! Matrix products: rows of a weight against rows of activations.

use std::ops::Range;

use crate::dot::Activations;
use crate::kernels::{Kernels, Local};
use crate::pool::Pool;
use crate::share::Shared;
use crate::tensor::Tensor;
use crate::tile::ROWS;

/// Where products are computed: the workers and what they work with.
pub(crate) struct Bench<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) kernels: &'a Kernels,
    /// One working memory a worker.
    pub(crate) locals: &'a mut [Local],
    /// Activations in the form of the weight at hand.
    pub(crate) activations: &'a mut Activations,
}

/// Rows of results: one every `stride` floats.
pub(crate) struct Results<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) stride: usize,
}

/// `out[t][r - rows.start] = x(t) . w[r]` for the weight rows `rows` and `count` rows of
/// activations.
pub(crate) fn product<'x>(
    bench: &mut Bench<'_>,
    w: &Tensor,
    rows: Range<usize>,
    (count, x): (usize, impl Fn(usize) -> &'x [f32] + Sync),
    out: Results<'_>,
) {
    let stride = out.stride;
    assert!(out.data.len() >= (count.max(1) - 1) * stride + rows.len() && rows.len() <= stride);
    let partner = bench.kernels.partner(w.format);
    bench
        .activations
        .fill_on(bench.pool, partner, w.cols, count, x);
    let (kernels, activations) = (bench.kernels, &*bench.activations);
    let tiled = kernels.tiles(count);
    let strips = rows.len().div_ceil(ROWS);
    let out = Shared::new(out.data);
    let locals = Shared::new(bench.locals);
    bench.pool.run(strips, |worker, strip| {
        // SAFETY: worker numbers are not shared by calls that run at the same time.
        let local = unsafe { &mut locals.part(worker..worker + 1)[0] };
        let place = strip * ROWS;
        let len = ROWS.min(rows.len() - place);
        let first = rows.start + place;
        let whole = (count, |i| i);
        kernels.strip(
            w,
            first..first + len,
            local,
            activations,
            whole,
            tiled,
            |t, products| {
                // SAFETY: each place belongs to the one task that has its weight row.
                unsafe { out.part(t * stride + place..t * stride + place + len) }
                    .copy_from_slice(products);
            },
        );
    });
}
