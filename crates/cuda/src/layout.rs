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

const _: () = {
    assert!(size_of::<Row>() == 32 && size_of::<Run>() == 16 && size_of::<Window>() == 8);
    assert!(size_of::<Weight>() == 32 && size_of::<Memory>() == 88 && size_of::<Place>() == 40);
};
