//! From block formats to panels.
//!
//! Each format turns 64 codes of one row into a vector of bytes; sixteen such vectors are
//! transposed, as 16 by 16 words of four codes, into lines of the panel. What a block has besides
//! codes (scales, minima) takes the same way.

#[allow(
    clippy::wildcard_imports,
    reason = "every second word here is an intrinsic"
)]
use std::arch::x86_64::*;

use ds4_gguf::block::{Iq2Xxs, Mxfp4, Q2K, Q4K, Q8_0};

use super::super::ROWS;
use super::super::common::{LIFT, next_strip, reach, unpacks_by_format};
use super::super::panel::{Grain, Lanes, Line, Panel};
use crate::dot::Simd;
use crate::dot::avx2::{Groups, TWICE, groups, magnitudes, nibbles, scales_mins};

unpacks_by_format!(Simd::Avx512);

#[inline]
#[target_feature(enable = "avx512f")]
fn load_32(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the reference covers the 32 bytes read, at any alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_16(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the reference covers the 16 bytes read, at any alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn put(line: &mut Line, v: __m512i) {
    // SAFETY: the reference covers the 64 bytes written, and lines are aligned.
    unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), v) };
}

#[inline]
#[target_feature(enable = "avx512f")]
fn put_lanes(lanes: &mut Lanes, v: __m512) {
    // SAFETY: the reference covers the 64 bytes written, and lanes are aligned.
    unsafe { _mm512_store_ps(lanes.0.as_mut_ptr(), v) };
}

#[inline]
#[target_feature(enable = "avx512f")]
fn joined(low: __m256i, high: __m256i) -> __m512i {
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
}

/// Sixteen float16 numbers, one of each row.
#[inline]
#[target_feature(enable = "avx512f")]
fn halves(bits: [u16; ROWS]) -> __m512 {
    // SAFETY: the array covers the 32 bytes read, at any alignment.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(bits.as_ptr().cast()) })
}

