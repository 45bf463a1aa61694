//! Where operations work besides their buffers: allocated once, for the largest step.

use std::cell::Cell;
use std::sync::Arc;

use ds4_model::{RowSet, Shape};

use crate::buffer::turned_width;
use crate::coded::{CODED_TOKENS, code_bytes};
use crate::device::{Device, Mem, Ptr};
use crate::kernels::SOME;
use crate::{Buffer, Error, Options, layout};

/// Parts that the rows of a step are cut into for attention, when the step has fewer rows than
/// this.
pub(crate) const PARTS: usize = 256;

/// Scores of index rows kept at a time, at least those of one row of the plan.
const SCORES: usize = 32 * 1024 * 1024;

/// Rows of the plan and everything that is neither weight, buffer nor memory of a session.
#[derive(Debug)]
pub(crate) struct Work {
    /// The plan.
    pub(crate) rows: Mem,
    pub(crate) runs: Mem,
    pub(crate) outputs: Mem,
    /// Windows that runs touch, for ratios 4 and 128.
    pub(crate) windows: [Mem; 2],
    /// (cos, sin) of both rotary tables.
    pub(crate) angles: Mem,
    pub(crate) frequencies: Mem,
    /// Products of a hyper-connection's mix.
    pub(crate) raw: Mem,
    /// Pooled windows, and sums left by runs.
    pub(crate) pooled: Mem,
    pub(crate) left: Mem,
    pub(crate) scores: Mem,
    pub(crate) score_count: usize,
    /// States and sums of attention's parts.
    pub(crate) parts: Mem,
    pub(crate) sums: Mem,
    pub(crate) experts: Experts,
    /// Rows as pairs of binary16, for the router.
    pub(crate) fine: Mem,
    /// The buffer whose rows those are, as long as they are fresh in order.
    pub(crate) fine_of: Cell<Ptr>,
    /// Sums of stretches of the streams, for few rows.
    pub(crate) mix_parts: Mem,
    /// What weights of the streams will be made of, and whether they still have to be.
    pub(crate) mix_known: Mem,
    pub(crate) mix_due: Cell<bool>,
}

/// Working memory of the experts; `picks` is rows times experts used.
#[derive(Debug)]
pub(crate) struct Experts {
    /// `(picks, F)` each.
    pub(crate) gate: Mem,
    pub(crate) up: Mem,
    /// `(picks, F)` as binary16, of steps of few rows; and turned, of others.
    pub(crate) hidden: Mem,
    /// Rows as codes, of steps of few rows: `(n, E)`, then `(picks, F)`.
    pub(crate) codes: Mem,
    pub(crate) turned: Mem,
    pub(crate) shared_turned: Mem,
    /// `(picks, E)`.
    pub(crate) down: Mem,
    /// The shared expert's, `(n, F)`, `(n, F)`, `(n, E)`.
    pub(crate) shared_gate: Buffer,
    pub(crate) shared_up: Mem,
    pub(crate) shared: Mem,
    /// Picks gathered by expert.
    pub(crate) token_of: Mem,
    pub(crate) weight_of: Mem,
    pub(crate) place_of: Mem,
    pub(crate) tiles: Mem,
    pub(crate) tile_count: Mem,
}

/// Rows of a tile, as in `matmul.cu`.
pub(crate) const TILE_TOKENS: usize = 64;

impl Work {
    pub(crate) fn new(
        device: &Arc<Device>,
        shape: &Shape,
        options: &Options,
    ) -> Result<Self, Error> {
        let floats = |count| Mem::of::<f32>(device, "working buffers", count);
        let words = |count| Mem::of::<u32>(device, "working buffers", count);
        let halves = |count| Mem::of::<u16>(device, "working buffers", count);
        let n = options.max_rows;
        let runs = n.min(options.slots);
        let windows = || Mem::of::<layout::Window>(device, "working buffers", n);
        let parts = n.max(PARTS) * shape.heads;
        let score_count = SCORES.min(n * options.pages * 128).max(options.pages * 128);
        let picks = n * shape.experts_used;
        let (e, f) = (shape.hidden, shape.expert_width);
        let few = n.min(SOME);
        let codes = (few * code_bytes(e)).max(few * shape.experts_used * code_bytes(f));
        let tiles = (picks / TILE_TOKENS).max(few * shape.experts_used / CODED_TOKENS);
        Ok(Self {
            rows: Mem::of::<layout::Row>(device, "working buffers", n)?,
            runs: Mem::of::<layout::Run>(device, "working buffers", runs)?,
            outputs: words(options.max_outputs)?,
            windows: [windows()?, windows()?],
            angles: floats(2 * n * shape.rotary)?,
            frequencies: floats(shape.rotary)?,
            raw: floats(n.max(options.max_outputs) * shape.mix())?,
            pooled: floats(n * shape.head_width)?,
            left: floats(runs * 9 * shape.head_width)?,
            scores: floats(score_count)?,
            score_count,
            fine: floats(n * turned_width(e))?,
            fine_of: Cell::new(Ptr::NULL),
            mix_parts: floats(n.min(SOME) * (shape.streams * e).div_ceil(256) * 25)?,
            mix_known: floats(n.min(SOME) * shape.mix())?,
            mix_due: Cell::new(false),
            parts: floats(2 * parts)?,
            sums: floats(parts * shape.head_width)?,
            experts: Experts {
                gate: floats(picks * f)?,
                up: floats(picks * f)?,
                hidden: halves(few * shape.experts_used * f)?,
                codes: Mem::new(device, "working buffers", codes)?,
                turned: halves(picks * turned_width(f))?,
                shared_turned: halves(n * turned_width(f))?,
                down: floats(picks * e)?,
                shared_gate: Buffer::new(device, ("working buffers", true), RowSet::All, (n, f))?,
                shared_up: floats(n * f)?,
                shared: floats(n * e)?,
                token_of: words(picks)?,
                weight_of: floats(picks)?,
                place_of: words(picks)?,
                tiles: words(4 * (tiles + shape.experts))?,
                tile_count: words(1)?,
            },
        })
    }
}
