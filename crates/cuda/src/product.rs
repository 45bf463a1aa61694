//! Matrix products: which kernel, over which grid.

use ds4_gguf::Format;

use crate::buffer::{Halved, turned_width};
use crate::device::Ptr;
use crate::kernels::{FEW, SOME, WIDE_TOKENS};
use crate::narrow::Product;
use crate::work::TILE_TOKENS;
use crate::{Arithmetic, Buffer, Cuda, Error, Tensor};

/// Rows of a weight that a tile takes, as in `matmul.cu`.
const TILE_ROWS: usize = 128;

/// Shared memory of a block of `attend_tiles`.
pub(crate) const ATTEND_SHARED: u32 = 150_016;

/// Shared memory of a block of `attend_few`.
pub(crate) const ATTEND_FEW_SHARED: u32 = 110_592;

/// Rows of a weight that a small tile takes, as in `tiles.cu`; a large one takes twice as many.
const SLIM_ROWS: usize = 128;

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
    /// Whether products of `n` rows go by tensor cores.
    pub(crate) fn by_halves(&self, n: usize) -> bool {
        n > SOME && self.options.arithmetic == Arithmetic::Half
    }

    /// Whether products of `n` rows go by the kernels of `narrow.cu`.
    pub(crate) fn by_narrow(&self, n: usize) -> bool {
        n <= SOME && self.options.arithmetic == Arithmetic::Half
    }

    /// `out = x w^T` for `n` rows of a buffer, by whichever kernel suits.
    pub(crate) fn dense(
        &self,
        out: Ptr,
        x: &Buffer,
        n: usize,
        w: &Tensor,
        groups: usize,
    ) -> Result<(), Error> {
        let stride = w.cols * groups;
        let whole = groups == 1 || (w.rows / groups).is_multiple_of(16);
        if self.by_narrow(n) && whole && (!w.fine || w.format == Format::F16) {
            return self.narrow(n, &[Product::new(out, x, w).of(groups)]);
        }
        let suits = groups == 1 || w.cols.is_multiple_of(128);
        if !self.by_halves(n) || !suits || (w.fine && w.format != Format::F16) {
            return self.product(out, Rows::dense(self.floats(x)?, n, stride), w, groups);
        }
        if w.fine {
            let fine = self.work.fine.ptr();
            self.work.fine_of.set(Ptr::NULL);
            self.to_half(fine, self.floats(x)?, w.cols, n, 2, Halved::Turned)?;
            return self.tiles(out, fine, n, w, groups, 2);
        }
        self.tiles(out, self.half(x, Halved::Turned)?, n, w, groups, 1)
    }

    /// The rows of a buffer as binary16.
    pub(crate) fn half(&self, x: &Buffer, order: Halved) -> Result<Ptr, Error> {
        let half = x.half();
        if x.halved.get() != order {
            let floats = self.floats(x)?;
            self.to_half(half, floats, x.width, self.rows(x), 1, order)?;
            x.halved.set(order);
        }
        Ok(half)
    }

    /// The rows of a buffer as floats, which they may not be yet.
    pub(crate) fn floats(&self, x: &Buffer) -> Result<Ptr, Error> {
        let floats = x.mem.ptr();
        if x.only_half.replace(false) {
            let count = self.rows(x) * x.width;
            let turned = x.halved.get() == Halved::Turned;
            self.device.launch(
                self.kernels.from_half,
                [count.div_ceil(1024) as u32, 1, 1],
                [256, 1],
                0,
                &[
                    &floats,
                    &x.half(),
                    &(x.width as u32),
                    &(count as u64),
                    &u32::from(turned),
                ],
            )?;
        }
        Ok(floats)
    }

    pub(crate) fn to_half(
        &self,
        out: Ptr,
        x: Ptr,
        width: usize,
        rows: usize,
        passes: u32,
        order: Halved,
    ) -> Result<(), Error> {
        let turn = order == Halved::Turned;
        let wide = if turn { turned_width(width) } else { width };
        self.device.launch(
            self.kernels.to_half,
            [(wide * rows).div_ceil(1024) as u32, 1, 1],
            [256, 1],
            0,
            &[
                &out,
                &x,
                &(width as u32),
                &((width * rows) as u64),
                &passes,
                &u32::from(turn),
            ],
        )
    }

    /// `out = x w^T` on tensor cores, for rows of binary16, turned.
    pub(crate) fn tiles(
        &self,
        out: Ptr,
        x: Ptr,
        n: usize,
        w: &Tensor,
        groups: usize,
        passes: u32,
    ) -> Result<(), Error> {
        let kernels = self.kernels.of(w.format);
        let group_rows = w.rows / groups;
        let stride = turned_width(w.cols * groups) as u32 * passes;
        let blocks = |factor: usize| {
            let rows = group_rows.div_ceil(factor * SLIM_ROWS);
            [rows, n.div_ceil(factor * WIDE_TOKENS / 2), groups].map(|count| count as u32)
        };
        // A processor has one large block or two small ones, which do a quarter of its work each, and
        // take a little longer for that than half as long.
        let [large, small] = [1, 2].map(|each| {
            let count: u32 = blocks(3 - each).iter().product();
            count.div_ceil(each as u32 * self.device.processors())
        });
        let (kernel, grid, threads, shared) = match 3 * large <= 2 * small {
            true => (kernels.tiles, blocks(2), 256, kernels.tile_bytes),
            false => (kernels.tiles_slim, blocks(1), 128, kernels.slim_bytes),
        };
        self.device.launch(
            kernel,
            grid,
            [threads, 1],
            shared,
            &[
                &out,
                &x,
                &w.weight(),
                &(n as u32),
                &stride,
                &(w.rows as u32),
                &(group_rows as u32),
                &passes,
            ],
        )
    }

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
