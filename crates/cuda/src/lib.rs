//! The operations of the model on an NVIDIA card.
//!
//! The driver is found when the program runs: without one [`Cuda::new`] fails with the reason and
//! nothing else changes. Kernels are CUDA C++ in `kernels/`, compiled by nvcc in `build.rs` and
//! embedded; without nvcc the crate builds and says at run time what it lacks.
//!
//! Activations are floats and every sum has a fixed order, so a step gives the same bits each time.
//! Rows of sessions have the bytes they have on every backend. Within a step the host never waits
//! for the card.
//!
//! | module | what |
//! |---|---|
//! | `device` | driver handles, memory, launches: all that is unsafe |
//! | `tensor` | weights, split into planes of codes and of scales |
//! | `load` | weights on their way to the card |
//! | `layout` | structures shared with the kernels |
//! | `memory` | plans, page tables, frontiers |
//! | `queue` | launches as data, so that steps may be replayed |
//! | `ops`, `product`, `dense`, `narrow`, `coded`, `experts` | the operations |
//! | `step`, `pass` | groups of operations of few rows |
//! | `room` | whether a model and its sessions fit |
//! | `expanded` | attention of many rows of a prompt |
//! | `probe` | what the card's memory delivers |

#![allow(
    unsafe_code,
    reason = "the driver is a C library; every call to it is below the module `device`"
)]

mod buffer;
mod coded;
mod dense;
mod device;
mod error;
mod expanded;
mod experts;
mod kernels;
mod layout;
mod load;
mod memory;
mod narrow;
mod ops;
mod pass;
mod probe;
mod product;
mod queue;
mod room;
mod step;
mod tensor;
mod work;

use std::ops::ControlFlow;
use std::sync::Arc;

use ds4_model::shape::family;
use ds4_model::{
    Frequencies, KvGeometry, Plan, RopeTable, Rounding, RowFormat, RowSet, Shape, Weights,
};

use crate::expanded::Expanded;
use crate::kernels::Kernels;
use crate::load::Loader;
use crate::work::Work;

pub use buffer::{Buffer, Picks};
use device::Pinned;
pub use device::{Device, Spent};
pub use error::Error;
pub use room::Room;
pub use tensor::Tensor;

/// How activations meet weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// As floats throughout.
    Float,
    /// Both rounded to binary16, eleven bits, on tensor cores; sums are floats. Router and
    /// hyper-connections keep 22 bits.
    Half,
}

/// How a CUDA backend is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which card.
    pub card: usize,
    /// How activations meet weights.
    pub arithmetic: Arithmetic,
    /// Whether steps of few rows run groups of operations as few kernels; tests compare both.
    pub fused: bool,
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
    /// Most rows in a step, at most [`Options::MOST_ROWS`].
    pub max_rows: usize,
    /// Most rows with logits in a step.
    pub max_outputs: usize,
}

impl Options {
    /// Rows that grids of kernels have room for.
    pub const MOST_ROWS: usize = 4096;

