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

/// The door to a level's functions `q8_0`, `mxfp4`, `q2_k`, `q4_k` and `iq2_xxs`.
macro_rules! unpacks_by_format {
    ($level:expr) => {
        /// Unpacks sixteen rows of one format.
        pub(in crate::tile) fn unpack(
            panel: &mut Panel,
            format: ds4_gguf::Format,
            rows: &[&[u8]; ROWS],
        ) {
            use crate::tile::common::blocks;
            use ds4_gguf::Format;

            assert!($level.is_supported());
            match format {
                // SAFETY: the instructions are there by the first line.
                Format::Q8_0 => unsafe { q8_0(panel, &blocks(rows)) },
                // SAFETY: as above.
                Format::Mxfp4 => unsafe { mxfp4(panel, &blocks(rows)) },
                // SAFETY: as above.
                Format::Q2K => unsafe { q2_k(panel, &blocks(rows)) },
                // SAFETY: as above.
                Format::Q4K => unsafe { q4_k(panel, &blocks(rows)) },
                // SAFETY: as above.
                Format::Iq2Xxs => unsafe { iq2_xxs(panel, &blocks(rows)) },
                format => unreachable!("{format} has no panels"),
            }
        }
    };
}
pub(super) use unpacks_by_format;

/// The door to a level's functions `f32_tile`, `f16_tile` and `bf16_tile` for any number of tokens.
macro_rules! float_tile_by_format {
    ($level:expr) => {
        /// Products of four rows of F32, F16 or BF16 with as many tokens as there are results.
        pub(in crate::tile) fn float_tile(
            format: ds4_gguf::Format,
            rows: &[&[u8]; FLOAT_ROWS],
            x: &[&[f32]; FLOAT_TOKENS],
            out: &mut [[f32; FLOAT_ROWS]],
        ) {
            use crate::tile::common::by_tokens;
            use ds4_gguf::Format;

            assert!($level.is_supported());
            match format {
                Format::F32 => by_tokens!(f32_tile, F32, rows, x, out, 1 2 3 4 5 6),
                Format::F16 => by_tokens!(f16_tile, F16, rows, x, out, 1 2 3 4 5 6),
                Format::BF16 => by_tokens!(bf16_tile, BF16, rows, x, out, 1 2 3 4 5 6),
                format => unreachable!("{format} is not floats"),
            }
        }
    };
}
pub(super) use float_tile_by_format;

/// The kernel made for this number of tokens, where its instructions are known to be there.
macro_rules! by_tokens {
    ($kernel:ident, $block:ty, $rows:ident, $x:ident, $out:ident, $($n:literal)*) => {{
        let rows = crate::tile::common::numbers::<$block>($rows);
        match $out.len() {
            // SAFETY: whoever expands this has looked whether the instructions are there.
            $($n => unsafe { $kernel::<$n>(&rows, $x, $out) },)*
            count => unreachable!("a tile of {count} tokens"),
        }
    }};
}
pub(super) use by_tokens;
