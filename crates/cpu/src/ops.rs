//! The operations, each over the rows of the current plan.

use ds4_model::weights::{Compressor, Ffn, Hyper, Router};
use ds4_model::{Ops, Ratio, RopeTable, RowSet, Seen, Site, Stream, rope};

use crate::attend::{Heads, TILE};
use crate::experts::Work;
use crate::product::{Bench, Results, product};
use crate::route::{Choice, choose};
use crate::select::keep_best;
use crate::share::Shared;
use crate::{Buffer, Cpu, Error, Picks, Tensor, compress, hyper, norm};

/// Fails where no draft was asked for, and nowhere else; the operations themselves cannot.
type Done = Result<(), Error>;

impl Ops for Cpu {
    type Tensor = Tensor;
    type Buffer = Buffer;
    type Picks = Picks;
    type Error = Error;

    fn buffer(&mut self, rows: RowSet, width: usize) -> Result<Buffer, Error> {
        let capacity = match rows {
            RowSet::All => self.options.max_rows,
            RowSet::Outputs => self.options.max_outputs,
        };
        Ok(Buffer::new(rows, width, capacity))
    }

    fn picks(&mut self, width: usize) -> Result<Picks, Error> {
        Ok(Picks::new(width, self.options.max_rows))
    }

    fn embed(&mut self, x: &mut Buffer, table: &Tensor) -> Done {
        self.each_row(x, self.plan.len(), |row, x| {
            table.decode_row(self.plan.rows()[row].token as usize, x);
        });
        Ok(())
    }

    fn spread(&mut self, streams: &mut Buffer, x: &Buffer) -> Done {
        self.each_row(streams, self.plan.len(), |row, streams| {
            for stream in streams.chunks_exact_mut(x.width) {
                stream.copy_from_slice(x.row(row));
            }
        });
        Ok(())
    }

    fn add(&mut self, streams: &mut Buffer, more: &Buffer) -> Done {
        self.each_row(streams, self.plan.len(), |row, streams| {
            for (value, more) in streams.iter_mut().zip(more.row(row)) {
                *value += more;
            }
        });
        Ok(())
    }

    fn hyper_enter(
        &mut self,
        x: &mut Buffer,
        mix: &mut Buffer,
        streams: &Buffer,
        hc: &Hyper<Tensor>,
    ) -> Done {
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
        Ok(())
    }

    fn hyper_leave(&mut self, streams: &mut Buffer, y: &Buffer, mix: &Buffer) -> Done {
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
        Ok(())
    }

    fn hyper_head(&mut self, x: &mut Buffer, streams: &Buffer, hc: &Hyper<Tensor>) -> Done {
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
        Ok(())
    }

    fn rms_norm(&mut self, out: &mut Buffer, x: &Buffer, weight: &Tensor) -> Done {
        let weight = weight.floats();
        self.each_row(out, self.rows(x), |row, out| {
            let parts = x.row(row).chunks_exact(weight.len());
            for (out, x) in out.chunks_exact_mut(weight.len()).zip(parts) {
                norm::rms_norm(out, x, weight, self.shape.norm_epsilon);
            }
        });
        Ok(())
    }

    fn matmul(&mut self, out: &mut Buffer, x: &Buffer, w: &Tensor) -> Done {
        let count = self.rows(x) * x.width / w.cols;
        let inputs = (count, |i: usize| &x.data[i * w.cols..(i + 1) * w.cols]);
        let out = Results {
            data: &mut out.data,
            stride: w.rows,
        };
        product(&mut self.bench(), w, 0..w.rows, inputs, out);
        Ok(())
    }

    fn query_heads(&mut self, q: &mut Buffer, at: Site) -> Done {
        let d = self.shape.head_width;
        let eps = self.shape.norm_epsilon;
        self.each_head(q, d, |head, row| {
            let scale = norm::inverse_rms(head, eps);
            head.iter_mut().for_each(|x| *x *= scale);
            rope::rotate(head, self.angles(at.rope(), row));
        });
        Ok(())
    }

