//! The operations of the model on a CPU.
//!
//! This is the truth every other backend is compared with: plain loops, float activations, no rounding beyond the
//! model's own. What makes it fast as well (kernels on the quantised blocks, chosen at run time) sits behind the same
//! operations, and is compared with it.

#![allow(
    unsafe_code,
    reason = "workers write to disjoint parts of buffers, and kernels use vector instructions"
)]

mod arenas;
mod attend;
mod buffer;
mod compress;
pub mod dot;
mod error;
mod experts;
mod hyper;
mod index;
mod kernels;
mod kv;
mod memory;
mod norm;
mod ops;
mod pool;
mod product;
mod route;
mod select;
pub mod selftest;
mod share;
mod tensor;
mod tile;
mod topology;

use ds4_model::kv::PAGE_TOKENS;
use ds4_model::{
    Frequencies, KvGeometry, Plan, Ratio, RopeTable, Rounding, RowCodec, RowFormat, Shape,
};

use crate::dot::{Activations, Dots, Q8, Simd};
use crate::kernels::{Kernels, Local};

pub use arenas::few_arenas;
pub use buffer::{Buffer, Picks};
pub use error::Error;
pub use hyper::{Split, split};
pub use kernels::Arithmetic;
pub use pool::Pool;
pub use tensor::Tensor;

/// How a CPU backend is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Workers, the caller included; by default one a physical core.
    pub threads: usize,
    /// What activations are multiplied as.
    pub arithmetic: Arithmetic,
    /// Vector instructions to use; the best this machine has when not given.
    pub simd: Option<Simd>,
    /// How rows are stored.
    pub rows: RowFormat,
    /// Whether rows are rounded as trained.
    pub rounding: Rounding,
    /// Whether there is a draft block.
    pub draft: bool,
    /// Sessions.
    pub slots: usize,
    /// Pages of 512 tokens for all sessions together.
    pub pages: usize,
    /// Most rows in a step.
    pub max_rows: usize,
    /// Most rows with logits in a step.
    pub max_outputs: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: topology::default_workers(),
            arithmetic: Arithmetic::Blocks,
            simd: None,
            rows: RowFormat::Packed,
            rounding: Rounding::Model,
            draft: false,
            slots: 1,
            pages: 256,
            max_rows: 512,
            max_outputs: 16,
        }
    }
}

/// The CPU as a backend.
#[derive(Debug)]
pub struct Cpu {
    shape: Shape,
    options: Options,
    pool: Pool,
    frequencies: Frequencies,
    codec: RowCodec,
    memory: kv::Memory,
    plan: Plan,
    /// (cos, sin) by row and pair, for both tables.
    angles: [Vec<(f32, f32)>; 2],
    /// The same for a compressed row at work.
    row_angles: Vec<(f32, f32)>,
    /// Packed latent rows of this step, for the layer at work.
    fresh: Vec<u8>,
    /// One working memory a worker.
    locals: Vec<Local>,
    /// One list of candidates a worker.
    candidates: Vec<Vec<select::Scored>>,
    /// One list of scores of index rows a worker.
    scores: Vec<Vec<f32>>,
    /// One query of the indexer as integers a worker.
    queries: Vec<Vec<Q8>>,
    /// Latent rows that one token attends to, decoded for all workers.
    seen: Vec<f32>,
    /// Mixes of the hyper-connections, or rows on their way out of a compressor.
    raw: Vec<f32>,
    kernels: Kernels,
    activations: Activations,
    sides: experts::Sides,
    groups: experts::Groups,
    /// Hidden activations of the experts.
    hidden: Vec<f32>,
}

impl Cpu {
    /// A backend for a model of this shape.
    pub fn new(shape: Shape, options: Options) -> Result<Self, Error> {
        let geometry = KvGeometry::new(&shape, options.rows, options.draft);
        let dots = match options.simd {
            Some(simd) => Dots::of(simd).ok_or(Error::Simd { simd })?,
            None => Dots::detect(),
        };
        let pool = Pool::new(options.threads);
        let workers = pool.workers();
        let pairs = shape.rotary / 2 * options.max_rows;
        let tokens = options.pages * PAGE_TOKENS;
        let index_rows = Ratio::Four.rows(tokens);
        let index_blocks = shape.index_heads * shape.index_width / 32;
        let seen_rows = shape.window + shape.index_top_k.max(Ratio::OneTwentyEight.rows(tokens));
        Ok(Self {
            frequencies: Frequencies::new(&shape.rope, shape.rotary),
            codec: RowCodec::new(&geometry, options.rounding),
            plan: Plan::new(),
            angles: [vec![(1.0, 0.0); pairs], vec![(1.0, 0.0); pairs]],
            row_angles: vec![(1.0, 0.0); shape.rotary / 2],
            fresh: vec![0; geometry.latent_bytes * options.max_rows],
            memory: kv::Memory::new(geometry, options.slots, options.pages)?,
            locals: vec![Local::new(attend::TILE * shape.head_width); workers],
            // Room for every row a token may see or score: decoding must not allocate, however long
            // the context gets. The system gives it memory when it is first used.
            candidates: (0..workers)
                .map(|_| Vec::with_capacity(index_rows))
                .collect(),
            scores: (0..workers).map(|_| vec![0.0; index_rows]).collect(),
            queries: (0..workers)
                .map(|_| Vec::with_capacity(index_blocks))
                .collect(),
            seen: vec![0.0; seen_rows * shape.head_width],
            raw: Vec::new(),
            kernels: Kernels::new(dots, options.arithmetic),
            activations: Activations::default(),
            sides: experts::Sides::default(),
            groups: experts::Groups::default(),
            hidden: Vec::new(),
            pool,
            options,
            shape,
        })
    }

    /// The model's sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    fn angles(&self, table: RopeTable, row: usize) -> &[(f32, f32)] {
        let pairs = self.shape.rotary / 2;
        &self.angles[table as usize][row * pairs..][..pairs]
    }
}
