//! From block formats to panels.
//!
//! Each format turns 32 codes of one row into a vector of bytes; eight such vectors are transposed,
//! as 8 by 8 words of four codes, into halves of lines of the panel. What a block has besides codes
//! (scales, minima) takes the same way.

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
use crate::dot::avx2::{
    Groups, TWICE, groups, load, load_codes, load_half, magnitudes, nibbles, scale, scales_mins,
    with_signs,
};

/// Rows of a vector.
pub(super) const HALF: usize = 8;

unpacks_by_format!(Simd::Avx2);

/// Stores one half of a line.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn put(line: &mut Line, half: usize, v: __m256i) {
    let place = &mut line.0.as_chunks_mut::<32>().0[half % 2];
    // SAFETY: the reference covers the 32 bytes written, at any alignment.
    unsafe { _mm256_storeu_si256(place.as_mut_ptr().cast(), v) };
}

#[inline]
#[target_feature(enable = "avx2")]
fn put_lanes(lanes: &mut Lanes, half: usize, v: __m256) {
    let place = &mut lanes.0.as_chunks_mut::<HALF>().0[half % 2];
    // SAFETY: the reference covers the 32 bytes written, at any alignment.
    unsafe { _mm256_storeu_ps(place.as_mut_ptr(), v) };
}

/// Eight float16 numbers, one of each row.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn halves(bits: [u16; HALF]) -> __m256 {
    // SAFETY: the array covers the 16 bytes read, at any alignment.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(bits.as_ptr().cast()) })
}

/// Swaps rows and columns of 8 by 8 words.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn transposed(rows: &[__m256i; 8]) -> [__m256i; 8] {
    let zero = _mm256_setzero_si256();
    let (mut a, mut b) = ([zero; 8], [zero; 8]);
    for i in 0..4 {
        a[2 * i] = _mm256_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    // In each half of a vector: column c of four rows.
    for i in 0..2 {
        b[4 * i] = _mm256_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm256_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm256_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm256_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
    }
    for c in 0..4 {
        a[c] = _mm256_permute2x128_si256::<0x20>(b[c], b[4 + c]);
        a[4 + c] = _mm256_permute2x128_si256::<0x31>(b[c], b[4 + c]);
    }
    a
}

/// Stores the words of eight rows in one half of lines.
#[inline]
#[target_feature(enable = "avx2")]
fn put_words(lines: &mut [Line], half: usize, rows: &[__m256i; HALF]) {
    for (line, v) in lines.iter_mut().zip(transposed(rows)) {
        put(line, half, v);
    }
}

/// Eight scales of each row, for one super-block.
#[inline]
#[target_feature(enable = "avx2")]
fn put_scales(scales: &mut [Lanes], half: usize, rows: &[__m256i; HALF]) {
    for (lanes, v) in scales.iter_mut().zip(transposed(rows)) {
        put_lanes(lanes, half, _mm256_castsi256_ps(v));
    }
}

/// A number of each row's block `$at`, from its float16 bits.
macro_rules! of_rows {
    ($rows:ident, $at:ident, $field:ident) => {{
        let mut bits = [0; HALF];
        for (bits, row) in bits.iter_mut().zip($rows) {
            *bits = row[$at].$field.to_bits();
        }
        halves(bits)
    }};
}

/// Blocks of 32: `codes(block)` are its codes, `scales(place, rows)` all rows' scales.
macro_rules! small_blocks {
    ($name:ident, $block:ty, $reach:expr, |$b:ident| $codes:expr,
     |$at:ident, $rows:ident| $scales:expr) => {
        #[target_feature(enable = "avx2,f16c")]
        fn $name(panel: &mut Panel, rows: &[&[$block]; ROWS]) {
            panel.shape(Grain::Signed, $reach, rows[0].len() * 32);
            let grains = panel.codes.as_chunks_mut::<8>().0.iter_mut();
            for ($at, (lines, scales)) in grains.zip(&mut panel.scales).enumerate() {
                for (half, $rows) in rows.as_chunks::<HALF>().0.iter().enumerate() {
                    let mut vectors = [_mm256_setzero_si256(); HALF];
                    for (v, row) in vectors.iter_mut().zip($rows) {
                        next_strip(row, $at);
                        let $b = &row[$at];
                        // Now 128 too large.
                        *v = _mm256_xor_si256($codes, _mm256_set1_epi8(-128));
                    }
                    put_words(lines, half, &vectors);
                    put_lanes(scales, half, $scales);
                }
            }
        }
    };
}

