//! The operations, each over the rows of the current plan.
//!
//! Here stand those that are a loop over rows or one product. The others have a file each:
//!
//! | file | operations |
//! |---|---|
//! | `streams.rs` | hyper-connections |
//! | `window.rs` | latent rows and their rings |
//! | `compression.rs` | compressed rows |
//! | `index.rs` | scores and selection |
//! | `attention.rs` | attention |
//! | `mixture.rs` | router and experts |

mod attention;
mod compression;
mod index;
mod mixture;
mod streams;
mod window;

use ds4_model::weights::{Compressor, Ffn, Hyper, Router};
use ds4_model::{Ops, RowSet, Seen, Site, Stream, rope};

use crate::product::{Bench, Results, product};
use crate::share::Shared;
use crate::{Buffer, Cpu, Error, Picks, Tensor, norm};

/// Executed at once; nothing here can fail.
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
        self.read_streams(x, mix, streams, hc);
        Ok(())
    }

    fn hyper_leave(&mut self, streams: &mut Buffer, y: &Buffer, mix: &Buffer) -> Done {
        self.write_streams(streams, y, mix);
        Ok(())
    }

    fn hyper_head(&mut self, x: &mut Buffer, streams: &Buffer, hc: &Hyper<Tensor>) -> Done {
        self.collapse_streams(x, streams, hc);
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
        self.make_fresh_rows(latent, norm_weight, at);
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
        self.select_rows(picks, q, head_weights, at);
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
        self.attend_rows(heads, q, sinks, seen, at);
        Ok(())
    }

    fn window_commit(&mut self, at: Site) -> Done {
        self.commit_fresh_rows(at);
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
        self.choose_experts(picks, logits, router);
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
        self.run_experts(y, x, picks, routed, shared);
        Ok(())
    }
}

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
}
