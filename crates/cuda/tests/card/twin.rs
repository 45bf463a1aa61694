//! Two backends in step: every operation runs on both, on the same inputs, and their results are
//! compared.
//!
//! The card's output is poisoned before each operation and replaced by the CPU's after it, so
//! errors do not add up and each operation answers for itself. After a step the sessions' memory is
//! compared and replaced as well.

use std::collections::BTreeMap;

use ds4_cpu::Cpu;
use ds4_cuda::Cuda;
use ds4_model::kv::{KvGeometry, RowFormat};
use ds4_model::weights::{Compressor, Ffn, Hyper, Router};
use ds4_model::{Backend, Ops, Plan, RowSet, Seen, Site, Stream};

type Fail = Box<dyn std::error::Error>;
type Done = Result<(), Fail>;
/// The same thing on both.
pub(crate) type Both<A, B> = (A, B);

/// The CPU and the card.
pub(crate) struct Twin {
    pub(crate) cpu: Cpu,
    pub(crate) cuda: Cuda,
    plan: Plan,
    /// Worst relative error by operation.
    pub(crate) worst: BTreeMap<&'static str, f64>,
    /// Ids picked by operation: how many, and how many the backends did not agree on.
    pub(crate) picked: BTreeMap<&'static str, (usize, usize)>,
}

pub(crate) type Tensor = Both<ds4_cpu::Tensor, ds4_cuda::Tensor>;
pub(crate) type Buffer = Both<ds4_cpu::Buffer, ds4_cuda::Buffer>;
pub(crate) type Picks = Both<ds4_cpu::Picks, ds4_cuda::Picks>;

impl Twin {
    pub(crate) fn new(cpu: Cpu, cuda: Cuda) -> Self {
        Self {
            cpu,
            cuda,
            plan: Plan::new(),
            worst: BTreeMap::new(),
            picked: BTreeMap::new(),
        }
    }

    fn note(&mut self, op: &'static str, error: f64) {
        let error = if error.is_nan() { f64::INFINITY } else { error };
        let worst = self.worst.entry(op).or_default();
        *worst = worst.max(error);
    }

    /// What an operation is called whose arithmetic is another for up to 64 rows, those of `x`.
    fn by_rows(
        &mut self,
        x: &Buffer,
        [many, few]: [&'static str; 2],
    ) -> Result<&'static str, Fail> {
        let rows = self.cpu.read(&x.0)?.len() / x.0.row(0).len();
        Ok(if rows <= 64 { few } else { many })
    }

    fn compare(&mut self, op: &'static str, out: &mut Buffer) -> Done {
        let truth = self.cpu.read(&out.0)?.to_vec();
        let found = self.cuda.read(&out.1)?.to_vec();
        self.note(op, distance(&found, &truth));
        Ok(out.1.fill(&truth)?)
    }

    fn compare_picks(&mut self, op: &'static str, picks: &mut Picks, weighted: bool) -> Done {
        for row in 0..self.plan.len() {
            let (ids, weights) = picks.1.row(row)?;
            let (truth, truth_weights) = (picks.0.ids(row).to_vec(), picks.0.weights(row).to_vec());
            let same = truth.iter().filter(|id| ids.contains(id)).count();
            let entry = self.picked.entry(op).or_default();
            entry.0 += truth.len();
            entry.1 += truth.len().max(ids.len()) - same;
            if weighted && ids == truth {
                self.note(op, distance(&weights, &truth_weights));
            }
            picks.1.set(row, &truth, &truth_weights)?;
        }
        Ok(())
    }

    /// Compares what the step left in the sessions, and gives the card what the CPU has.
    pub(crate) fn compare_memory(&mut self, pages: u32) -> Done {
        let packed = self.cpu.geometry().format == RowFormat::Packed;
        for run in self.plan.runs().to_vec() {
            let (mut truth, mut found) = (Vec::new(), Vec::new());
            self.cpu.save_frontier(run.slot, run.end(), &mut truth)?;
            self.cuda.save_frontier(run.slot, run.end(), &mut found)?;
            assert_eq!(truth[..8], found[..8], "draft windows");
            let sums = truth.len() - 4 * self.cpu.geometry().pool_floats;
            let rows = byte_distance(&found[8..sums], &truth[8..sums], packed);
            self.note("window rows", rows);
            let sums = byte_distance(&found[sums..], &truth[sums..], false);
            self.note("running sums", sums);
            self.cuda.load_frontier(run.slot, run.end(), &truth)?;
        }
        for page in 0..pages {
            let bytes = self.cpu.geometry().page_bytes;
            let (mut truth, mut found) = (vec![0; bytes], vec![0; bytes]);
            self.cpu.save_page(page, &mut truth)?;
            self.cuda.save_page(page, &mut found)?;
            self.note("page", byte_distance(&found, &truth, packed));
            self.cuda.load_page(page, &truth)?;
        }
        Ok(())
    }
}