/// Swaps rows and columns of 16 by 16 words.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn transposed(rows: &[__m512i; 16]) -> [__m512i; 16] {
    let zero = _mm512_setzero_si512();
    let (mut a, mut b) = ([zero; 16], [zero; 16]);
    for i in 0..8 {
        a[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    // In each quarter of a vector: column c of four rows.
    for i in 0..4 {
        b[4 * i] = _mm512_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm512_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm512_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm512_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
    }
    // Then quarters are swapped, as a matrix of four by four.
    for c in 0..4 {
        let (low, high) = (
            _mm512_shuffle_i32x4::<0b10_00_10_00>(b[c], b[4 + c]),
            _mm512_shuffle_i32x4::<0b10_00_10_00>(b[8 + c], b[12 + c]),
        );
        a[c] = _mm512_shuffle_i32x4::<0b10_00_10_00>(low, high);
        a[8 + c] = _mm512_shuffle_i32x4::<0b11_01_11_01>(low, high);
        let (low, high) = (
            _mm512_shuffle_i32x4::<0b11_01_11_01>(b[c], b[4 + c]),
            _mm512_shuffle_i32x4::<0b11_01_11_01>(b[8 + c], b[12 + c]),
        );
        a[4 + c] = _mm512_shuffle_i32x4::<0b10_00_10_00>(low, high);
        a[12 + c] = _mm512_shuffle_i32x4::<0b11_01_11_01>(low, high);
    }
    a
}

/// Stores the first words of sixteen rows as lines.
#[inline]
#[target_feature(enable = "avx512f")]
fn put_words(lines: &mut [Line], rows: &[__m512i; 16]) {
    for (line, v) in lines.iter_mut().zip(transposed(rows)) {
        put(line, v);
    }
}

/// Eight scales and eight words of minima of each row, for one super-block.
#[inline]
#[target_feature(enable = "avx512f")]
fn put_fine(scales: &mut [Lanes], minima: &mut [Line], rows: &[__m512i; 16]) {
    let words = transposed(rows);
    for (lanes, v) in scales.iter_mut().zip(&words[..8]) {
        put_lanes(lanes, _mm512_castsi512_ps(*v));
    }
    for (line, v) in minima.iter_mut().zip(&words[8..]) {
        put(line, *v);
    }
}

/// Blocks of 32: `codes(block)` are its codes, 128 too large, `scales(place)` all rows' scales.
macro_rules! small_blocks {
    ($name:ident, $block:ty, $reach:expr, |$b:ident| $codes:expr,
     |$at:ident, $rows:ident| $scales:expr) => {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
        fn $name(panel: &mut Panel, $rows: &[&[$block]; ROWS]) {
            panel.shape(Grain::Signed, $reach, $rows[0].len() * 32);
            for (pair, lines) in panel.codes.chunks_mut(16).enumerate() {
                let mut vectors = [_mm512_setzero_si512(); ROWS];
                for (v, row) in vectors.iter_mut().zip($rows) {
                    next_strip(row, 2 * pair);
                    let $b = &row[2 * pair];
                    *v = _mm512_castsi256_si512($codes);
                    if let Some($b) = row.get(2 * pair + 1) {
                        *v = _mm512_inserti64x4::<1>(*v, $codes);
                    }
                }
                put_words(lines, &vectors);
            }
            for ($at, lanes) in panel.scales.iter_mut().enumerate() {
                put_lanes(lanes, $scales);
            }
        }
    };
}

small_blocks!(
    q8_0,
    Q8_0,
    reach::Q8_0,
    |b| _mm256_xor_si256(load_32(&b.qs.map(|q| q as u8)), _mm256_set1_epi8(-128)),
    |at, rows| {
        let mut bits = [0; ROWS];
        for (bits, row) in bits.iter_mut().zip(rows) {
            *bits = row[at].d.to_bits();
        }
        halves(bits)
    }
);

small_blocks!(
    mxfp4,
    Mxfp4,
    reach::MXFP4,
    |b| {
        let twice = _mm256_broadcastsi128_si256(load_16(&TWICE));
        let codes = _mm256_shuffle_epi8(twice, nibbles(&b.qs));
        _mm256_xor_si256(codes, _mm256_set1_epi8(-128))
    },
    |at, rows| {
        let mut scales = [0.0; ROWS];
        for (scale, row) in scales.iter_mut().zip(rows) {
            *scale = row[at].half_scale();
        }
        // SAFETY: the array covers the 64 bytes read, at any alignment.
        unsafe { _mm512_loadu_ps(scales.as_ptr()) }
    }
);

/// A number of each row's block `$at`, as float16 bits.
macro_rules! of_rows {
    ($rows:ident, $at:ident, $field:ident) => {{
        let mut bits = [0; ROWS];
        for (bits, row) in bits.iter_mut().zip($rows) {
            *bits = row[$at].$field.to_bits();
        }
        halves(bits)
    }};
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn q2_k(panel: &mut Panel, rows: &[&[Q2K]; ROWS]) {
    panel.shape(Grain::Coarse, reach::Q2_K, rows[0].len() * 256);
    let three = _mm512_set1_epi8(3);
    for (at, lines) in panel.codes.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        let mut tables = [_mm512_setzero_si512(); ROWS];
        let mut minima = [_mm512_setzero_si512(); ROWS];
        for (r, row) in rows.iter().enumerate() {
            next_strip(row, at);
            let packed = load_16(&row[at].scales);
            let scales = _mm_and_si128(packed, _mm_set1_epi8(15));
            let mins = _mm_and_si128(_mm_srli_epi16::<4>(packed), _mm_set1_epi8(15));
            // What a code becomes: 0 to 3 times its scale, four bytes a sub-block.
            tables[r] =
                _mm512_mullo_epi32(_mm512_cvtepu8_epi32(scales), _mm512_set1_epi32(0x0302_0100));
            minima[r] = _mm512_castsi256_si512(_mm256_cvtepu8_epi16(mins));
        }
        put_words(&mut panel.minima[8 * at..][..8], &minima);
        put_lanes(&mut panel.scales[at], of_rows!(rows, at, d));
        put_lanes(&mut panel.units[at], of_rows!(rows, at, dmin));
        for (c, lines) in lines.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            // Lane q of a vector holds sub-block 4c + q.
            let quarter = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
            let quarter = _mm512_add_epi32(quarter, _mm512_set1_epi32(4 * c as i32));
            let shift = 4 * (c % 2) as i16;
            let shifts = joined(_mm256_set1_epi16(shift), _mm256_set1_epi16(shift + 2));
            let mut codes = [_mm512_setzero_si512(); ROWS];
            for (r, row) in rows.iter().enumerate() {
                let bytes = load_32(&row[at].qs.as_chunks::<32>().0[c / 2]);
                let two = _mm512_srlv_epi16(_mm512_broadcast_i64x4(bytes), shifts);
                let table = _mm512_permutexvar_epi32(quarter, tables[r]);
                codes[r] = _mm512_shuffle_epi8(table, _mm512_and_si512(two, three));
            }
            put_words(lines, &codes);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,f16c")]
fn q4_k(panel: &mut Panel, rows: &[&[Q4K]; ROWS]) {
    panel.shape(Grain::Fine, reach::Q4_K, rows[0].len() * 256);
    let fifteen = _mm512_set1_epi8(15);
    let shifts = joined(_mm256_setzero_si256(), _mm256_set1_epi16(4));
    for (at, lines) in panel.codes.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        let mut fine = [_mm512_setzero_si512(); ROWS];
        for (fine, row) in fine.iter_mut().zip(rows) {
            next_strip(row, at);
            let (scales, mins) = scales_mins(&row[at]);
            *fine = scales_and_minima(scales, mins, row[at].d.to_f32());
        }
        put_fine(
            &mut panel.scales[8 * at..][..8],
            &mut panel.minima[8 * at..][..8],
            &fine,
        );
        put_lanes(&mut panel.units[at], of_rows!(rows, at, dmin));
        for (c, lines) in lines.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let mut codes = [_mm512_setzero_si512(); ROWS];
            for (codes, row) in codes.iter_mut().zip(rows) {
                let bytes = load_32(&row[at].qs.as_chunks::<32>().0[c]);
                let two = _mm512_srlv_epi16(_mm512_broadcast_i64x4(bytes), shifts);
                *codes = _mm512_and_si512(two, fifteen);
            }
            put_words(lines, &codes);
        }
    }
}

/// Eight scales times `d` as floats, and each minimum twice as 16 bits: it meets two sums.
#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn scales_and_minima(scales: [u8; 8], minima: [u8; 8], d: f32) -> __m512i {
    let spread =
        |bytes: [u8; 8]| _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(bytes)));
    let scales = _mm256_mul_ps(_mm256_cvtepi32_ps(spread(scales)), _mm256_set1_ps(d));
    let minima = spread(minima);
    let minima = _mm256_or_si256(minima, _mm256_slli_epi32::<16>(minima));
    joined(_mm256_castps_si256(scales), minima)
}

