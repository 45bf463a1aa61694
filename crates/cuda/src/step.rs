//! Groups of operations for steps of few rows, where the number of kernels counts.

use ds4_model::weights::{Attention, Compressor, Hyper, Layer, Moe, Router};
use ds4_model::{Ops, Scratch, Site};

use crate::device::Ptr;
use crate::layout::{self, Inward, Squeeze};
use crate::narrow::Product;
use crate::ops::attention::Asked;
use crate::pass::Given;
use crate::{Buffer, Cuda, Error, Picks, Tensor};

type Done = Result<(), Error>;
type Work = Scratch<Buffer, Picks>;

/// Threads that own a row of a head.
const ROW_THREADS: u32 = 128;

/// Shared memory of `choose`: scores and keys of sixteen rows while experts are few, counts of as
/// many warps.
pub(crate) fn choose_shared(experts: u32) -> u32 {
    16 * 4 * experts * if experts <= 256 { 2 } else { 1 }
}

impl Cuda {
    /// `hyper_enter` and `rms_norm`, where there are no clusters.
    pub(crate) fn enter_few(&self, s: &mut Work, hc: &Hyper<Tensor>, norm: &Tensor) -> Done {
        let width = s.x.width as u32;
        let (parts, streams) = (self.work.mix_parts.ptr(), s.streams.mem.ptr());
        let stretches = 4 * width / 256;
        self.device.launch(
            self.kernels.mix_parts,
            [stretches, self.n(), 1],
            [256, 1],
            0,
            &[&parts, &streams, &hc.mix.weight()],
        )?;
        let xn = s.xn.out();
        self.work.fine_of.set(xn);
        self.device.launch(
            self.kernels.mix_join,
            [self.n(), 1, 1],
            [512, 1],
            0,
            &[
                &s.x.out(),
                &xn,
                &s.xn.out_half(),
                &self.work.fine.ptr(),
                &s.xn.out_codes(),
                &s.mix.out(),
                &parts,
                &streams,
                &norm.plain(),
                &hc.scale.plain(),
                &hc.base.plain(),
                &stretches,
                &width,
                &(self.shape.sinkhorn_rounds as u32),
                &self.shape.norm_epsilon,
                &self.shape.hyper_epsilon,
            ],
        )
    }

    /// From the normalised input to the output projection, for runs of one token each.
    pub(crate) fn attention_few(&mut self, s: &mut Work, w: &Layer<Tensor>, at: Site) -> Done {
        let n = self.plan.len();
        if at.layer == self.shape.layers() {
            self.memory.note_draft(&self.plan);
        }
        let place = self.memory.place(at.layer);
        let mut squeeze = [Squeeze {
            u: Ptr::NULL,
            z: Ptr::NULL,
            ape: Ptr::NULL,
            norm: Ptr::NULL,
            d: 0,
            pool_at: 0,
        }; 2];
        let mut products: Vec<Product> = Vec::with_capacity(7);
        products.push(Product::new(s.qa.out(), &s.xn, &w.query.a));
        products.push(Product::new(s.latent.out(), &s.xn, &w.latent.kv));
        let mut pool = |number: usize, c, (u, z): (&mut Buffer, &mut Buffer), d, pool_at| {
            let c: &Compressor<Tensor> = c;
            squeeze[number] = Squeeze {
                u: u.out(),
                z: z.out(),
                ape: c.ape.plain(),
                norm: c.norm.plain(),
                d,
                pool_at,
            };
            [u.mem.ptr(), z.mem.ptr()]
        };
        let (d, di) = (self.shape.head_width as u32, self.shape.index_width as u32);
        let mut kinds = 2;
        match &w.attention {
            Attention::Window => {}
            Attention::Hca(c) => {
                let [u, z] = pool(0, c, (&mut s.u_wide, &mut s.z_wide), d, place.pool);
                products.push(Product::new(u, &s.xn, &c.kv));
                products.push(Product::new(z, &s.xn, &c.gate));
                kinds = 3;
            }
            Attention::Csa(csa) => {
                let c = &csa.compressor;
                let [u, z] = pool(0, c, (&mut s.u, &mut s.z), d, place.pool);
                products.push(Product::new(u, &s.xn, &c.kv));
                products.push(Product::new(z, &s.xn, &c.gate));
                let c = &csa.indexer.compressor;
                let [u, z] = pool(1, c, (&mut s.u_index, &mut s.z_index), di, place.index_pool);
                products.push(Product::new(u, &s.xn, &c.kv));
                products.push(Product::new(z, &s.xn, &c.gate));
                let out = s.index_w.out();
                products.push(Product::new(out, &s.xn, &csa.indexer.weights));
                kinds = 4;
            }
        }
        self.narrow(n, &products)?;
        let inward = Inward {
            qr: s.qr.out(),
            qr_half: s.qr.out_half(),
            qr_codes: s.qr.out_codes(),
            qa: s.qa.mem.ptr(),
            query_norm: w.query.norm.plain(),
            latent: s.latent.mem.ptr(),
            latent_norm: w.latent.norm.plain(),
            angles: self.angles(at),
            frequencies: self.work.frequencies.ptr(),
            rows: self.work.rows.ptr(),
            memory: self.memory.args(),
            at: place,
            squeeze,
            settle: self.settle(&s.mix),
            n: n as u32,
            rank: s.qr.width as u32,
            epsilon: self.shape.norm_epsilon,
            kinds: kinds + 1,
        };
        self.device.launch(
            self.kernels.after_inward,
            [inward.kinds * n as u32, 1, 1],
            [ROW_THREADS, 1],
            0,
            &[&inward],
        )?;
        let query = Product::new(s.q.out(), &s.qr, &w.query.b);
        let few = self.attends_few();
        let picks = match &w.attention {
            Attention::Csa(csa) => {
                let index = Product::new(s.index_q.out(), &s.qr, &csa.indexer.query);
                self.narrow(n, &[query, index])?;
                self.turn(s, at, !few, self.shape.index_heads)?;
                self.index_select(&mut s.selected, &s.index_q, &s.index_w, at)?;
                let picks = &s.selected;
                (picks.ids.ptr(), picks.counts.ptr(), picks.width as u32)
            }
            Attention::Window | Attention::Hca(_) => {
                self.narrow(n, &[query])?;
                self.turn(s, at, !few, 0)?;
                (Ptr::NULL, Ptr::NULL, 0)
            }
        };
        if few {
            self.attend_few(s, &w.sinks, (picks.0, picks.2), place, at)?;
        } else {
            let asked = Asked {
                q: &s.q,
                sinks: &w.sinks,
                picks,
                place,
                at,
            };
            self.attend_parts(&mut s.heads, asked, true)?;
        }
        let groups = self.shape.output_groups;
        if !(w.output.a.rows / groups).is_multiple_of(16) {
            self.output_groups(&mut s.low, &s.heads, &w.output.a)?;
        } else {
            let low = s.low.out();
            let product = Product::new(low, &s.heads, &w.output.a).of(groups);
            self.narrow(n, &[product.and_rounded(&s.low)])?;
        }
        self.matmul(&mut s.y, &s.low, &w.output.b)
    }

