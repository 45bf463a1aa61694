//! Hyper-connections of the rows of a step: the streams are read, written back and collapsed.

use ds4_model::weights::Hyper;

use crate::product::{Results, product};
use crate::share::Shared;
use crate::{Buffer, Cpu, Tensor, hyper, norm};

impl Cpu {
    /// Every row of `x` becomes the weighted sum of its streams; `mix` keeps how they are written.
    pub(super) fn read_streams(
        &mut self,
        x: &mut Buffer,
        mix: &mut Buffer,
        streams: &Buffer,
        hc: &Hyper<Tensor>,
    ) {
        self.mixes(streams, hc);
        let (scale, base) = (hc.scale.floats(), hc.base.floats());
        let (x_rows, mix_rows) = (Shared::new(&mut x.data), Shared::new(&mut mix.data));
        let (width, mix_width, e) = (self.shape.mix(), mix.width, x.width);
        self.pool.run(self.plan.len(), |_, row| {
            let split = hyper::split(&self.raw[row * width..][..width], scale, base, &self.shape);
            // SAFETY: each row belongs to one task.
            let x = unsafe { x_rows.part(row * e..(row + 1) * e) };
            // SAFETY: as above.
            let mix = unsafe { mix_rows.part(row * mix_width..(row + 1) * mix_width) };
            hyper::collapse(x, streams.row(row), split.pre);
            mix[..4].copy_from_slice(&split.post);
            mix[4..].copy_from_slice(split.comb.as_flattened());
        });
    }

    /// Every stream becomes its share of `y` and its mix of all streams.
    pub(super) fn write_streams(&mut self, streams: &mut Buffer, y: &Buffer, mix: &Buffer) {
        let width = streams.width;
        let rows = Shared::new(&mut streams.data);
        self.pool.run(self.plan.len(), |_, row| {
            // SAFETY: each row belongs to one task.
            let streams = unsafe { rows.part(row * width..(row + 1) * width) };
            let mix = mix.row(row);
            let post = std::array::from_fn(|i| mix[i]);
            let comb = std::array::from_fn(|j| std::array::from_fn(|i| mix[4 + 4 * j + i]));
            hyper::write_back(streams, y.row(row), post, comb);
        });
    }

    /// The streams of the rows that want logits, collapsed for the last time.
    pub(super) fn collapse_streams(
        &mut self,
        x: &mut Buffer,
        streams: &Buffer,
        hc: &Hyper<Tensor>,
    ) {
        let (scale, base) = (hc.scale.floats()[0], hc.base.floats());
        let outputs = self
            .plan
            .outputs()
            .iter()
            .zip(x.data.chunks_exact_mut(x.width));
        let row = self.locals[0].floats(streams.width);
        for (output, x) in outputs {
            let flat = streams.row(*output as usize);
            let share = norm::inverse_rms(flat, self.shape.norm_epsilon);
            let weights = std::array::from_fn(|i| {
                hc.mix.decode_row(i, row);
                let mix = self.kernels.floats(row, flat) * share;
                hyper::sigmoid(mix * scale + base[i]) + self.shape.hyper_epsilon
            });
            hyper::collapse(x, flat, weights);
        }
    }

    /// The mixes of all rows, divided by the RMS of their streams, into `raw`.
    fn mixes(&mut self, streams: &Buffer, hc: &Hyper<Tensor>) {
        let (n, width) = (self.plan.len(), hc.mix.rows);
        if self.raw.len() < n * width {
            self.raw.resize(n * width, 0.0);
        }
        let mut raw = std::mem::take(&mut self.raw);
        let inputs = (n, |i: usize| streams.row(i));
        let out = Results {
            data: &mut raw,
            stride: width,
        };
        product(&mut self.bench(), &hc.mix, 0..width, inputs, out);
        self.raw = raw;
        let mixes = Shared::new(&mut self.raw);
        self.pool.run(n, |_, row| {
            let share = norm::inverse_rms(streams.row(row), self.shape.norm_epsilon);
            // SAFETY: each row belongs to one task.
            let mix = unsafe { mixes.part(row * width..(row + 1) * width) };
            mix.iter_mut().for_each(|m| *m *= share);
        });
    }
}
