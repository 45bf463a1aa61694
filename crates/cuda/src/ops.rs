//! The operations, each over the rows of the current plan: every one gives the card a kernel or two
//! and returns.

pub(crate) mod attention;
mod compression;
pub(crate) mod index;
mod streams;

use ds4_gguf::Format;
use ds4_model::groups::{attention, enter, feed, pass};
use ds4_model::weights::{Compressor, Ffn, Hyper, Layer, Moe, Router};
use ds4_model::{Ops, RowSet, Scratch, Seen, Site, Stream};

use crate::buffer::Halved;
use crate::device::{Mem, Ptr};
use crate::pass::Given;
use crate::{Arithmetic, Buffer, Cuda, Error, Picks, Tensor};

type Done = Result<(), Error>;

/// Threads that own a row of a head.
const ROW_THREADS: u32 = 128;

impl Ops for Cuda {
    type Tensor = Tensor;
    type Buffer = Buffer;
    type Picks = Picks;
    type Error = Error;

    fn buffer(&mut self, rows: RowSet, width: usize) -> Result<Buffer, Error> {
        let capacity = self.options.capacity(rows);
        let rounded = self.options.arithmetic == Arithmetic::Half;
        Buffer::new(&self.device, ("buffers", rounded), rows, (capacity, width))
    }

    fn picks(&mut self, width: usize) -> Result<Picks, Error> {
        let rows = self.options.max_rows;
        Ok(Picks {
            width,
            counts: Mem::of::<u32>(&self.device, "buffers", rows)?,
            ids: Mem::of::<u32>(&self.device, "buffers", rows * width)?,
            weights: Mem::of::<f32>(&self.device, "buffers", rows * width)?,
        })
    }

    fn embed(&mut self, x: &mut Buffer, table: &Tensor) -> Done {
        let groups = (table.cols / 32) as u32;
        self.device.launch(
            self.kernels.of(table.format).embed,
            [groups.div_ceil(64), self.n(), 1],
            [64, 1],
            0,
            &[&x.out(), &table.weight(), &self.work.rows.ptr()],
        )
    }

    fn spread(&mut self, streams: &mut Buffer, x: &Buffer) -> Done {
        let width = x.width as u32;
        self.device.launch(
            self.kernels.spread,
            [width.div_ceil(256), self.n(), 1],
            [256, 1],
            0,
            &[&streams.out(), &x.mem.ptr(), &width],
        )
    }

    fn add(&mut self, streams: &mut Buffer, more: &Buffer) -> Done {
        let count = (self.plan.len() * streams.width) as u64;
        self.device.launch(
            self.kernels.add,
            [count.div_ceil(256) as u32, 1, 1],
            [256, 1],
            0,
            &[&streams.out(), &more.mem.ptr(), &count],
        )
    }

    fn hyper_enter(
        &mut self,
        x: &mut Buffer,
        mix: &mut Buffer,
        streams: &Buffer,
        hc: &Hyper<Tensor>,
    ) -> Done {
        self.read_streams(x, mix, streams, hc)
    }

    fn hyper_leave(&mut self, streams: &mut Buffer, y: &Buffer, mix: &Buffer) -> Done {
        self.write_streams(streams, y, mix)
    }

    fn hyper_head(&mut self, x: &mut Buffer, streams: &Buffer, hc: &Hyper<Tensor>) -> Done {
        self.collapse_streams(x, streams, hc)
    }

    fn rms_norm(&mut self, out: &mut Buffer, x: &Buffer, weight: &Tensor) -> Done {
        let stretches = self.rows(x) * x.width / weight.cols;
        self.device.launch(
            self.kernels.rms_norm,
            [stretches as u32, 1, 1],
            [256, 1],
            0,
            &[
                &out.out(),
                &x.mem.ptr(),
                &weight.plain(),
                &(weight.cols as u32),
                &self.shape.norm_epsilon,
            ],
        )
    }

    fn matmul(&mut self, out: &mut Buffer, x: &Buffer, w: &Tensor) -> Done {
        let rows = self.rows(x) * x.width / w.cols;
        self.dense(out.out(), x, rows, w, 1)
    }

    fn query_heads(&mut self, q: &mut Buffer, at: Site) -> Done {
        let heads = self.shape.heads as u32;
        let floats = self.floats(q)?;
        let half = match &self.expanded {
            Some(expanded) if expanded.takes_all() => q.out_half_alone(Halved::Plain),
            _ => {
                q.forget();
                Ptr::NULL
            }
        };
        self.device.launch(
            self.kernels.query_heads,
            [self.n() * heads, 1, 1],
            [ROW_THREADS, 1],
            0,
            &[
                &floats,
                &half,
                &self.angles(at),
                &heads,
                &self.shape.norm_epsilon,
            ],
        )
    }

    fn latent_kv(&mut self, latent: &Buffer, norm: &Tensor, at: Site) -> Done {
        if at.layer == self.shape.layers() {
            self.memory.note_draft(&self.plan);
        }
        self.device.launch(
            self.kernels.latent_kv,
            [self.n(), 1, 1],
            [ROW_THREADS, 1],
            0,
            &[
                &latent.mem.ptr(),
                &norm.plain(),
                &self.angles(at),
                &self.memory.args(),
                &self.shape.norm_epsilon,
            ],
        )
    }