    /// Rows of a buffer.
    fn capacity(&self, rows: RowSet) -> usize {
        match rows {
            RowSet::All => self.max_rows,
            RowSet::Outputs => self.max_outputs,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            card: 0,
            arithmetic: Arithmetic::Half,
            fused: true,
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

/// An NVIDIA card as a backend.
#[derive(Debug)]
pub struct Cuda {
    shape: Shape,
    options: Options,
    device: Arc<Device>,
    kernels: Kernels,
    loader: Loader,
    memory: memory::Memory,
    work: Work,
    expanded: Option<Expanded>,
    plan: Plan,
    /// Windows of ratios 4 and 128 that the plan touches.
    windows: [usize; 2],
    /// What was read last.
    host: Option<Pinned>,
}

impl Cuda {
    /// A backend for a model of this shape, or why there is none.
    pub fn new(shape: Shape, options: Options) -> Result<Self, Error> {
        Self::make(shape, options, None)
    }

    /// The same, or both numbers of a card that has no room for these weights beside it.
    pub fn with_room_for(
        weights: &Weights<ds4_model::Tensor>,
        shape: Shape,
        options: Options,
    ) -> Result<Self, Error> {
        Self::make(shape, options, Some(Loader::needs(weights)))
    }

    fn make(shape: Shape, options: Options, weights: Option<usize>) -> Result<Self, Error> {
        check_shape(&shape, &options)?;
        let device = Device::open(options.card)?;
        let kernels = Kernels::new(&device)?;
        let query_bytes = (shape.index_heads * shape.index_width * 4) as u32;
        device.allow_shared(kernels.index_score, query_bytes)?;
        device.allow_shared(kernels.score_many, ops::index::SCORE_SHARED)?;
        device.allow_shared(kernels.gather_picks, 64 * shape.experts as u32)?;
        let choose_shared = step::choose_shared(shape.experts as u32);
        device.allow_shared(kernels.choose, choose_shared)?;
        if product::ATTEND_SHARED <= device.shared() {
            device.allow_shared(kernels.attend_tiles, product::ATTEND_SHARED)?;
        }
        if let Some(blocks) = pass::blocks(shape.hidden, &device) {
            device.allow_shared(kernels.pass, pass::shared(shape.hidden, blocks))?;
            if blocks > 8 {
                device.allow_clusters(kernels.pass)?;
            }
        }
        if device.cluster() > 8 {
            device.allow_clusters(kernels.attend_few)?;
        }
        if product::ATTEND_FEW_SHARED <= device.shared() {
            device.allow_shared(kernels.attend_few, product::ATTEND_FEW_SHARED)?;
        }
        let geometry = KvGeometry::new(&shape, options.rows, options.draft);
        let (free, total) = device.memory()?;
        let work = Work::new(&device, &shape, &options)?;
        let expanded = Expanded::new(&device, &shape, &options)?;
        if expanded.is_some() {
            device.allow_shared(kernels.attend_many, expanded::MANY_SHARED)?;
        }
        let frequencies = Frequencies::new(&shape.rope, shape.rotary);
        let (window, compressed) = (
            frequencies.of(RopeTable::Window),
            frequencies.of(RopeTable::Compressed),
        );
        work.frequencies.write(0, window)?;
        work.frequencies.write(size_of_val(window), compressed)?;
        let loader = Loader::new(&device)?;
        let used = free.saturating_sub(device.memory()?.0);
        Room {
            weights: weights.unwrap_or(0),
            step: used + buffer::scratch_bytes(&shape, &options),
            slots: options.slots,
            slot_bytes: memory::slot_bytes(&geometry, &options),
            pages: options.pages,
            page_bytes: geometry.page_bytes,
            free,
            total,
        }
        .check()?;
        Ok(Self {
            loader,
            memory: memory::Memory::new(&device, geometry, &shape, &options)?,
            kernels,
            work,
            expanded,
            plan: Plan::new(),
            windows: [0; 2],
            host: None,
            device,
            shape,
            options,
        })
    }

    /// Copies a model's weights to the card.
    pub fn load(&self, weights: &Weights<ds4_model::Tensor>) -> Result<Weights<Tensor>, Error> {
        self.load_with(weights, &mut |_, _| ControlFlow::Continue(()))
    }

    /// The same; `progress` is told bytes copied and bytes in all after each piece, and may end it.
    pub fn load_with(
        &self,
        weights: &Weights<ds4_model::Tensor>,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Weights<Tensor>, Error> {
        self.loader.load(weights, progress)
    }

    /// Copies one tensor to the card; `path` is its place among [`Weights`].
    pub fn load_tensor(&self, path: &str, tensor: &ds4_model::Tensor) -> Result<Tensor, Error> {
        self.loader.tensor(path, tensor)
    }

    /// The model's sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The card.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }
}

/// Refuses what the kernels are not made for.
fn check_shape(shape: &Shape, options: &Options) -> Result<(), Error> {
    let fixed = [
        (
            "the head width",
            shape.head_width,
            family::HEAD_WIDTH,
            "512",
        ),
        (
            "the number of rotary channels",
            shape.rotary,
            family::ROTARY,
            "64",
        ),
        (
            "the indexer's width",
            shape.index_width,
            family::INDEX_WIDTH,
            "128",
        ),
        ("the number of streams", shape.streams, family::STREAMS, "4"),
    ];
    for (field, found, made_for, expected) in fixed {
        if found != made_for {
            return Err(Error::Shape {
                field,
                found,
                expected,
            });
        }
    }
    let bounded = [
        ("the number of experts", shape.experts, 1024, "1 to 1024"),
        (
            "the number of indexer heads",
            shape.index_heads,
            128,
            "1 to 128",
        ),
        (
            "the number of experts used",
            shape.experts_used,
            15,
            "1 to 15",
        ),
        (
            "the most rows of a step",
            options.max_rows,
            Options::MOST_ROWS,
            "1 to 4096",
        ),
    ];
    for (field, found, most, expected) in bounded {
        if found == 0 || found > most {
            return Err(Error::Shape {
                field,
                found,
                expected,
            });
        }
    }
    Ok(())
}
