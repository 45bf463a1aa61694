//! The CPU backend with one operation done wrong.

#![allow(clippy::unwrap_used, reason = "for tests")]

use ds4_cpu::{Buffer, Cpu, Error, Picks, Tensor};
use ds4_model::kv::KvGeometry;
use ds4_model::weights::{Compressor, Ffn, Hyper, Router};
use ds4_model::{
    Backend, Frequencies, Ops, Plan, Ratio, RopeTable, RowSet, Seen, Site, Stream, rope,
};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slip {
    None,
    NoUnrope,
    SplitPairs,
    QueryTable,
    LatentTable,
    NoHeadNorm,
    WindowOnly,
    AllRows,
    NoCommit,
    LastRowHidden,
    IndexWeightsPositive,
    IndexNorm,
    EvenWeights,
    OneExpertLess,
    PostHalved,
    PoolsLost,
}

pub(crate) struct Mistaken {
    inner: Cpu,
    slip: Slip,
    plan: Plan,
    pages: Vec<u32>,
    frequencies: Frequencies,
}

type Done = Result<(), Error>;

impl Mistaken {
    pub(crate) fn new(inner: Cpu, slip: Slip) -> Self {
        let frequencies = Frequencies::new(&inner.shape().rope, inner.shape().rotary);
        Self {
            inner,
            slip,
            plan: Plan::new(),
            pages: Vec::new(),
            frequencies,
        }
    }

    fn angles(&self, table: RopeTable, row: usize) -> Vec<(f32, f32)> {
        let mut angles = vec![(1.0, 0.0); self.inner.shape().rotary / 2];
        self.frequencies
            .angles(table, self.plan.rows()[row].pos, &mut angles);
        angles
    }

    /// Changes every stretch of `width` values of every row.
    fn each(&self, buffer: &mut Buffer, width: usize, change: impl Fn(usize, &mut [f32])) {
        let mut rows: Vec<Vec<f32>> = (0..self.plan.len())
            .map(|row| buffer.row(row).to_vec())
            .collect();
        for (row, values) in rows.iter_mut().enumerate() {
            values
                .chunks_exact_mut(width)
                .for_each(|part| change(row, part));
        }
        buffer.fill(&rows.concat());
    }
}

/// The other rotary table.
fn elsewhere(at: Site) -> Site {
    let ratio = match at.ratio {
        Ratio::None => Ratio::Four,
        Ratio::Four | Ratio::OneTwentyEight => Ratio::None,
    };
    Site { ratio, ..at }
}

fn rms(x: &[f32]) -> f32 {
    (x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32).sqrt()
}