    fn latent_kv(&mut self, latent: &Buffer, norm_weight: &Tensor, at: Site) -> Done {
        if at.layer == self.shape.layers() {
            self.note_draft();
        }
        let weight = norm_weight.floats();
        let bytes = self.memory.geometry.latent_bytes;
        let mut fresh = std::mem::take(&mut self.fresh);
        let mut locals = std::mem::take(&mut self.locals);
        let (rows, values) = (Shared::new(&mut fresh), Shared::new(&mut locals));
        self.pool.run(self.plan.len(), |worker, row| {
            // SAFETY: worker numbers are not shared by calls that run at the same time.
            let local = unsafe { &mut values.part(worker..worker + 1)[0] };
            let values = local.floats(weight.len());
            norm::rms_norm(values, latent.row(row), weight, self.shape.norm_epsilon);
            rope::rotate(values, self.angles(at.rope(), row));
            // SAFETY: each row belongs to one task.
            let out = unsafe { rows.part(row * bytes..(row + 1) * bytes) };
            self.codec.write_latent(values, out);
        });
        self.locals = locals;
        self.fresh = fresh;
        Ok(())
    }

    fn compress(
        &mut self,
        u: &Buffer,
        z: &Buffer,
        w: &Compressor<Tensor>,
        stream: Stream,
        at: Site,
    ) -> Done {
        let d = match stream {
            Stream::Latent => self.shape.head_width,
            Stream::Index => self.shape.index_width,
        };
        let windows = self.pool_windows(u, z, w, stream, at, d);
        self.emit_rows(windows, w, stream, at, d);
        Ok(())
    }

    fn index_heads(&mut self, q: &mut Buffer, at: Site) -> Done {
        self.each_head(q, self.shape.index_width, |head, row| {
            rope::rotate(head, self.angles(at.rope(), row));
            self.codec.round_index(head);
        });
        Ok(())
    }

    fn index_select(
        &mut self,
        picks: &mut Picks,
        q: &Buffer,
        head_weights: &Buffer,
        at: Site,
    ) -> Done {
        let keep = self.shape.index_top_k.min(picks.width);
        let width = picks.width;
        let (ids, counts) = (Shared::new(&mut picks.ids), Shared::new(&mut picks.counts));
        let mut candidates = std::mem::take(&mut self.candidates);
        let lists = Shared::new(&mut candidates);
        let mut locals = std::mem::take(&mut self.locals);
        let rows_decoded = Shared::new(&mut locals);
        self.pool.run(self.plan.len(), |worker, row| {
            // SAFETY: worker numbers are not shared by calls that run at the same time.
            let list = unsafe { &mut lists.part(worker..worker + 1)[0] };
            // SAFETY: as above.
            let local = unsafe { &mut rows_decoded.part(worker..worker + 1)[0] };
            let key = local.floats(self.shape.index_width);
            let complete = at.ratio.rows(self.plan.rows()[row].pos as usize + 1);
            list.clear();
            if complete <= keep {
                list.extend((0..complete as u32).map(|id| (id, 0.0)));
            } else {
                self.score_rows(
                    row,
                    complete,
                    at,
                    (q.row(row), head_weights.row(row)),
                    key,
                    list,
                );
                keep_best(list, keep);
            }
            // SAFETY: each row belongs to one task.
            let out = unsafe { ids.part(row * width..row * width + list.len()) };
            out.iter_mut()
                .zip(&*list)
                .for_each(|(id, best)| *id = best.0);
            // SAFETY: as above.
            unsafe { counts.set(row, list.len() as u32) };
        });
        self.candidates = candidates;
        self.locals = locals;
        Ok(())
    }

    fn attend(
        &mut self,
        heads: &mut Buffer,
        q: &Buffer,
        sinks: &Tensor,
        seen: Seen<'_, Picks>,
        at: Site,
    ) -> Done {
        let (d, h) = (self.shape.head_width, self.shape.heads);
        let sinks = sinks.floats();
        let width = heads.width;
        let out = Shared::new(&mut heads.data);
        let mut locals = std::mem::take(&mut self.locals);
        let tiles = Shared::new(&mut locals);
        self.pool.run(self.plan.len(), |worker, row| {
            // SAFETY: worker numbers are not shared by calls that run at the same time.
            let local = unsafe { &mut tiles.part(worker..worker + 1)[0] };
            let tile = local.floats(TILE * d);
            // SAFETY: each row belongs to one task.
            let out = unsafe { out.part(row * width..(row + 1) * width) };
            let mut state = [(0.0, 0.0); MAX_HEADS];
            let mut heads = Heads {
                q: q.row(row),
                out,
                state: &mut state[..h],
                d,
                simd: self.kernels.dots.simd(),
            };
            heads.begin(sinks);
            let mut filled = 0;
            self.each_seen_row(row, &seen, at, |bytes| {
                self.codec.read_latent(bytes, &mut tile[filled * d..][..d]);
                filled += 1;
                if filled == TILE {
                    heads.join(tile);
                    filled = 0;
                }
            });
            heads.join(&tile[..filled * d]);
            heads.finish();
            for head in out.chunks_exact_mut(d) {
                rope::unrotate(head, self.angles(at.rope(), row));
            }
        });
        self.locals = locals;
        Ok(())
    }

