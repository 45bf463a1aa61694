//! Compressed rows: windows pooled into rows of the cache.

use ds4_model::weights::Compressor;
use ds4_model::{Ratio, Site, Stream};

use super::{Done, ROW_THREADS};
use crate::{Buffer, Cuda, Tensor};

impl Cuda {
    /// Pools the windows that the plan touches, and writes those that are full.
    pub(super) fn pool_and_emit(
        &mut self,
        u: &Buffer,
        z: &Buffer,
        w: &Compressor<Tensor>,
        stream: Stream,
        at: Site,
    ) -> Done {
        let place = self.memory.place(at.layer);
        let (d, pool_at) = match stream {
            Stream::Latent => (self.shape.head_width as u32, place.pool),
            Stream::Index => (self.shape.index_width as u32, place.index_pool),
        };
        let number = usize::from(at.ratio != Ratio::Four);
        let windows = self.work.windows[number].ptr();
        let count = self.windows[number] as u32;
        let (pooled, left) = (self.work.pooled.ptr(), self.work.left.ptr());
        let runs = self.work.runs.ptr();
        self.device.launch(
            self.kernels.pool_windows,
            [count, d.div_ceil(128), 1],
            [128, 1],
            0,
            &[
                &pooled,
                &left,
                &u.mem.ptr(),
                &z.mem.ptr(),
                &w.ape.plain(),
                &windows,
                &runs,
                &self.memory.pools(),
                &self.memory.args().pool_floats,
                &pool_at,
                &place.ratio,
                &d,
            ],
        )?;
        self.device.launch(
            self.kernels.emit_rows,
            [count + self.plan.runs().len() as u32, 1, 1],
            [ROW_THREADS, 1],
            0,
            &[
                &pooled,
                &left,
                &w.norm.plain(),
                &windows,
                &count,
                &runs,
                &self.work.frequencies.ptr(),
                &self.memory.args(),
                &place,
                &pool_at,
                &d,
                &self.shape.norm_epsilon,
            ],
        )
    }
}