small_blocks!(
    q8_0,
    Q8_0,
    reach::Q8_0,
    |b| load_codes(&b.qs),
    |at, rows| of_rows!(rows, at, d)
);

small_blocks!(
    mxfp4,
    Mxfp4,
    reach::MXFP4,
    |b| {
        let twice = _mm256_broadcastsi128_si256(load_half(&TWICE));
        _mm256_shuffle_epi8(twice, nibbles(&b.qs))
    },
    |at, rows| {
        let mut scales = [0.0; HALF];
        for (scale, row) in scales.iter_mut().zip(rows) {
            *scale = row[at].half_scale();
        }
        // SAFETY: the array covers the 32 bytes read, at any alignment.
        unsafe { _mm256_loadu_ps(scales.as_ptr()) }
    }
);

#[target_feature(enable = "avx2,f16c")]
fn q2_k(panel: &mut Panel, rows: &[&[Q2K]; ROWS]) {
    panel.shape(Grain::Coarse, reach::Q2_K, rows[0].len() * 256);
    let three = _mm256_set1_epi8(3);
    for (at, lines) in panel.codes.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        for (half, rows) in rows.as_chunks::<HALF>().0.iter().enumerate() {
            let mut tables = [[_mm256_setzero_si256(); 2]; HALF];
            let mut minima = [_mm256_setzero_si256(); HALF];
            for (r, row) in rows.iter().enumerate() {
                next_strip(row, at);
                let packed = load_half(&row[at].scales);
                let scales = _mm_and_si128(packed, _mm_set1_epi8(15));
                let mins = _mm_and_si128(_mm_srli_epi16::<4>(packed), _mm_set1_epi8(15));
                // What a code becomes: 0 to 3 times its scale, four bytes a sub-block.
                tables[r] = [scales, _mm_unpackhi_epi64(scales, scales)].map(|eight| {
                    let multiples = _mm256_set1_epi32(0x0302_0100);
                    _mm256_mullo_epi32(_mm256_cvtepu8_epi32(eight), multiples)
                });
                minima[r] = _mm256_cvtepu8_epi16(mins);
            }
            put_words(&mut panel.minima[8 * at..][..8], half, &minima);
            put_lanes(&mut panel.scales[at], half, of_rows!(rows, at, d));
            put_lanes(&mut panel.units[at], half, of_rows!(rows, at, dmin));
            for (c, lines) in lines.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                // Each half of a vector holds a sub-block: 2c and 2c + 1.
                let (upper, c) = (c / 4, c as i32 % 4);
                let sub_block = _mm256_set_epi32(1, 1, 1, 1, 0, 0, 0, 0);
                let sub_block = _mm256_add_epi32(sub_block, _mm256_set1_epi32(2 * c));
                let shift = _mm_cvtsi32_si128(2 * c);
                let mut codes = [_mm256_setzero_si256(); HALF];
                for (r, row) in rows.iter().enumerate() {
                    let bytes = load(&row[at].qs.as_chunks::<32>().0[upper]);
                    let two = _mm256_and_si256(_mm256_srl_epi16(bytes, shift), three);
                    let table = _mm256_permutevar8x32_epi32(tables[r][upper], sub_block);
                    codes[r] = _mm256_shuffle_epi8(table, two);
                }
                put_words(lines, half, &codes);
            }
        }
    }
}

/// Eight bytes as 32-bit numbers.
#[inline]
#[target_feature(enable = "avx2")]
fn spread(bytes: [u8; 8]) -> __m256i {
    _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(bytes)))
}

