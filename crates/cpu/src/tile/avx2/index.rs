//! From packed index rows to a panel, as the AVX-512 kernels do it.

#[allow(
    clippy::wildcard_imports,
    reason = "every second word here is an intrinsic"
)]
use std::arch::x86_64::*;

use super::super::common::{TWICE_SHIFTED, put_index_scales, reach};
use super::super::panel::{Grain, Panel};
use super::super::{INDEX_COLUMNS, ROWS};
use super::unpack::{HALF, put, transposed};
use crate::dot::Simd;
use crate::dot::avx2::{load, load_half};

/// Unpacks sixteen packed index rows. Of eight columns those with even numbers come first.
pub(super) fn unpack_index(panel: &mut Panel, rows: &[&[u8]; ROWS]) {
    assert!(Simd::Avx2.is_supported());
    // SAFETY: the instructions are there by the line above.
    unsafe { unpack(panel, rows) }
}

#[target_feature(enable = "avx2")]
fn unpack(panel: &mut Panel, rows: &[&[u8]; ROWS]) {
    panel.shape(Grain::Signed, reach::INDEX, INDEX_COLUMNS);
    let table = _mm256_broadcastsi128_si256(load_half(&TWICE_SHIFTED));
    let low = _mm256_set1_epi8(0x0f);
    // Thirty-two bytes are 64 columns, whose words become two lines each.
    for (part, lines) in panel.codes.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        for (half, rows) in rows.as_chunks::<HALF>().0.iter().enumerate() {
            let words = rows.map(|row| load(&row.as_chunks::<32>().0[part]));
            let pairs = lines.as_chunks_mut::<2>().0;
            for (word, [even, odd]) in transposed(&words).into_iter().zip(pairs) {
                let code = |nibbles| _mm256_shuffle_epi8(table, _mm256_and_si256(nibbles, low));
                put(even, half, code(word));
                put(odd, half, code(_mm256_srli_epi32::<4>(word)));
            }
        }
    }
    put_index_scales(panel, rows);
}