/// `|found - truth| / |truth|`; infinite where a value is missing or not a number.
pub(crate) fn distance(found: &[f32], truth: &[f32]) -> f64 {
    assert_eq!(found.len(), truth.len());
    let (mut off, mut all) = (0.0, 0.0);
    for (f, t) in found.iter().zip(truth) {
        let (f, t) = (f64::from(*f), f64::from(*t));
        if f.to_bits() != t.to_bits() {
            off += (f - t) * (f - t);
        }
        all += if t.is_finite() { t * t } else { 0.0 };
    }
    if off == 0.0 { 0.0 } else { (off / all).sqrt() }
}

/// Packed rows: the share of bytes that differ. Others: the distance of their values.
fn byte_distance(found: &[u8], truth: &[u8], packed: bool) -> f64 {
    if packed {
        let differ = found.iter().zip(truth).filter(|(f, t)| f != t).count();
        return differ as f64 / truth.len() as f64;
    }
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect()
    };
    distance(&floats(found), &floats(truth))
}

/// One side of a structure of pairs.
fn hyper<T, U, V>(w: &Hyper<(T, U)>, side: impl Fn(&(T, U)) -> V) -> Hyper<V> {
    Hyper {
        mix: side(&w.mix),
        base: side(&w.base),
        scale: side(&w.scale),
    }
}

fn ffn<T, U, V>(w: &Ffn<(T, U)>, side: impl Fn(&(T, U)) -> V) -> Ffn<V> {
    Ffn {
        gate: side(&w.gate),
        up: side(&w.up),
        down: side(&w.down),
    }
}

fn compressor<T, U, V>(w: &Compressor<(T, U)>, side: impl Fn(&(T, U)) -> V) -> Compressor<V> {
    Compressor {
        kv: side(&w.kv),
        gate: side(&w.gate),
        ape: side(&w.ape),
        norm: side(&w.norm),
    }
}

fn router<T, U, V>(w: &Router<(T, U)>, side: impl Fn(&(T, U)) -> V) -> Router<V> {
    match w {
        Router::Hash(table) => Router::Hash(side(table)),
        Router::TopK(bias) => Router::TopK(side(bias)),
    }
}

fn left(pair: &Tensor) -> ds4_cpu::Tensor {
    pair.0.clone()
}

fn right(pair: &Tensor) -> ds4_cuda::Tensor {
    pair.1.clone()
}

impl Ops for Twin {
    type Tensor = Tensor;
    type Buffer = Buffer;
    type Picks = Picks;
    type Error = Fail;

    fn buffer(&mut self, rows: RowSet, width: usize) -> Result<Buffer, Fail> {
        Ok((
            self.cpu.buffer(rows, width)?,
            self.cuda.buffer(rows, width)?,
        ))
    }

    fn picks(&mut self, width: usize) -> Result<Picks, Fail> {
        Ok((self.cpu.picks(width)?, self.cuda.picks(width)?))
    }

    fn embed(&mut self, x: &mut Buffer, table: &Tensor) -> Done {
        x.1.poison()?;
        self.cpu.embed(&mut x.0, &table.0)?;
        self.cuda.embed(&mut x.1, &table.1)?;
        self.compare("embed", x)
    }

    fn spread(&mut self, streams: &mut Buffer, x: &Buffer) -> Done {
        streams.1.poison()?;
        self.cpu.spread(&mut streams.0, &x.0)?;
        self.cuda.spread(&mut streams.1, &x.1)?;
        self.compare("spread", streams)
    }