/// Eight multiples, which stand in both halves of their words, times `d` as floats, and as they
/// are.
#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn multiples_twice(multiples: &[u32; 8], d: f32) -> __m512i {
    // SAFETY: the reference covers the 32 bytes read, at any alignment.
    let multiples = unsafe { _mm256_loadu_si256(multiples.as_ptr().cast()) };
    let scales = _mm256_cvtepi32_ps(_mm256_srli_epi32::<16>(multiples));
    let scales = _mm256_mul_ps(scales, _mm256_set1_ps(d));
    joined(_mm256_castps_si256(scales), multiples)
}

/// `x = d/8 · multiple · code` becomes `d/8 · multiple · (code + 64) - 8d · multiple`: the minima
/// are the multiples.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,f16c")]
fn iq2_xxs(panel: &mut Panel, rows: &[&[Iq2Xxs]; ROWS]) {
    panel.shape(Grain::Fine, reach::IQ2_XXS, rows[0].len() * 256);
    let lift = _mm512_set1_epi8(LIFT);
    for (at, lines) in panel.codes.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        let mut fine = [_mm512_setzero_si512(); ROWS];
        let mut signs = [[0; 8]; ROWS];
        for (r, row) in rows.iter().enumerate() {
            next_strip(row, at);
            let Groups {
                signs: of_row,
                multiples,
            } = groups(&row[at]);
            signs[r] = of_row;
            fine[r] = multiples_twice(&multiples, 0.125 * row[at].d.to_f32());
        }
        put_fine(
            &mut panel.scales[8 * at..][..8],
            &mut panel.minima[8 * at..][..8],
            &fine,
        );
        let d = of_rows!(rows, at, d);
        put_lanes(
            &mut panel.units[at],
            _mm512_mul_ps(d, _mm512_set1_ps(0.125 * f32::from(LIFT))),
        );
        for (c, lines) in lines.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let (a, b) = (2 * c, 2 * c + 1);
            let mut codes = [_mm512_setzero_si512(); ROWS];
            for (r, row) in rows.iter().enumerate() {
                let negative = u64::from(signs[r][b]) << 32 | u64::from(signs[r][a]);
                let groups = &row[at].groups;
                let words = joined(magnitudes(groups[a].words), magnitudes(groups[b].words));
                let lifted = _mm512_add_epi8(lift, words);
                codes[r] = _mm512_mask_sub_epi8(lifted, negative, lift, words);
            }
            put_words(lines, &codes);
        }
    }
}