/// The pairing of other models: channel k with channel k + half.
fn rotate_halves(head: &mut [f32], angles: &[(f32, f32)]) {
    let start = head.len() - 2 * angles.len();
    let (low, high) = head[start..].split_at_mut(angles.len());
    for ((a, b), (cos, sin)) in low.iter_mut().zip(high).zip(angles) {
        (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
    }
}

impl Ops for Mistaken {
    type Tensor = Tensor;
    type Buffer = Buffer;
    type Picks = Picks;
    type Error = Error;

    fn buffer(&mut self, rows: RowSet, width: usize) -> Result<Buffer, Error> {
        self.inner.buffer(rows, width)
    }

    fn picks(&mut self, width: usize) -> Result<Picks, Error> {
        self.inner.picks(width)
    }

    fn embed(&mut self, x: &mut Buffer, table: &Tensor) -> Done {
        self.inner.embed(x, table)
    }

    fn spread(&mut self, streams: &mut Buffer, x: &Buffer) -> Done {
        self.inner.spread(streams, x)
    }

    fn add(&mut self, streams: &mut Buffer, more: &Buffer) -> Done {
        self.inner.add(streams, more)
    }

    fn hyper_enter(
        &mut self,
        x: &mut Buffer,
        mix: &mut Buffer,
        streams: &Buffer,
        hc: &Hyper<Tensor>,
    ) -> Done {
        self.inner.hyper_enter(x, mix, streams, hc)?;
        if self.slip == Slip::PostHalved {
            let width = mix.row(0).len();
            self.each(mix, width, |_, mix| {
                for post in &mut mix[..4] {
                    *post /= 2.0;
                }
            });
        }
        Ok(())
    }

    fn hyper_leave(&mut self, streams: &mut Buffer, y: &Buffer, mix: &Buffer) -> Done {
        self.inner.hyper_leave(streams, y, mix)
    }

    fn hyper_head(&mut self, x: &mut Buffer, streams: &Buffer, hc: &Hyper<Tensor>) -> Done {
        self.inner.hyper_head(x, streams, hc)
    }

    fn rms_norm(&mut self, out: &mut Buffer, x: &Buffer, weight: &Tensor) -> Done {
        self.inner.rms_norm(out, x, weight)
    }

    fn matmul(&mut self, out: &mut Buffer, x: &Buffer, w: &Tensor) -> Done {
        self.inner.matmul(out, x, w)
    }

    fn query_heads(&mut self, q: &mut Buffer, at: Site) -> Done {
        let d = self.inner.shape().head_width;
        let before: Vec<f32> = (0..self.plan.len())
            .flat_map(|r| q.row(r).to_vec())
            .collect();
        match self.slip {
            Slip::QueryTable => return self.inner.query_heads(q, elsewhere(at)),
            _ => self.inner.query_heads(q, at)?,
        }
        match self.slip {
            Slip::NoHeadNorm => {
                let sizes: Vec<f32> = before.chunks_exact(d).map(rms).collect();
                let heads = self.inner.shape().heads;
                let next = std::cell::Cell::new(0);
                self.each(q, d, |row, head| {
                    let number = next.replace(next.get() + 1);
                    assert_eq!(number / heads, row);
                    head.iter_mut().for_each(|v| *v *= sizes[number]);
                });
            }
            Slip::SplitPairs => self.each(q, d, |row, head| {
                let angles = self.angles(at.rope(), row);
                rope::unrotate(head, &angles);
                rotate_halves(head, &angles);
            }),
            _ => {}
        }
        Ok(())
    }

    fn latent_kv(&mut self, latent: &Buffer, norm: &Tensor, at: Site) -> Done {
        let at = if self.slip == Slip::LatentTable {
            elsewhere(at)
        } else {
            at
        };
        self.inner.latent_kv(latent, norm, at)
    }

    fn compress(
        &mut self,
        u: &Buffer,
        z: &Buffer,
        w: &Compressor<Tensor>,
        stream: Stream,
        at: Site,
    ) -> Done {
        self.inner.compress(u, z, w, stream, at)
    }

    fn index_heads(&mut self, q: &mut Buffer, at: Site) -> Done {
        if self.slip == Slip::IndexNorm {
            self.each(q, self.inner.shape().index_width, |_, head| {
                let size = rms(head);
                head.iter_mut().for_each(|v| *v /= size);
            });
        }
        self.inner.index_heads(q, at)
    }

    fn index_select(
        &mut self,
        picks: &mut Picks,
        q: &Buffer,
        head_weights: &Buffer,
        at: Site,
    ) -> Done {
        let mut weights = head_weights.clone();
        if self.slip == Slip::IndexWeightsPositive {
            self.each(&mut weights, 1, |_, w| w[0] = w[0].abs());
        }
        self.inner.index_select(picks, q, &weights, at)?;
        if self.slip == Slip::LastRowHidden {
            for (row, token) in self.plan.rows().iter().enumerate() {
                let own = (token.pos + 1) / 4;
                let kept: Vec<u32> = picks.ids(row).to_vec();
                let ends_window = (token.pos + 1) % 4 == 0;
                let kept: Vec<u32> = kept
                    .into_iter()
                    .filter(|id| !ends_window || id + 1 != own)
                    .collect();
                let weights = vec![0.0; kept.len()];
                picks.set(row, &kept, &weights);
            }
        }
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
        let seen = match (self.slip, seen) {
            (Slip::WindowOnly, _) => Seen::Window,
            (Slip::AllRows, Seen::Picked(_)) => Seen::All,
            (_, seen) => seen,
        };
        self.inner.attend(heads, q, sinks, seen, at)?;
        if self.slip == Slip::NoUnrope {
            let d = self.inner.shape().head_width;
            self.each(heads, d, |row, head| {
                rope::rotate(head, &self.angles(at.rope(), row));
            });
        }
        Ok(())
    }

    fn window_commit(&mut self, at: Site) -> Done {
        if self.slip == Slip::NoCommit {
            Ok(())
        } else {
            self.inner.window_commit(at)
        }
    }

    fn output_groups(&mut self, low: &mut Buffer, heads: &Buffer, a: &Tensor) -> Done {
        self.inner.output_groups(low, heads, a)
    }

    fn route(&mut self, picks: &mut Picks, logits: &Buffer, router: &Router<Tensor>) -> Done {
        self.inner.route(picks, logits, router)?;
        for row in 0..self.plan.len() {
            let ids = picks.ids(row).to_vec();
            let mut weights = picks.weights(row).to_vec();
            match self.slip {
                Slip::EvenWeights => {
                    let even = weights.iter().sum::<f32>() / weights.len() as f32;
                    weights.fill(even);
                }
                Slip::OneExpertLess => weights[0] = 0.0,
                _ => {}
            }
            picks.set(row, &ids, &weights);
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
        self.inner.experts(y, x, picks, routed, shared)
    }
}

impl Backend for Mistaken {
    fn geometry(&self) -> &KvGeometry {
        self.inner.geometry()
    }

    fn slots(&self) -> usize {
        self.inner.slots()
    }

    fn pages(&self) -> usize {
        self.inner.pages()
    }

    fn begin(&mut self, plan: &Plan) -> Done {
        if self.slip == Slip::PoolsLost && plan.runs()[0].first > 0 {
            let slot = plan.runs()[0].slot;
            self.inner.clear_slot(slot)?;
            self.inner.set_pages(slot, &self.pages)?;
        }
        self.plan.clone_from(plan);
        self.inner.begin(plan)
    }

    fn read<'a>(&'a mut self, buffer: &'a Buffer) -> Result<&'a [f32], Error> {
        self.inner.read(buffer)
    }

    fn clear_slot(&mut self, slot: u32) -> Done {
        self.inner.clear_slot(slot)
    }

    fn set_pages(&mut self, slot: u32, pages: &[u32]) -> Done {
        self.pages = pages.to_vec();
        self.inner.set_pages(slot, pages)
    }

    fn copy_page(&mut self, from: u32, to: u32) -> Done {
        self.inner.copy_page(from, to)
    }

    fn save_page(&mut self, page: u32, out: &mut Vec<u8>) -> Done {
        self.inner.save_page(page, out)
    }

    fn load_page(&mut self, page: u32, bytes: &[u8]) -> Done {
        self.inner.load_page(page, bytes)
    }

    fn save_frontier(&mut self, slot: u32, tokens: u32, out: &mut Vec<u8>) -> Done {
        self.inner.save_frontier(slot, tokens, out)
    }

    fn load_frontier(&mut self, slot: u32, tokens: u32, bytes: &[u8]) -> Done {
        self.inner.load_frontier(slot, tokens, bytes)
    }
}
