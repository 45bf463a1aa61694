//! Compressed rows: the tokens of every run pooled into the rows of its session.

use ds4_model::weights::Compressor;
use ds4_model::{Ratio, RopeTable, Run, Site, Stream, rope};

use crate::share::Shared;
use crate::{Buffer, Cpu, Tensor, compress, norm};

impl Cpu {
    /// Pools every run's tokens; pooled rows go to `raw`, run after run. Returns how many there
    /// are.
    pub(super) fn pool_windows(
        &mut self,
        u: &Buffer,
        z: &Buffer,
        w: &Compressor<Tensor>,
        stream: Stream,
        at: Site,
        d: usize,
    ) -> usize {
        let ape = w.ape.floats();
        let windows: usize = self
            .plan
            .runs()
            .iter()
            .map(|run| completed(at.ratio, run).1)
            .sum();
        if self.raw.len() < windows * d {
            self.raw.resize(windows * d, 0.0);
        }
        let mut raw = std::mem::take(&mut self.raw);
        let mut pools = std::mem::take(&mut self.memory.pools);
        let (out, pool) = (Shared::new(&mut raw), Shared::new(&mut pools));
        let layer = &self.memory.geometry.layers[at.layer];
        let chunks = d.div_ceil(compress::CHANNELS);
        let mut before = 0;
        for run in self.plan.runs() {
            let place = self.memory.pool_range(run.slot).start
                + match stream {
                    Stream::Latent => layer.pool,
                    Stream::Index => layer.index_pool,
                };
            let values = run.rows.start * u.width..run.rows.end * u.width;
            let tokens = compress::Tokens {
                ratio: at.ratio,
                d,
                first: run.first,
                u: &u.data[values.clone()],
                z: &z.data[values],
                ape,
            };
            self.pool.run(chunks, |_, chunk| {
                let first = chunk * compress::CHANNELS;
                let channels = first..(first + compress::CHANNELS).min(d);
                let emit = |window: usize, channel: usize, value: f32| {
                    // SAFETY: each channel belongs to one task.
                    unsafe { out.set((before + window) * d + channel, value) };
                };
                // SAFETY: each channel of this slot's compressor belongs to one task.
                unsafe { compress::feed(&tokens, &pool, place, channels, emit) };
            });
            before += completed(at.ratio, run).1;
        }
        self.raw = raw;
        self.memory.pools = pools;
        windows
    }

    /// Norm, rope and rounding of the pooled rows, which join the session's pages.
    pub(super) fn emit_rows(
        &mut self,
        windows: usize,
        w: &Compressor<Tensor>,
        stream: Stream,
        at: Site,
        d: usize,
    ) {
        let weight = w.norm.floats();
        let places = self.plan.runs().iter().flat_map(|run| {
            let (first, count) = completed(at.ratio, run);
            (first..first + count).map(|row| (run.slot, row))
        });
        let angles = &mut self.row_angles;
        let values = self.locals[0].floats(d);
        for ((slot, row), raw) in places.zip(self.raw[..windows * d].chunks_exact(d)) {
            norm::rms_norm(values, raw, weight, self.shape.norm_epsilon);
            // The position of a row is that of its window's first token.
            let pos = (row * at.ratio.tokens()) as u32;
            self.frequencies.angles(RopeTable::Compressed, pos, angles);
            rope::rotate(values, angles);
            let place = self.memory.row_range(slot, at.layer, stream, row);
            let out = &mut self.memory.arena[place];
            match stream {
                Stream::Latent => self.codec.write_latent(values, out),
                Stream::Index => self.codec.write_index(values, out),
            }
        }
    }
}

/// First window a run completes and how many it completes.
fn completed(ratio: Ratio, run: &Run) -> (usize, usize) {
    let first = ratio.rows(run.first as usize);
    (first, ratio.rows(run.end() as usize) - first)
}