#[target_feature(enable = "avx2,f16c")]
fn q4_k(panel: &mut Panel, rows: &[&[Q4K]; ROWS]) {
    panel.shape(Grain::Fine, reach::Q4_K, rows[0].len() * 256);
    let fifteen = _mm256_set1_epi8(15);
    for (at, lines) in panel.codes.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        for (half, rows) in rows.as_chunks::<HALF>().0.iter().enumerate() {
            let mut scales = [_mm256_setzero_si256(); HALF];
            let mut minima = [_mm256_setzero_si256(); HALF];
            for (r, row) in rows.iter().enumerate() {
                next_strip(row, at);
                let (of_row, mins) = scales_mins(&row[at]);
                let factors = _mm256_cvtepi32_ps(spread(of_row));
                scales[r] = _mm256_castps_si256(_mm256_mul_ps(factors, scale(row[at].d, 1.0)));
                // Each minimum twice: it meets two sums.
                let mins = spread(mins);
                minima[r] = _mm256_or_si256(mins, _mm256_slli_epi32::<16>(mins));
            }
            put_scales(&mut panel.scales[8 * at..][..8], half, &scales);
            put_words(&mut panel.minima[8 * at..][..8], half, &minima);
            put_lanes(&mut panel.units[at], half, of_rows!(rows, at, dmin));
            for (c, lines) in lines.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                let both = rows.map(|row| load(&row[at].qs.as_chunks::<32>().0[c]));
                let (low, high) = lines.split_at_mut(8);
                put_words(low, half, &both.map(|v| _mm256_and_si256(v, fifteen)));
                let upper = |v| _mm256_and_si256(_mm256_srli_epi16::<4>(v), fifteen);
                put_words(high, half, &both.map(upper));
            }
        }
    }
}

/// `x = d/8 · multiple · code` becomes `d/8 · multiple · (code + 64) - 8d · multiple`: the minima
/// are the multiples.
#[target_feature(enable = "avx2,f16c")]
fn iq2_xxs(panel: &mut Panel, rows: &[&[Iq2Xxs]; ROWS]) {
    panel.shape(Grain::Fine, reach::IQ2_XXS, rows[0].len() * 256);
    let lift = _mm256_set1_epi8(LIFT);
    for (at, lines) in panel.codes.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        for (half, rows) in rows.as_chunks::<HALF>().0.iter().enumerate() {
            let mut scales = [_mm256_setzero_si256(); HALF];
            let mut minima = [_mm256_setzero_si256(); HALF];
            let mut signs = [[0; 8]; HALF];
            for (r, row) in rows.iter().enumerate() {
                next_strip(row, at);
                let of_row = groups(&row[at]);
                signs[r] = of_row.signs;
                minima[r] = multiples(&of_row);
                let factors = _mm256_cvtepi32_ps(_mm256_srli_epi32::<16>(minima[r]));
                scales[r] = _mm256_castps_si256(_mm256_mul_ps(factors, scale(row[at].d, 0.125)));
            }
            put_scales(&mut panel.scales[8 * at..][..8], half, &scales);
            put_words(&mut panel.minima[8 * at..][..8], half, &minima);
            let d = of_rows!(rows, at, d);
            let unit = _mm256_mul_ps(d, _mm256_set1_ps(0.125 * f32::from(LIFT)));
            put_lanes(&mut panel.units[at], half, unit);
            for (g, lines) in lines.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let mut codes = [_mm256_setzero_si256(); HALF];
                for (r, row) in rows.iter().enumerate() {
                    let words = magnitudes(row[at].groups[g].words);
                    codes[r] = _mm256_add_epi8(lift, with_signs(words, signs[r][g]));
                }
                put_words(lines, half, &codes);
            }
        }
    }
}

/// The eight multiples, which stand in both halves of their words.
#[inline]
#[target_feature(enable = "avx2")]
fn multiples(groups: &Groups) -> __m256i {
    // SAFETY: the reference covers the 32 bytes read, at any alignment.
    unsafe { _mm256_loadu_si256(groups.multiples.as_ptr().cast()) }
}