    fn window_commit(&mut self, at: Site) -> Done {
        let bytes = self.memory.geometry.latent_bytes;
        let ring = self.memory.geometry.ring_rows;
        for run in self.plan.runs() {
            // Of a long run only the last rows stay.
            for row in run.rows.clone().skip(run.rows.len().saturating_sub(ring)) {
                let place = self
                    .memory
                    .ring_range(run.slot, at.layer, self.plan.rows()[row].pos);
                self.memory.rings[place].copy_from_slice(&self.fresh[row * bytes..][..bytes]);
            }
        }
        Ok(())
    }

    fn output_groups(&mut self, low: &mut Buffer, heads: &Buffer, a: &Tensor) -> Done {
        let rank = self.shape.output_rank;
        let stride = low.width;
        for group in 0..self.shape.output_groups {
            let part = |i: usize| &heads.row(i)[group * a.cols..][..a.cols];
            let inputs = (self.plan.len(), part);
            let out = Results {
                data: &mut low.data[group * rank..],
                stride,
            };
            product(
                &mut self.bench(),
                a,
                group * rank..(group + 1) * rank,
                inputs,
                out,
            );
        }
        Ok(())
    }

    fn route(&mut self, picks: &mut Picks, logits: &Buffer, router: &Router<Tensor>) -> Done {
        let k = picks.width;
        let candidates = &mut self.candidates[0];
        for (number, row) in self.plan.rows().iter().enumerate() {
            let ids = &mut picks.ids[number * k..][..k];
            let weights = &mut picks.weights[number * k..][..k];
            let choice = match router {
                Router::Hash(table) => Choice::Fixed(table.ids(row.token as usize)),
                Router::TopK(bias) => Choice::Biased(bias.floats()),
            };
            choose(
                logits.row(number),
                choice,
                &self.shape,
                candidates,
                ids,
                weights,
            );
            picks.counts[number] = k as u32;
        }
        Ok(())
    }

    fn experts(
        &mut self,
        y: &mut Buffer,
        x: &Buffer,
        picks: &Picks,
        routed: &Ffn<Tensor>,
        shared: &Ffn<Tensor>,
    ) -> Done {
        let n = self.plan.len();
        let always = self.shape.experts as u32;
        let pairs = (0..n).flat_map(|row| {
            let chosen = picks.ids(row).iter().zip(picks.weights(row));
            let chosen = chosen.map(move |(id, weight)| (row as u32, *id, *weight));
            chosen.chain([(row as u32, always, 1.0)])
        });
        self.groups.gather(self.shape.experts + 1, pairs);
        let rows = self.groups.len() * self.shape.expert_width;
        if self.hidden.len() < rows {
            self.hidden.resize(rows, 0.0);
        }
        let work = Work {
            pool: &self.pool,
            kernels: &self.kernels,
            groups: &self.groups,
            shape: &self.shape,
            routed,
            shared,
        };
        let (hidden, x) = (&mut self.hidden[..rows], &x.data[..n * x.width]);
        work.gate_up(hidden, x, &mut self.sides, &mut self.locals);
        work.down(
            &mut y.data[..x.len()],
            hidden,
            &mut self.sides,
            &mut self.locals,
        );
        Ok(())
    }
}

/// Bound of the per-head state kept on the stack; PRO has 128 heads.
const MAX_HEADS: usize = 256;

