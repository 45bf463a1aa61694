//! From packed index rows to a panel.
//!
//! Twice an E2M1 value is a small integer, so scores are exact sums of integers under scales that
//! are powers of two.

#[allow(
    clippy::wildcard_imports,
    reason = "every second word here is an intrinsic"
)]
use std::arch::x86_64::*;

use super::super::common::{INDEX_CODES, TWICE_SHIFTED, put_index_scales, reach};
use super::super::panel::{Grain, Panel};
use super::super::{INDEX_COLUMNS, ROWS};
use super::unpack::{put, transposed};
use crate::dot::Simd;

/// Unpacks sixteen packed index rows. Of eight columns those with even numbers come first.
pub(in crate::tile) fn unpack_index(panel: &mut Panel, rows: &[&[u8]; ROWS]) {
    assert!(Simd::Avx512.is_supported());
    // SAFETY: the instructions are there by the line above.
    unsafe { unpack(panel, rows) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn unpack(panel: &mut Panel, rows: &[&[u8]; ROWS]) {
    panel.shape(Grain::Signed, reach::INDEX, INDEX_COLUMNS);
    // SAFETY: the array covers the 16 bytes read, at any alignment.
    let table = unsafe { _mm_loadu_si128(TWICE_SHIFTED.as_ptr().cast()) };
    let table = _mm512_broadcast_i32x4(table);
    let mut words = [_mm512_setzero_si512(); ROWS];
    for (word, row) in words.iter_mut().zip(rows) {
        // SAFETY: the slice covers the 64 bytes read, at any alignment.
        *word = unsafe { _mm512_loadu_si512(row[..INDEX_CODES].as_ptr().cast()) };
    }
    let low = _mm512_set1_epi8(0x0f);
    let lines = panel.codes.as_chunks_mut::<2>().0;
    for (word, [even, odd]) in transposed(&words).into_iter().zip(lines) {
        let code = |nibbles| _mm512_shuffle_epi8(table, _mm512_and_si512(nibbles, low));
        put(even, code(word));
        put(odd, code(_mm512_srli_epi32::<4>(word)));
    }
    put_index_scales(panel, rows);
}
