//! Structures shared with the kernels, field by field those of `kernels/common.cuh` and
//! `formats.cuh`.

use crate::device::Ptr;

/// One row of the plan.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Row {
    pub(crate) slot: u32,
    pub(crate) pos: u32,
    pub(crate) token: u32,
    pub(crate) run_pos: u32,
    pub(crate) run_row: u32,
    pub(crate) run_end: u32,
    pub(crate) draft_first: u32,
    pub(crate) run: u32,
}

/// Consecutive positions of a slot.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Run {
    pub(crate) slot: u32,
    pub(crate) pos: u32,
    pub(crate) row: u32,
    pub(crate) rows: u32,
}

/// A compressor's window that a run touches.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Window {
    pub(crate) run: u32,
    pub(crate) number: u32,
}

/// A weight's planes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Weight {
    pub(crate) body: Ptr,
    pub(crate) head: Ptr,
    pub(crate) grid: Ptr,
    pub(crate) cols: u32,
    pub(crate) rows: u32,
}

/// Where sessions' rows lie.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Memory {
    pub(crate) arena: Ptr,
    pub(crate) rings: Ptr,
    pub(crate) fresh: Ptr,
    pub(crate) pools: Ptr,
    pub(crate) tables: Ptr,
    pub(crate) page_bytes: u64,
    pub(crate) ring_bytes: u64,
    pub(crate) table_width: u32,
    pub(crate) ring_rows: u32,
    pub(crate) latent_bytes: u32,
    pub(crate) index_bytes: u32,
    pub(crate) pool_floats: u32,
    pub(crate) window: u32,
    pub(crate) packed: u32,
    pub(crate) rounded: u32,
}

/// Where one layer's rows lie.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Place {
    pub(crate) ring: u64,
    pub(crate) latent: u64,
    pub(crate) index: u64,
    pub(crate) rows: u32,
    pub(crate) ratio: u32,
    pub(crate) pool: u32,
    pub(crate) index_pool: u32,
}

/// One product of a launch of `narrow.cu` or `dense.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Part {
    pub(crate) w: Weight,
    pub(crate) out: Ptr,
    pub(crate) x: Ptr,
    pub(crate) half: Ptr,
    pub(crate) codes: Ptr,
    pub(crate) first: u32,
    pub(crate) format: u32,
    pub(crate) rows: u32,
    pub(crate) group_rows: u32,
    /// Bytes of a row of activations, and where its scales begin if it is codes.
    pub(crate) x_stride: u32,
    pub(crate) x_scales: u32,
    pub(crate) passes: u32,
    pub(crate) slices: u32,
}

impl Part {
    /// No product.
    pub(crate) const NONE: Self = Self {
        w: Weight {
            body: Ptr::NULL,
            head: Ptr::NULL,
            grid: Ptr::NULL,
            cols: 0,
            rows: 0,
        },
        out: Ptr::NULL,
        x: Ptr::NULL,
        half: Ptr::NULL,
        codes: Ptr::NULL,
        first: 0,
        format: 0,
        rows: 0,
        group_rows: 0,
        x_stride: 0,
        x_scales: 0,
        passes: 0,
        slices: 0,
    };
}

/// Most products of a launch.
pub(crate) const MOST_PARTS: usize = 8;

/// All products of a launch.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Parts {
    pub(crate) part: [Part; MOST_PARTS],
    pub(crate) count: u32,
    pub(crate) n: u32,
}

/// A compressor's work on one token of each row.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Squeeze {
    pub(crate) u: Ptr,
    pub(crate) z: Ptr,
    pub(crate) ape: Ptr,
    pub(crate) norm: Ptr,
    pub(crate) d: u32,
    pub(crate) pool_at: u32,
}

