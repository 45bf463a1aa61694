//! Matrix products: which kernel, over which grid.

use crate::device::Ptr;
use crate::kernels::FEW;
use crate::work::TILE_TOKENS;
use crate::{Cuda, Error, Tensor};

/// Rows of a weight that a tile takes, as in `matmul.cu`.
const TILE_ROWS: usize = 128;

/// Rows of activations on their way through a weight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub(crate) from: Ptr,
    /// How many.
    pub(crate) count: usize,
    /// Floats from one to the next.
    pub(crate) stride: usize,
    /// Which rows of `from`, if not the first ones.
    pub(crate) gather: Ptr,
}

impl Rows {
    /// Rows that follow each other.
    pub(crate) fn dense(from: Ptr, count: usize, stride: usize) -> Self {
        Self {
            from,
            count,
            stride,
            gather: Ptr::NULL,
        }
    }
}

/// Picks gathered by expert: tiles of at most [`TILE_TOKENS`] rows, listed on the card.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiles {
    pub(crate) list: Ptr,
    pub(crate) count: Ptr,
    /// No more than these.
    pub(crate) most: usize,
}

impl Cuda {
    /// `out = x w^T`, for a weight of `groups` blocks along its diagonal.
    pub(crate) fn product(
        &self,
        out: Ptr,
        x: Rows,
        w: &Tensor,
        groups: usize,
    ) -> Result<(), Error> {
        if x.count == 0 {
            return Ok(());
        }
        let group_rows = (w.rows / groups) as u32;
        let kernels = self.kernels.of(w.format);
        let (n, x_stride, out_stride) = (x.count as u32, x.stride as u32, w.rows as u32);
        let weight = w.weight();
        if x.count > FEW {
            let grid = [
                w.rows.div_ceil(groups).div_ceil(TILE_ROWS) as u32,
                x.count.div_ceil(TILE_TOKENS) as u32,
                groups as u32,
            ];
            return self.device.launch(
                kernels.matmul,
                grid,
                [256, 1],
                0,
                &[
                    &out,
                    &x.from,
                    &weight,
                    &n,
                    &x_stride,
                    &out_stride,
                    &x.gather,
                    &group_rows,
                    &Ptr::NULL,
                    &Ptr::NULL,
                ],
            );
        }
        let (number, rows) = match x.count {
            1 => (0, 4),
            2 => (1, 4),
            3 | 4 => (2, 4),
            _ => (3, 2),
        };
        // A warp or more along a row, so that each thread has a group of it.
        let lanes = (w.cols as u32 / 32).next_power_of_two().clamp(32, 128);
        let sets = 128 / lanes;
        self.device.launch(
            kernels.matvec[number],
            [group_rows.div_ceil(rows * sets), 1, groups as u32],
            [lanes, sets],
            0,
            &[
                &out,
                &x.from,
                &weight,
                &n,
                &x_stride,
                &out_stride,
                &x.gather,
                &group_rows,
            ],
        )
    }

    /// The same for gathered rows, each tile against the slab of its expert.
    pub(crate) fn product_of_experts(
        &self,
        out: Ptr,
        x: Rows,
        w: &Tensor,
        tiles: Tiles,
    ) -> Result<(), Error> {
        let rows = w.rows as u32;
        self.device.launch(
            self.kernels.of(w.format).matmul,
            [w.rows.div_ceil(TILE_ROWS) as u32, tiles.most as u32, 1],
            [256, 1],
            0,
            &[
                &out,
                &x.from,
                &w.weight(),
                &(x.count as u32),
                &(x.stride as u32),
                &rows,
                &x.gather,
                &rows,
                &tiles.list,
                &tiles.count,
            ],
        )
    }
}
