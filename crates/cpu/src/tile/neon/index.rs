//! From packed index rows to a panel: twice an E2M1 value is a small integer.

#[allow(
    clippy::wildcard_imports,
    reason = "every second word here is an intrinsic"
)]
use std::arch::aarch64::*;

use super::super::common::{INDEX_CODES, put_index_scales, reach};
use super::super::panel::{Grain, Panel};
use super::super::{INDEX_COLUMNS, ROWS};
use super::unpack::{QUARTER, put, transposed};
use crate::dot::Simd;
use crate::dot::neon::{TWICE, load, load_codes};

/// Unpacks sixteen packed index rows. Of eight columns those with even numbers come first.
pub(super) fn unpack_index(panel: &mut Panel, rows: &[&[u8]; ROWS]) {
    assert!(Simd::NeonDot.is_supported());
    // SAFETY: the instructions are there by the line above.
    unsafe { unpack(panel, rows) }
}

#[target_feature(enable = "neon")]
fn unpack(panel: &mut Panel, rows: &[&[u8]; ROWS]) {
    panel.shape(Grain::Signed, reach::INDEX, INDEX_COLUMNS);
    let twice = load_codes(&TWICE);
    let code = |nibbles| vreinterpretq_u8_s8(vqtbl1q_s8(twice, nibbles));
    // Sixteen bytes of a row are four words of eight columns each.
    for (at, lines) in panel.codes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        for (quarter, rows) in rows.as_chunks::<QUARTER>().0.iter().enumerate() {
            let words = rows.map(|row| load(&row[..INDEX_CODES].as_chunks::<16>().0[at]));
            let pairs = lines.as_chunks_mut::<2>().0;
            for (word, [even, odd]) in transposed(&words).into_iter().zip(pairs) {
                put(even, quarter, code(vandq_u8(word, vdupq_n_u8(15))));
                put(odd, quarter, code(vshrq_n_u8::<4>(word)));
            }
        }
    }
    put_index_scales(panel, rows);
}
