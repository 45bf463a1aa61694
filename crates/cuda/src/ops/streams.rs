//! Hyper-connections: the streams between layers.

use ds4_gguf::Format;
use ds4_model::weights::Hyper;

use super::Done;
use crate::kernels::FEW;
use crate::product::Rows;
use crate::{Buffer, Cuda, Tensor};

impl Cuda {
    /// One input of a block out of the streams, and how its output goes back.
    pub(super) fn read_streams(
        &mut self,
        x: &mut Buffer,
        mix: &mut Buffer,
        streams: &Buffer,
        hc: &Hyper<Tensor>,
    ) -> Done {
        self.work.mix_due.set(false);
        if self.by_halves(self.plan.len()) && hc.mix.format == Format::F16 {
            return self.device.launch(
                self.kernels.hyper_enter_tiles,
                [self.n().div_ceil(16), 1, 1],
                [256, 1],
                0,
                &[
                    &x.out(),
                    &mix.out(),
                    &streams.mem.ptr(),
                    &hc.mix.weight(),
                    &hc.scale.plain(),
                    &hc.base.plain(),
                    &self.n(),
                    &(x.width as u32),
                    &(self.shape.sinkhorn_rounds as u32),
                    &self.shape.norm_epsilon,
                    &self.shape.hyper_epsilon,
                ],
            );
        }
        let rows = Rows::dense(streams.mem.ptr(), self.plan.len(), streams.width);
        self.product(self.work.raw.ptr(), rows, &hc.mix, 1)?;
        self.device.launch(
            self.kernels.hyper_enter,
            [self.n(), 1, 1],
            [512, 1],
            0,
            &[
                &x.out(),
                &mix.out(),
                &streams.mem.ptr(),
                &self.work.raw.ptr(),
                &hc.scale.plain(),
                &hc.base.plain(),
                &(x.width as u32),
                &(self.shape.sinkhorn_rounds as u32),
                &self.shape.norm_epsilon,
                &self.shape.hyper_epsilon,
            ],
        )
    }

    /// A block's output into the streams.
    pub(crate) fn write_streams(&self, streams: &mut Buffer, y: &Buffer, mix: &Buffer) -> Done {
        self.settle_now(mix)?;
        let width = y.width as u32;
        self.device.launch(
            self.kernels.hyper_leave,
            [width.div_ceil(128), self.n(), 1],
            [128, 1],
            0,
            &[&streams.out(), &y.mem.ptr(), &mix.mem.ptr(), &width],
        )
    }

    /// The streams of rows that want logits as one.
    pub(super) fn collapse_streams(
        &mut self,
        x: &mut Buffer,
        streams: &Buffer,
        hc: &Hyper<Tensor>,
    ) -> Done {
        let outputs = self.plan.outputs().len();
        // Its matrix has so few rows that tiles of it would leave most of the card idle.
        for first in (0..outputs).step_by(FEW) {
            let rows = Rows {
                gather: self.work.outputs.ptr().after(4 * first),
                ..Rows::dense(streams.mem.ptr(), FEW.min(outputs - first), streams.width)
            };
            let raw = self.work.raw.ptr().after(4 * first * hc.mix.rows);
            self.product(raw, rows, &hc.mix, 1)?;
        }
        self.device.launch(
            self.kernels.hyper_head,
            [outputs as u32, 1, 1],
            [512, 1],
            0,
            &[
                &x.out(),
                &streams.mem.ptr(),
                &self.work.outputs.ptr(),
                &self.work.raw.ptr(),
                &hc.scale.plain(),
                &hc.base.plain(),
                &(x.width as u32),
                &self.shape.norm_epsilon,
                &self.shape.hyper_epsilon,
            ],
        )
    }
}