    fn compress(
        &mut self,
        u: &Buffer,
        z: &Buffer,
        w: &Compressor<Tensor>,
        stream: Stream,
        at: Site,
    ) -> Done {
        self.pool_and_emit(u, z, w, stream, at)
    }

    fn index_heads(&mut self, q: &mut Buffer, at: Site) -> Done {
        let heads = self.shape.index_heads as u32;
        let count = self.n() * heads;
        self.device.launch(
            self.kernels.index_heads,
            [count.div_ceil(4), 1, 1],
            [128, 1],
            0,
            &[
                &q.out(),
                &self.angles(at),
                &heads,
                &count,
                &self.memory.args().rounded,
            ],
        )
    }

    fn index_select(
        &mut self,
        picks: &mut Picks,
        q: &Buffer,
        head_weights: &Buffer,
        at: Site,
    ) -> Done {
        self.select_rows(picks, q, head_weights, at)
    }

    fn attend(
        &mut self,
        heads: &mut Buffer,
        q: &Buffer,
        sinks: &Tensor,
        seen: Seen<'_, Picks>,
        at: Site,
    ) -> Done {
        self.attend_rows(heads, q, sinks, seen, at)
    }

    fn window_commit(&mut self, at: Site) -> Done {
        self.device.launch(
            self.kernels.window_commit,
            [self.n(), 1, 1],
            [128, 1],
            0,
            &[
                &self.work.rows.ptr(),
                &self.memory.args(),
                &self.memory.place(at.layer),
            ],
        )
    }

    fn output_groups(&mut self, low: &mut Buffer, heads: &Buffer, a: &Tensor) -> Done {
        let groups = self.shape.output_groups;
        self.dense(low.out(), heads, self.plan.len(), a, groups)
    }

    fn route(&mut self, picks: &mut Picks, logits: &Buffer, router: &Router<Tensor>) -> Done {
        let (fixed, bias) = match router {
            Router::Hash(table) => (table.plain(), Ptr::NULL),
            Router::TopK(bias) => (Ptr::NULL, bias.plain()),
        };
        let experts = self.shape.experts as u32;
        self.device.launch(
            self.kernels.route,
            [self.n(), 1, 1],
            [32, 1],
            4 * experts,
            &[
                &picks.ids.ptr(),
                &picks.weights.ptr(),
                &picks.counts.ptr(),
                &logits.mem.ptr(),
                &self.work.rows.ptr(),
                &fixed,
                &bias,
                &experts,
                &(picks.width as u32),
                &self.shape.routed_scale,
            ],
        )
    }

    fn experts(
        &mut self,
        y: &mut Buffer,
        x: &Buffer,
        picks: &Picks,
        routed: &Ffn<Tensor>,
        shared: &Ffn<Tensor>,
    ) -> Done {
        y.out();
        self.mixture(y, x, picks, routed, shared)
    }

    fn enter(&mut self, s: &mut Scratch<Buffer, Picks>, hc: &Hyper<Tensor>, norm: &Tensor) -> Done {
        if self.fused() && hc.mix.format == Format::F16 {
            return self.pass_few(s, Given::Nothing, hc, norm);
        }
        enter(self, s, hc, norm)
    }

    fn pass(&mut self, s: &mut Scratch<Buffer, Picks>, hc: &Hyper<Tensor>, norm: &Tensor) -> Done {
        if self.fused() && hc.mix.format == Format::F16 {
            return self.pass_few(s, Given::Whole, hc, norm);
        }
        pass(self, s, hc, norm)
    }

    fn attention(&mut self, s: &mut Scratch<Buffer, Picks>, w: &Layer<Tensor>, at: Site) -> Done {
        if self.fused() && self.plan.runs().len() == self.plan.len() {
            return self.attention_few(s, w, at);
        }
        attention(self, s, w, at)
    }

    fn feed(
        &mut self,
        s: &mut Scratch<Buffer, Picks>,
        w: &Moe<Tensor>,
        next: Option<(&Hyper<Tensor>, &Tensor)>,
    ) -> Done {
        let alike = w.experts.gate.format == w.experts.up.format;
        if !(self.fused() && alike && w.gate.format == Format::F16) {
            return feed(self, s, w, next);
        }
        let given = self.moe_few(s, w)?;
        if let Some((hc, norm)) = next.filter(|(hc, _)| hc.mix.format == Format::F16) {
            return self.pass_few(s, given, hc, norm);
        }
        if matches!(given, Given::Picks) {
            self.combine(&s.y, &s.experts, self.plan.len())?;
        }
        self.hyper_leave(&mut s.streams, &s.y, &s.mix)?;
        next.map_or(Ok(()), |(hc, norm)| self.enter(s, hc, norm))
    }
}

impl Cuda {
    /// Whether groups run as few kernels.
    fn fused(&self) -> bool {
        self.options.fused && self.by_narrow(self.plan.len())
    }

    /// Rows of the plan.
    pub(crate) fn n(&self) -> u32 {
        self.plan.len() as u32
    }

    /// Rows of a buffer in use.
    pub(crate) fn rows(&self, buffer: &Buffer) -> usize {
        match buffer.rows {
            RowSet::All => self.plan.len(),
            RowSet::Outputs => self.plan.outputs().len(),
        }
    }

    /// The angles of a layer's rotary table.
    pub(crate) fn angles(&self, at: Site) -> Ptr {
        let table = at.rope() as usize;
        let floats = self.plan.len() * self.shape.rotary;
        self.work.angles.ptr().after(4 * table * floats)
    }
}