impl Cpu {
    /// Rows of a buffer in use.
    fn rows(&self, buffer: &Buffer) -> usize {
        match buffer.rows {
            RowSet::All => self.plan.len(),
            RowSet::Outputs => self.plan.outputs().len(),
        }
    }

    fn bench(&mut self) -> Bench<'_> {
        Bench {
            pool: &self.pool,
            kernels: &self.kernels,
            locals: &mut self.locals,
            activations: &mut self.activations,
        }
    }

    /// Calls `work(row, values)` for the first `count` rows of a buffer.
    fn each_row(&self, out: &mut Buffer, count: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
        let width = out.width;
        let rows = Shared::new(&mut out.data);
        self.pool.run(count, |_, row| {
            // SAFETY: each row belongs to one task.
            work(row, unsafe { rows.part(row * width..(row + 1) * width) });
        });
    }

    /// Calls `work(head, row)` for every head of every row.
    fn each_head(&self, q: &mut Buffer, d: usize, work: impl Fn(&mut [f32], usize) + Sync) {
        self.each_row(q, self.plan.len(), |row, heads| {
            for head in heads.chunks_exact_mut(d) {
                work(head, row);
            }
        });
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

    /// Keeps track of which positions the draft block's ring holds.
    fn note_draft(&mut self) {
        for run in self.plan.runs() {
            let held = &mut self.memory.slots[run.slot as usize].draft;
            let joins = held.start <= run.first && run.first <= held.end;
            *held = if joins {
                held.start..run.end()
            } else {
                run.first..run.end()
            };
        }
    }

    /// Pools every run's tokens; pooled rows go to `raw`, run after run. Returns how many there are.
    fn pool_windows(
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
    fn emit_rows(
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

    /// Scores the first `complete` index rows for one token.
    fn score_rows(
        &self,
        row: usize,
        complete: usize,
        at: Site,
        (q, head_weights): (&[f32], &[f32]),
        key: &mut [f32],
        out: &mut Vec<(u32, f32)>,
    ) {
        let d = self.shape.index_width;
        let scale = 1.0 / ((d as f32).sqrt() * (self.shape.index_heads as f32).sqrt());
        let slot = self.plan.rows()[row].slot;
        for id in 0..complete {
            let place = self.memory.row_range(slot, at.layer, Stream::Index, id);
            self.codec.read_index(&self.memory.arena[place], key);
            let heads = q.chunks_exact(d).zip(head_weights);
            let score: f32 = heads
                .map(|(q, w)| self.kernels.floats(q, key).max(0.0) * w)
                .sum();
            out.push((id as u32, score * scale));
        }
    }

    /// Calls `read` with the bytes of every latent row that `row` attends to: window first, then compressed rows.
    fn each_seen_row(
        &self,
        row: usize,
        seen: &Seen<'_, Picks>,
        at: Site,
        mut read: impl FnMut(&[u8]),
    ) {
        let token = self.plan.rows()[row];
        let run = self.plan.runs().iter().find(|run| run.rows.contains(&row));
        let run = run.expect("every row is in a run");
        let bytes = self.memory.geometry.latent_bytes;
        let mut first = (token.pos + 1).saturating_sub(self.shape.window as u32);
        if at.layer == self.shape.layers() {
            first = first.max(self.memory.slots[token.slot as usize].draft.start);
        }
        for pos in first..=token.pos {
            if pos >= run.first {
                let fresh = run.rows.start + (pos - run.first) as usize;
                read(&self.fresh[fresh * bytes..][..bytes]);
            } else {
                read(&self.memory.rings[self.memory.ring_range(token.slot, at.layer, pos)]);
            }
        }
        let mut compressed = |id: usize| {
            let place = self
                .memory
                .row_range(token.slot, at.layer, Stream::Latent, id);
            read(&self.memory.arena[place]);
        };
        match seen {
            Seen::Window => {}
            Seen::All => (0..at.ratio.rows(token.pos as usize + 1)).for_each(compressed),
            Seen::Picked(picks) => {
                picks
                    .ids(row)
                    .iter()
                    .for_each(|id| compressed(*id as usize));
            }
        }
    }
}

/// First window a run completes and how many it completes.
fn completed(ratio: Ratio, run: &ds4_model::Run) -> (usize, usize) {
    let first = ratio.rows(run.first as usize);
    (first, ratio.rows(run.end() as usize) - first)
}