/// What follows the first products of attention.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Inward {
    pub(crate) qr: Ptr,
    pub(crate) qr_half: Ptr,
    pub(crate) qr_codes: Ptr,
    pub(crate) qa: Ptr,
    pub(crate) query_norm: Ptr,
    pub(crate) latent: Ptr,
    pub(crate) latent_norm: Ptr,
    pub(crate) angles: Ptr,
    pub(crate) frequencies: Ptr,
    pub(crate) rows: Ptr,
    pub(crate) memory: Memory,
    pub(crate) at: Place,
    pub(crate) squeeze: [Squeeze; 2],
    pub(crate) settle: Settle,
    pub(crate) n: u32,
    pub(crate) rank: u32,
    pub(crate) epsilon: f32,
    pub(crate) kinds: u32,
}

/// The way from one sub-layer to the next, as in `pass.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Pass {
    pub(crate) streams: Ptr,
    pub(crate) y: Ptr,
    pub(crate) picked: Ptr,
    pub(crate) place_of: Ptr,
    pub(crate) mix: Ptr,
    pub(crate) known: Ptr,
    pub(crate) w: Weight,
    pub(crate) norm: Ptr,
    pub(crate) scale: Ptr,
    pub(crate) base: Ptr,
    pub(crate) xn: Ptr,
    pub(crate) half: Ptr,
    pub(crate) fine: Ptr,
    pub(crate) codes: Ptr,
    pub(crate) width: u32,
    pub(crate) used: u32,
    pub(crate) norm_epsilon: f32,
    pub(crate) epsilon: f32,
}

/// Products of streams whose weights are not yet worked out, as in `hyper.cuh`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Settle {
    pub(crate) known: Ptr,
    pub(crate) mix: Ptr,
    pub(crate) rounds: u32,
    pub(crate) epsilon: f32,
}

/// Attention of few rows, as in `attend_few.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct AttendFew {
    pub(crate) out: Ptr,
    pub(crate) half: Ptr,
    pub(crate) codes: Ptr,
    pub(crate) q: Ptr,
    pub(crate) rows: Ptr,
    pub(crate) picks: Ptr,
    pub(crate) sinks: Ptr,
    pub(crate) angles: Ptr,
    pub(crate) memory: Memory,
    pub(crate) at: Place,
    pub(crate) heads: u32,
    pub(crate) picks_width: u32,
    pub(crate) draft: u32,
    pub(crate) epsilon: f32,
}

/// The router's choice and what goes with it, as in `choose.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Choice {
    pub(crate) ids: Ptr,
    pub(crate) weights: Ptr,
    pub(crate) counts: Ptr,
    pub(crate) logits: Ptr,
    pub(crate) rows: Ptr,
    pub(crate) fixed: Ptr,
    pub(crate) bias: Ptr,
    pub(crate) token_of: Ptr,
    pub(crate) weight_of: Ptr,
    pub(crate) place_of: Ptr,
    pub(crate) tiles: Ptr,
    pub(crate) tile_count: Ptr,
    pub(crate) gate: Ptr,
    pub(crate) up: Ptr,
    pub(crate) half: Ptr,
    pub(crate) codes: Ptr,
    pub(crate) settle: Settle,
    pub(crate) n: u32,
    pub(crate) experts: u32,
    pub(crate) used: u32,
    pub(crate) tokens: u32,
    pub(crate) width: u32,
    pub(crate) scale: f32,
    pub(crate) limit: f32,
    pub(crate) unused: u32,
}

const _: () = {
    assert!(size_of::<Part>() == 96 && size_of::<Parts>() == 776);
    assert!(size_of::<Squeeze>() == 40 && size_of::<Inward>() == 80 + 88 + 40 + 80 + 24 + 16);
    assert!(size_of::<Pass>() == 48 + 32 + 56 + 16);
    assert!(size_of::<Choice>() == 16 * 8 + size_of::<Settle>() + 32);
    assert!(size_of::<Settle>() == 24 && size_of::<AttendFew>() == 64 + 88 + 40 + 16);
    assert!(size_of::<Row>() == 32 && size_of::<Run>() == 16 && size_of::<Window>() == 8);
    assert!(size_of::<Weight>() == 32 && size_of::<Memory>() == 88 && size_of::<Place>() == 40);
};
