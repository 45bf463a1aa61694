//! Mixture of experts: a matrix-vector product a pick while rows are few, tiles of gathered rows
//! when they are many.

use ds4_model::weights::Ffn;

use crate::buffer::Halved;
use crate::device::Ptr;
use crate::kernels::{FEW, WIDE_TOKENS};
use crate::product::{Rows, Tiles};
use crate::work::TILE_TOKENS;
use crate::{Buffer, Cuda, Error, Picks, Tensor};

impl Cuda {
    /// The shared expert's result, into its working buffer.
    pub(crate) fn shared_expert(&self, x: &Buffer, n: usize, w: &Ffn<Tensor>) -> Result<(), Error> {
        let work = &self.work.experts;
        if self.by_halves(n) && w.gate.format == w.up.format {
            let tokens = Tiles {
                list: Ptr::NULL,
                count: Ptr::NULL,
                most: n.div_ceil(WIDE_TOKENS),
            };
            let hidden = work.shared_turned.ptr();
            self.gated_tiles(
                hidden,
                (x, n, Ptr::NULL),
                (&w.gate, &w.up),
                tokens,
                Ptr::NULL,
            )?;
            return self.tiles(work.shared.ptr(), hidden, n, &w.down, 1, 1);
        }
        let (gate, up) = (work.shared_gate.mem.ptr(), work.shared_up.ptr());
        work.shared_gate.forget();
        self.dense(gate, x, n, &w.gate, 1)?;
        self.dense(up, x, n, &w.up, 1)?;
        self.gate(gate, up, Ptr::NULL, n)?;
        self.dense(work.shared.ptr(), &work.shared_gate, n, &w.down, 1)
    }

    /// Routed experts of few rows; adds the shared one's result.
    pub(crate) fn few_experts(
        &self,
        y: &Buffer,
        x: &Buffer,
        picks: &Picks,
        n: usize,
        w: &Ffn<Tensor>,
    ) -> Result<(), Error> {
        let work = &self.work.experts;
        let used = picks.width as u32;
        let (rows, columns) = (w.gate.rows as u32, w.down.rows as u32);
        let lanes = |w: &Tensor| (w.cols as u32 / 32).next_power_of_two().clamp(32, 128);
        self.device.launch(
            self.kernels.of(w.gate.format).gate_up,
            [rows.div_ceil(2), n as u32 * used, 1],
            [lanes(&w.gate), 1],
            0,
            &[
                &work.gate.ptr(),
                &x.mem.ptr(),
                &w.gate.weight(),
                &w.up.weight(),
                &picks.ids.ptr(),
                &picks.weights.ptr(),
                &used,
                &self.shape.swiglu_limit,
            ],
        )?;
        self.device.launch(
            self.kernels.of(w.down.format).down,
            [columns.div_ceil(4), n as u32, 1],
            [128, 1],
            0,
            &[
                &y.mem.ptr(),
                &work.gate.ptr(),
                &work.shared.ptr(),
                &w.down.weight(),
                &picks.ids.ptr(),
                &used,
            ],
        )
    }

    /// Routed experts of many rows; adds the shared one's result.
    pub(crate) fn many_experts(
        &self,
        y: &Buffer,
        x: &Buffer,
        picks: &Picks,
        n: usize,
        w: &Ffn<Tensor>,
    ) -> Result<(), Error> {
        let count = n * picks.width;
        if self.by_halves(n) {
            self.expert_tiles(x, count, w, self.gather(picks, n, WIDE_TOKENS)?)?;
        } else {
            self.expert_products(x, count, w, self.gather(picks, n, TILE_TOKENS)?)?;
        }
        self.combine(y, picks, n)
    }

    /// Gate, up and down of `count` gathered picks, as floats.
    fn expert_products(
        &self,
        x: &Buffer,
        count: usize,
        w: &Ffn<Tensor>,
        tiles: Tiles,
    ) -> Result<(), Error> {
        let work = &self.work.experts;
        let gathered = Rows {
            gather: work.token_of.ptr(),
            ..Rows::dense(x.mem.ptr(), count, x.width)
        };
        self.product_of_experts(work.gate.ptr(), gathered, &w.gate, tiles)?;
        self.product_of_experts(work.up.ptr(), gathered, &w.up, tiles)?;
        self.gate(work.gate.ptr(), work.up.ptr(), work.weight_of.ptr(), count)?;
        let hidden = Rows::dense(work.gate.ptr(), count, self.shape.expert_width);
        self.product_of_experts(work.down.ptr(), hidden, &w.down, tiles)
    }

    /// The same on tensor cores.
    fn expert_tiles(
        &self,
        x: &Buffer,
        count: usize,
        w: &Ffn<Tensor>,
        tiles: Tiles,
    ) -> Result<(), Error> {
        let work = &self.work.experts;
        let hidden = work.turned.ptr();
        let x = (x, count, work.token_of.ptr());
        self.gated_tiles(hidden, x, (&w.gate, &w.up), tiles, work.weight_of.ptr())?;
        let (rows, kernels) = (w.down.rows, self.kernels.of(w.down.format));
        self.device.launch(
            kernels.tiles_down,
            [rows.div_ceil(256) as u32, tiles.most as u32, 1],
            [256, 1],
            kernels.tile_bytes,
            &[
                &work.down.ptr(),
                &hidden,
                &w.down.weight(),
                &(rows as u32),
                &tiles.list,
                &tiles.count,
            ],
        )
    }

    /// swiglu(gate x, up x), times weights where there are any, as binary16; `x` is rows, how many,
    /// and which ones.
    fn gated_tiles(
        &self,
        hidden: Ptr,
        (x, count, gather): (&Buffer, usize, Ptr),
        (gate, up): (&Tensor, &Tensor),
        tiles: Tiles,
        weights: Ptr,
    ) -> Result<(), Error> {
        let x = self.half(x, Halved::Turned)?;
        let kernels = self.kernels.of(gate.format);
        self.device.launch(
            kernels.tiles_gated,
            [gate.rows.div_ceil(128) as u32, tiles.most as u32, 1],
            [256, 1],
            kernels.tile_bytes,
            &[
                &hidden,
                &x,
                &gate.weight(),
                &up.weight(),
                &(count as u32),
                &gather,
                &tiles.list,
                &tiles.count,
                &weights,
                &self.shape.swiglu_limit,
            ],
        )
    }

    /// Routed and shared experts of the plan's rows.
    pub(crate) fn mixture(
        &self,
        y: &Buffer,
        x: &Buffer,
        picks: &Picks,
        routed: &Ffn<Tensor>,
        shared: &Ffn<Tensor>,
    ) -> Result<(), Error> {
        if routed.gate.format != routed.up.format {
            return Err(Error::Experts {
                gate: routed.gate.format,
                up: routed.up.format,
            });
        }
        let n = self.plan.len();
        self.shared_expert(x, n, shared)?;
        if self.by_narrow(n) {
            self.narrow_experts(y, x, picks, n, routed)
        } else if n <= FEW {
            self.few_experts(y, x, picks, n, routed)
        } else {
            self.many_experts(y, x, picks, n, routed)
        }
    }

    fn gate(&self, gate: Ptr, up: Ptr, weights: Ptr, rows: usize) -> Result<(), Error> {
        let width = self.shape.expert_width as u32;
        self.device.launch(
            self.kernels.gated,
            [width.div_ceil(256), rows as u32, 1],
            [256, 1],
            0,
            &[&gate, &up, &weights, &width, &self.shape.swiglu_limit],
        )
    }
}