    fn add(&mut self, streams: &mut Buffer, more: &Buffer) -> Done {
        self.cpu.add(&mut streams.0, &more.0)?;
        self.cuda.add(&mut streams.1, &more.1)?;
        self.compare("add", streams)
    }

    fn hyper_enter(
        &mut self,
        x: &mut Buffer,
        mix: &mut Buffer,
        streams: &Buffer,
        hc: &Hyper<Tensor>,
    ) -> Done {
        x.1.poison()?;
        mix.1.poison()?;
        self.cpu
            .hyper_enter(&mut x.0, &mut mix.0, &streams.0, &hyper(hc, left))?;
        self.cuda
            .hyper_enter(&mut x.1, &mut mix.1, &streams.1, &hyper(hc, right))?;
        self.compare("hyper_enter", x)?;
        self.compare("hyper_enter mix", mix)
    }

    fn hyper_leave(&mut self, streams: &mut Buffer, y: &Buffer, mix: &Buffer) -> Done {
        self.cpu.hyper_leave(&mut streams.0, &y.0, &mix.0)?;
        self.cuda.hyper_leave(&mut streams.1, &y.1, &mix.1)?;
        self.compare("hyper_leave", streams)
    }

    fn hyper_head(&mut self, x: &mut Buffer, streams: &Buffer, hc: &Hyper<Tensor>) -> Done {
        x.1.poison()?;
        self.cpu
            .hyper_head(&mut x.0, &streams.0, &hyper(hc, left))?;
        self.cuda
            .hyper_head(&mut x.1, &streams.1, &hyper(hc, right))?;
        self.compare("hyper_head", x)
    }

    fn rms_norm(&mut self, out: &mut Buffer, x: &Buffer, weight: &Tensor) -> Done {
        out.1.poison()?;
        self.cpu.rms_norm(&mut out.0, &x.0, &weight.0)?;
        self.cuda.rms_norm(&mut out.1, &x.1, &weight.1)?;
        self.compare("rms_norm", out)
    }

    fn matmul(&mut self, out: &mut Buffer, x: &Buffer, w: &Tensor) -> Done {
        out.1.poison()?;
        self.cpu.matmul(&mut out.0, &x.0, &w.0)?;
        self.cuda.matmul(&mut out.1, &x.1, &w.1)?;
        let op = self.by_rows(x, ["matmul", "matmul, few rows"])?;
        self.compare(op, out)
    }

    fn query_heads(&mut self, q: &mut Buffer, at: Site) -> Done {
        self.cpu.query_heads(&mut q.0, at)?;
        self.cuda.query_heads(&mut q.1, at)?;
        self.compare("query_heads", q)
    }

    fn latent_kv(&mut self, latent: &Buffer, norm: &Tensor, at: Site) -> Done {
        self.cpu.latent_kv(&latent.0, &norm.0, at)?;
        Ok(self.cuda.latent_kv(&latent.1, &norm.1, at)?)
    }

    fn compress(
        &mut self,
        u: &Buffer,
        z: &Buffer,
        w: &Compressor<Tensor>,
        stream: Stream,
        at: Site,
    ) -> Done {
        self.cpu
            .compress(&u.0, &z.0, &compressor(w, left), stream, at)?;
        Ok(self
            .cuda
            .compress(&u.1, &z.1, &compressor(w, right), stream, at)?)
    }

    fn index_heads(&mut self, q: &mut Buffer, at: Site) -> Done {
        self.cpu.index_heads(&mut q.0, at)?;
        self.cuda.index_heads(&mut q.1, at)?;
        self.compare("index_heads", q)
    }

    fn index_select(
        &mut self,
        picks: &mut Picks,
        q: &Buffer,
        head_weights: &Buffer,
        at: Site,
    ) -> Done {
        self.cpu
            .index_select(&mut picks.0, &q.0, &head_weights.0, at)?;
        self.cuda
            .index_select(&mut picks.1, &q.1, &head_weights.1, at)?;
        self.compare_picks("index_select", picks, false)
    }

