//! Experts of few rows by integers: activations as eight-bit codes, weights as the bytes that they
//! expand to.

use ds4_gguf::Format;

use crate::device::{Kernel, Ptr};
use crate::product::Tiles;
use crate::{Buffer, Cuda, Error, Tensor};

/// Warps of a block, as many as the registers of `coded.cu` allow.
const MOST_WARPS: u32 = 16;

/// Most tokens of an expert that meet its weights at once, as in `coded.cu`.
pub(crate) const CODED_TOKENS: usize = 4;

/// How the kernels of a format go about it, as in `coded.cuh`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coded {
    pub(crate) gated: Kernel,
    pub(crate) down: Kernel,
    /// Lanes that share a row, and groups of 32 that each takes at a time.
    lanes: u32,
    groups: u32,
    /// Bytes of 256 weights.
    body: u32,
    head: u32,
    /// Bytes of shared memory that look-up tables take.
    table: u32,
}

impl Coded {
    /// For the formats that have such kernels, which `kernel` looks up.
    pub(crate) fn of(
        format: Format,
        kernel: impl Fn(&str) -> Result<Kernel, Error>,
    ) -> Result<Option<Self>, Error> {
        let (lanes, groups, body, head, table) = match format {
            Format::Iq2Xxs => (32, 1, 64, 8, 256 * 128),
            Format::Q2K => (16, 4, 64, 20, 0),
            Format::Q4K => (32, 2, 128, 16, 0),
            Format::Mxfp4 => (32, 1, 128, 8, 0),
            _ => return Ok(None),
        };
        Ok(Some(Self {
            gated: kernel("coded_gated")?,
            down: kernel("coded_down")?,
            lanes,
            groups,
            body,
            head,
            table,
        }))
    }

    /// The order of activations.
    fn order(&self) -> (u32, u32) {
        (self.lanes, self.groups)
    }

    /// Bytes of a warp's ring: two pieces of four rows a lane.
    fn ring(&self, cols: usize) -> u32 {
        2 * 4 * (32 / self.lanes) * (cols as u32 / 256) * (self.body + self.head)
    }

    /// Warps of a block, and its shared memory; none if not even a few warps fit.
    fn block(&self, cols: usize, shared: u32) -> Option<(u32, u32)> {
        let warps = (shared.saturating_sub(self.table) / self.ring(cols)).min(MOST_WARPS);
        (warps >= 4).then(|| (warps, self.table + warps * self.ring(cols)))
    }
}

/// Most bytes that a row of codes takes in any order.
pub(crate) fn code_bytes(width: usize) -> usize {
    (width.next_multiple_of(2048) + width / 4).next_multiple_of(16)
}

/// Bytes of a row of codes in natural order.
pub(crate) fn natural_bytes(width: usize) -> usize {
    (width + width / 4).next_multiple_of(16)
}

impl Cuda {
    /// The kernels that multiply this weight by integers, if it has some that fit the card.
    pub(crate) fn coded(&self, w: &Tensor) -> Option<&Coded> {
        let coded = self.kernels.of(w.format).coded.as_ref()?;
        let fits = coded.block(w.cols, self.device.shared()).is_some();
        (fits && w.cols.is_multiple_of(256)).then_some(coded)
    }

    /// The first rows of a buffer as codes in natural order, as if it had rows of `width` values.
    pub(crate) fn codes(&self, x: &Buffer, width: usize) -> Result<Ptr, Error> {
        let codes = x.codes();
        if x.coded.replace(width) != width {
            let rows = self.rows(x) * x.width / width;
            self.to_codes(codes, x.mem.ptr(), width, rows, (1, 1))?;
        }
        Ok(codes)
    }

    /// Rows of floats as codes, in the order that a weight's kernels want.
    fn to_codes(
        &self,
        out: Ptr,
        x: Ptr,
        cols: usize,
        rows: usize,
        (lanes, groups): (u32, u32),
    ) -> Result<(), Error> {
        self.device.launch(
            self.kernels.to_codes,
            [(cols * rows).div_ceil(1024) as u32, 1, 1],
            [256, 1],
            0,
            &[&out, &x, &(cols as u32), &(rows as u32), &lanes, &groups],
        )
    }

    /// `hidden[place] = weight * swiglu(gate x, up x)` as floats, for gathered picks of `n` rows.
    pub(crate) fn coded_gated(
        &self,
        coded: &Coded,
        x: Ptr,
        n: usize,
        (gate, up): (&Tensor, &Tensor),
        tiles: Tiles,
    ) -> Result<(), Error> {
        let work = &self.work.experts;
        self.to_codes(work.codes.ptr(), x, gate.cols, n, coded.order())?;
        let (warps, shared) = self.block(coded, gate);
        self.device.launch(
            coded.gated,
            [self.device.processors(), 1, 1],
            [32 * warps, 1],
            shared,
            &[
                &work.gate.ptr(),
                &work.codes.ptr(),
                &gate.weight(),
                &up.weight(),
                &tiles.list,
                &tiles.count,
                &work.token_of.ptr(),
                &work.weight_of.ptr(),
                &self.shape.swiglu_limit,
            ],
        )
    }

    /// `down(hidden[place])` for `count` gathered picks.
    pub(crate) fn coded_down(
        &self,
        coded: &Coded,
        w: &Tensor,
        count: usize,
        tiles: Tiles,
    ) -> Result<(), Error> {
        let work = &self.work.experts;
        self.to_codes(
            work.codes.ptr(),
            work.gate.ptr(),
            w.cols,
            count,
            coded.order(),
        )?;
        let (warps, shared) = self.block(coded, w);
        self.device.launch(
            coded.down,
            [self.device.processors(), 1, 1],
            [32 * warps, 1],
            shared,
            &[
                &work.down.ptr(),
                &work.codes.ptr(),
                &w.weight(),
                &tiles.list,
                &tiles.count,
            ],
        )
    }

    fn block(&self, coded: &Coded, w: &Tensor) -> (u32, u32) {
        let block = coded.block(w.cols, self.device.shared());
        block.expect("a weight whose rows fit, as `coded` has seen")
    }
}
