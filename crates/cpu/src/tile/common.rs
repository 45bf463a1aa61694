//! What the kernels of all levels agree on: how large codes are, how those of IQ2_XXS become
//! unsigned, and in which pieces rows are read.

use ds4_gguf::block::{Block, blocks_of};
use ds4_gguf::scalar::E8M0;

use super::panel::Panel;
use super::{FLOAT_ROWS, INDEX_COLUMNS, ROWS};
use crate::dot::look_ahead;

/// The largest code of each format's panel, [`Panel::reach`].
pub(super) mod reach {
    pub(in crate::tile) const Q8_0: u8 = 128;
    /// Twice the largest E2M1 value.
    pub(in crate::tile) const MXFP4: u8 = 12;
    pub(in crate::tile) const INDEX: u8 = MXFP4;
    /// Two bits times a scale of four.
    pub(in crate::tile) const Q2_K: u8 = 3 * 15;
    pub(in crate::tile) const Q4_K: u8 = 15;
    /// The largest magnitude of the grid, lifted.
    pub(in crate::tile) const IQ2_XXS: u8 = 43 + super::LIFT as u8;
}

/// What is added to the signed magnitudes of IQ2_XXS, the largest of which is 43, to have them
/// unsigned.
pub(super) const LIFT: i8 = 64;

/// Columns of floats after which partial sums join the whole: the error of a sum grows with the
/// number of its terms.
pub(super) const STRETCH: usize = 128;

/// Bytes of codes of an index row, which scales follow.
pub(super) const INDEX_CODES: usize = INDEX_COLUMNS / 2;

/// Twice the value of each code of an index row, 128 too large.
#[cfg(target_arch = "x86_64")]
pub(super) const TWICE_SHIFTED: [u8; 16] = [
    128, 129, 130, 131, 132, 134, 136, 140, 128, 127, 126, 125, 124, 122, 120, 116,
];

/// The scales of sixteen packed index rows: codes are twice their values.
pub(super) fn put_index_scales(panel: &mut Panel, rows: &[&[u8]; ROWS]) {
    for (at, lanes) in panel.scales.iter_mut().enumerate() {
        lanes.0 = rows.map(|row| 0.5 * E8M0(row[INDEX_CODES + at]).to_f32());
    }
}

/// Rows as blocks of their format.
pub(super) fn blocks<'a, B: Block>(rows: &[&'a [u8]; ROWS]) -> [&'a [B]; ROWS] {
    let blocks = rows.map(|row| blocks_of::<B>(row).expect("a weight row is whole blocks"));
    assert!(
        blocks.iter().all(|row| row.len() == blocks[0].len()),
        "rows of one length"
    );
    blocks
}

/// Rows as numbers.
pub(super) fn numbers<'a, B: Block>(rows: &[&'a [u8]; FLOAT_ROWS]) -> [&'a [B]; FLOAT_ROWS] {
    rows.map(|row| blocks_of::<B>(row).expect("a weight row is whole numbers"))
}

/// Asks for what stands where block `at` does in the strip after this one: sixteen rows are too
/// many streams for the machine's own prefetching, and each is short.
#[inline]
pub(super) fn next_strip<B>(row: &[B], at: usize) {
    let strip = size_of_val(row) * ROWS;
    for line in (0..size_of::<B>()).step_by(64) {
        look_ahead(&row[at], strip + line);
    }
}