    /// `query_heads` and `index_heads`, of either none too.
    fn turn(&self, s: &mut Work, at: Site, heads: bool, index_heads: usize) -> Done {
        let heads = if heads { self.shape.heads as u32 } else { 0 };
        let (n, index) = (self.n(), index_heads as u32);
        self.device.launch(
            self.kernels.turn_heads,
            [n * heads + (n * index).div_ceil(4), 1, 1],
            [ROW_THREADS, 1],
            0,
            &[
                &s.q.out(),
                &s.index_q.out(),
                &s.index_q.out_half(),
                &self.angles(at),
                &n,
                &heads,
                &index,
                &(1 - self.memory.args().rounded),
                &self.shape.norm_epsilon,
            ],
        )
    }

    /// Router and experts.
    pub(crate) fn moe_few(&self, s: &mut Work, w: &Moe<Tensor>) -> Result<Given, Error> {
        let n = self.plan.len();
        let work = &self.work.experts;
        let (gate, up) = (work.shared_gate.mem.ptr(), work.shared_up.ptr());
        self.narrow(
            n,
            &[
                Product::new(s.router.out(), &s.xn, &w.gate),
                Product::new(gate, &s.xn, &w.shared.gate),
                Product::new(up, &s.xn, &w.shared.up),
            ],
        )?;
        let (fixed, bias) = match &w.router {
            Router::Hash(table) => (table.plain(), Ptr::NULL),
            Router::TopK(bias) => (Ptr::NULL, bias.plain()),
        };
        let (experts, f) = (self.shape.experts as u32, self.shape.expert_width as u32);
        let tokens = self.tile_tokens(n, &w.experts);
        let choice = layout::Choice {
            ids: s.experts.ids.ptr(),
            weights: s.experts.weights.ptr(),
            counts: s.experts.counts.ptr(),
            logits: s.router.mem.ptr(),
            rows: self.work.rows.ptr(),
            fixed,
            bias,
            token_of: work.token_of.ptr(),
            weight_of: work.weight_of.ptr(),
            place_of: work.place_of.ptr(),
            tiles: work.tiles.ptr(),
            tile_count: work.tile_count.ptr(),
            gate,
            up,
            half: work.shared_gate.out_half(),
            codes: work.shared_gate.out_codes(),
            settle: self.settle(&s.mix),
            n: n as u32,
            experts,
            used: s.experts.width as u32,
            tokens: tokens as u32,
            width: f,
            scale: self.shape.routed_scale,
            limit: self.shape.swiglu_limit,
            unused: 0,
        };
        // One block chooses for all rows, another one settles.
        self.device.launch(
            self.kernels.choose,
            [2 + (self.n() * f).div_ceil(2048), 1, 1],
            [512, 1],
            choose_shared(experts),
            &[&choice],
        )?;
        self.dense(work.shared.ptr(), &work.shared_gate, n, &w.shared.down, 1)?;
        s.y.out();
        let tiles = self.gathered(n * s.experts.width, tokens);
        self.narrow_picks(&s.y, &s.xn, &s.experts, n, &w.experts, tiles)
    }
}