    fn attend(
        &mut self,
        heads: &mut Buffer,
        q: &Buffer,
        sinks: &Tensor,
        seen: Seen<'_, Picks>,
        at: Site,
    ) -> Done {
        heads.1.poison()?;
        let (one, other) = match seen {
            Seen::Window => (Seen::Window, Seen::Window),
            Seen::All => (Seen::All, Seen::All),
            Seen::Picked(picks) => (Seen::Picked(&picks.0), Seen::Picked(&picks.1)),
        };
        self.cpu.attend(&mut heads.0, &q.0, &sinks.0, one, at)?;
        self.cuda.attend(&mut heads.1, &q.1, &sinks.1, other, at)?;
        self.compare("attend", heads)
    }

    fn window_commit(&mut self, at: Site) -> Done {
        self.cpu.window_commit(at)?;
        Ok(self.cuda.window_commit(at)?)
    }

    fn output_groups(&mut self, low: &mut Buffer, heads: &Buffer, a: &Tensor) -> Done {
        low.1.poison()?;
        self.cpu.output_groups(&mut low.0, &heads.0, &a.0)?;
        self.cuda.output_groups(&mut low.1, &heads.1, &a.1)?;
        let op = self.by_rows(heads, ["output_groups", "output_groups, few rows"])?;
        self.compare(op, low)
    }

    fn route(&mut self, picks: &mut Picks, logits: &Buffer, w: &Router<Tensor>) -> Done {
        self.cpu.route(&mut picks.0, &logits.0, &router(w, left))?;
        self.cuda
            .route(&mut picks.1, &logits.1, &router(w, right))?;
        self.compare_picks("route", picks, true)
    }

    fn experts(
        &mut self,
        y: &mut Buffer,
        x: &Buffer,
        picks: &Picks,
        routed: &Ffn<Tensor>,
        shared: &Ffn<Tensor>,
    ) -> Done {
        y.1.poison()?;
        self.cpu.experts(
            &mut y.0,
            &x.0,
            &picks.0,
            &ffn(routed, left),
            &ffn(shared, left),
        )?;
        self.cuda.experts(
            &mut y.1,
            &x.1,
            &picks.1,
            &ffn(routed, right),
            &ffn(shared, right),
        )?;
        self.compare("experts", y)
    }
}

impl Backend for Twin {
    fn geometry(&self) -> &KvGeometry {
        self.cpu.geometry()
    }

    fn slots(&self) -> usize {
        self.cpu.slots()
    }

    fn pages(&self) -> usize {
        self.cpu.pages()
    }

    fn begin(&mut self, plan: &Plan) -> Done {
        self.plan.clone_from(plan);
        self.cpu.begin(plan)?;
        Ok(self.cuda.begin(plan)?)
    }

    fn read<'a>(&'a mut self, buffer: &'a Buffer) -> Result<&'a [f32], Fail> {
        Ok(self.cpu.read(&buffer.0)?)
    }

    fn read_picks(&mut self, picks: &Picks, row: usize) -> Result<Vec<(u32, f32)>, Fail> {
        Ok(self.cpu.read_picks(&picks.0, row)?)
    }

    fn clear_slot(&mut self, slot: u32) -> Done {
        self.cpu.clear_slot(slot)?;
        Ok(self.cuda.clear_slot(slot)?)
    }

    fn set_pages(&mut self, slot: u32, pages: &[u32]) -> Done {
        self.cpu.set_pages(slot, pages)?;
        Ok(self.cuda.set_pages(slot, pages)?)
    }

    fn copy_page(&mut self, from: u32, to: u32) -> Done {
        self.cpu.copy_page(from, to)?;
        Ok(self.cuda.copy_page(from, to)?)
    }

    fn save_page(&mut self, page: u32, out: &mut [u8]) -> Done {
        Ok(self.cpu.save_page(page, out)?)
    }

    fn load_page(&mut self, page: u32, bytes: &[u8]) -> Done {
        self.cpu.load_page(page, bytes)?;
        Ok(self.cuda.load_page(page, bytes)?)
    }

    fn save_frontier(&mut self, slot: u32, tokens: u32, out: &mut Vec<u8>) -> Done {
        Ok(self.cpu.save_frontier(slot, tokens, out)?)
    }

    fn load_frontier(&mut self, slot: u32, tokens: u32, bytes: &[u8]) -> Done {
        self.cpu.load_frontier(slot, tokens, bytes)?;
        Ok(self.cuda.load_frontier(slot, tokens, bytes)?)
    }
}
