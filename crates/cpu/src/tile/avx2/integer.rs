//! Panels against eight-bit activations.
//!
//! `maddubs` multiplies unsigned with signed bytes and adds two products in 16 bits, with
//! saturation; `madd` brings pairs to 32 bits. Codes of Q8_0 take the whole range of bytes: their
//! signs move to the activations, as in the dot products. All others are small enough to go in as
//! they are, and most so small that several lines add up before they need 32 bits. Integers are
//! exact, and scales come in as with AVX-512, so both levels give the same bits.
//!
//! A vector has eight of the sixteen rows: a tile is gone through for one half, then for the other.

#[allow(
    clippy::wildcard_imports,
    reason = "every second word here is an intrinsic"
)]
use std::arch::x86_64::*;

use ds4_gguf::block::Q8K;

use super::super::panel::{Grain, Lanes, Line, Panel};
use super::super::{self as tile, ROWS};
use super::unpack::HALF;
use crate::dot::avx2::load;
use crate::dot::{Q8, Simd};

/// Most activation rows of a tile: integer and float sums of one half fill the registers.
pub(super) const TOKENS: usize = 6;

/// Calls `$call` for each half and as many tokens as there are results.
macro_rules! by_tokens {
    ($out:expr, |$count:ident, $half:ident| $call:expr; $($n:literal)*) => {
        for $half in 0..ROWS / HALF {
            match $out.len() {
                $($n => { const $count: usize = $n; $call })*
                count => unreachable!("a tile of {count} tokens"),
            }
        }
    };
}

/// Lines whose products, two of them a pair, add up in 16 bits.
const fn lines(reach: i32) -> usize {
    (i16::MAX as i32 / (2 * 127 * reach)) as usize
}

/// What codes of small reach stay above 128 minus what they are, to go in unsigned.
const LIFT: i32 = 16;

/// A panel of Q8_0, MXFP4 or index rows against blocks of 32.
pub(super) fn small_blocks(panel: &Panel, x: &[&[Q8]; tile::TOKENS], out: &mut [[f32; ROWS]]) {
    assert!(panel.grain == Grain::Signed && Simd::Avx2.is_supported());
    if i32::from(panel.reach) < LIFT {
        by_tokens!(out, |N, half| {
            // SAFETY: the instructions are there by the first line.
            unsafe { lifted::<N>(panel, half, x, out) }
        }; 1 2 3 4 5 6);
    } else {
        by_tokens!(out, |N, half| {
            // SAFETY: the instructions are there by the first line.
            unsafe { shifted::<N>(panel, half, x, out) }
        }; 1 2 3 4 5 6);
    }
}

/// A panel of Q2_K, Q4_K or IQ2_XXS against blocks of 256.
pub(super) fn super_blocks(panel: &Panel, x: &[&[Q8K]; tile::TOKENS], out: &mut [[f32; ROWS]]) {
    assert!(Simd::Avx2.is_supported());
    match (panel.grain, lines(i32::from(panel.reach))) {
        (Grain::Fine, 8..) => by_tokens!(out, |N, half| {
            // SAFETY: the instructions are there by the first line.
            unsafe { affine::<N, 8, 8>(panel, half, x, out) }
        }; 1 2 3 4 5 6),
        (Grain::Fine, 1..) => by_tokens!(out, |N, half| {
            // SAFETY: the instructions are there by the first line.
            unsafe { affine::<N, 8, 1>(panel, half, x, out) }
        }; 1 2 3 4 5 6),
        (Grain::Coarse, 2..) => by_tokens!(out, |N, half| {
            // SAFETY: the instructions are there by the first line.
            unsafe { affine::<N, 64, 2>(panel, half, x, out) }
        }; 1 2 3 4 5 6),
        (grain, _) => unreachable!("a {grain:?} panel of codes up to {}", panel.reach),
    }
}

/// One half of a line.
#[inline]
#[target_feature(enable = "avx2")]
fn eight(line: &Line, half: usize) -> __m256i {
    // Written so that no bound is left to check.
    load(&line.0.as_chunks::<32>().0[half % 2])
}

#[inline]
#[target_feature(enable = "avx2")]
fn lanes(lanes: &Lanes, half: usize) -> __m256 {
    let lanes = &lanes.0.as_chunks::<HALF>().0[half % 2];
    // SAFETY: the reference covers the 32 bytes read, at any alignment.
    unsafe { _mm256_loadu_ps(lanes.as_ptr()) }
}

/// Four codes of a token in every lane.
#[inline]
#[target_feature(enable = "avx2")]
fn four(codes: &[i8; 4]) -> __m256i {
    _mm256_set1_epi32(i32::from_le_bytes(codes.map(|q| q as u8)))
}

/// Two sums of a token in every lane.
#[inline]
#[target_feature(enable = "avx2")]
fn two(sums: &[i16; 2]) -> __m256i {
    _mm256_set1_epi32(i32::from(sums[1]) << 16 | i32::from(sums[0] as u16))
}

/// `sum` and the pairs of products.
#[inline]
#[target_feature(enable = "avx2")]
fn add_pairs(sum: __m256i, pairs: __m256i) -> __m256i {
    _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

/// `acc + scale · d · sum`
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_scaled(acc: __m256, sum: __m256i, scale: __m256, d: f32) -> __m256 {
    let factor = _mm256_mul_ps(scale, _mm256_set1_ps(d));
    _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), factor, acc)
}

#[inline]
#[target_feature(enable = "avx2")]
fn store<const N: usize>(acc: [__m256; N], half: usize, out: &mut [[f32; ROWS]]) {
    for (acc, out) in acc.iter().zip(out) {
        let out = &mut out.as_chunks_mut::<HALF>().0[half % 2];
        // SAFETY: the array covers the 32 bytes written, at any alignment.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), *acc) };
    }
}

/// Codes of any size, 128 too large.
#[target_feature(enable = "avx2,fma")]
fn shifted<const N: usize>(
    panel: &Panel,
    half: usize,
    x: &[&[Q8]; tile::TOKENS],
    out: &mut [[f32; ROWS]],
) {
    let mut acc = [_mm256_setzero_ps(); N];
    let grains = panel.codes.as_chunks::<8>().0.iter().zip(&panel.scales);
    let blocks = grains.len();
    assert!(
        x.iter().all(|x| x.len() == blocks),
        "activations as long as the panel"
    );
    for (b, (codes, scale)) in grains.enumerate() {
        let mut sums = [_mm256_setzero_si256(); N];
        for (k, codes) in codes.iter().enumerate() {
            let w = _mm256_xor_si256(eight(codes, half), _mm256_set1_epi8(-128));
            let size = _mm256_abs_epi8(w);
            for t in 0..N {
                let x = four(&x[t][b].qs.as_chunks::<4>().0[k]);
                let pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(x, w));
                sums[t] = add_pairs(sums[t], pairs);
            }
        }
        let scale = lanes(scale, half);
        for t in 0..N {
            acc[t] = add_scaled(acc[t], sums[t], scale, x[t][b].d);
        }
    }
    store(acc, half, out);
}

/// Codes within [`LIFT`] of 128.
#[target_feature(enable = "avx2,fma")]
fn lifted<const N: usize>(
    panel: &Panel,
    half: usize,
    x: &[&[Q8]; tile::TOKENS],
    out: &mut [[f32; ROWS]],
) {
    const TOGETHER: usize = 4;
    const { assert!(TOGETHER <= lines(2 * LIFT - 1)) };
    let mut acc = [_mm256_setzero_ps(); N];
    let grains = panel.codes.as_chunks::<8>().0.iter().zip(&panel.scales);
    let blocks = grains.len();
    assert!(
        x.iter().all(|x| x.len() == blocks),
        "activations as long as the panel"
    );
    let excess = _mm256_set1_epi8((128 - LIFT) as i8);
    for (b, (codes, scale)) in grains.enumerate() {
        // What the lift adds is known, as what 128 would add is.
        let mut sums = [_mm256_setzero_si256(); N];
        for t in 0..N {
            sums[t] = _mm256_set1_epi32(x[t][b].excess / (128 / LIFT));
        }
        for (run, codes) in codes.as_chunks::<TOGETHER>().0.iter().enumerate() {
            let mut pairs = [_mm256_setzero_si256(); N];
            for (k, codes) in codes.iter().enumerate() {
                let w = _mm256_sub_epi8(eight(codes, half), excess);
                for t in 0..N {
                    let x = four(&x[t][b].qs.as_chunks::<4>().0[run * TOGETHER + k]);
                    pairs[t] = _mm256_add_epi16(pairs[t], _mm256_maddubs_epi16(w, x));
                }
            }
            for t in 0..N {
                sums[t] = add_pairs(sums[t], pairs[t]);
            }
        }
        let scale = lanes(scale, half);
        for t in 0..N {
            acc[t] = add_scaled(acc[t], sums[t], scale, x[t][b].d);
        }
    }
    store(acc, half, out);
}

/// `LINES` lines of codes have a scale, and products of `TOGETHER` of them add up in 16 bits.
#[target_feature(enable = "avx2,fma")]
fn affine<const N: usize, const LINES: usize, const TOGETHER: usize>(
    panel: &Panel,
    half: usize,
    x: &[&[Q8K]; tile::TOKENS],
    out: &mut [[f32; ROWS]],
) {
    let mut acc = [_mm256_setzero_ps(); N];
    let supers = panel.codes.as_chunks::<64>().0.iter();
    let blocks = supers.len();
    assert!(
        x.iter().all(|x| x.len() == blocks),
        "activations as long as the panel"
    );
    let grains = 64 / LINES;
    for (b, codes) in supers.enumerate() {
        let scales = &panel.scales[b * grains..][..grains];
        for (g, (codes, scale)) in codes.as_chunks::<LINES>().0.iter().zip(scales).enumerate() {
            let mut sums = [_mm256_setzero_si256(); N];
            for (run, codes) in codes.as_chunks::<TOGETHER>().0.iter().enumerate() {
                let mut pairs = [_mm256_setzero_si256(); N];
                for (k, codes) in codes.iter().enumerate() {
                    let w = eight(codes, half);
                    for t in 0..N {
                        let x = &x[t][b].qs.as_chunks::<4>().0[g * LINES + run * TOGETHER + k];
                        let products = _mm256_maddubs_epi16(w, four(x));
                        pairs[t] = _mm256_add_epi16(pairs[t], products);
                    }
                }
                for t in 0..N {
                    sums[t] = add_pairs(sums[t], pairs[t]);
                }
            }
            let scale = lanes(scale, half);
            for t in 0..N {
                acc[t] = add_scaled(acc[t], sums[t], scale, x[t][b].d);
            }
        }
        let mut sums = [_mm256_setzero_si256(); N];
        for (k, minima) in panel.minima[8 * b..][..8].iter().enumerate() {
            let w = eight(minima, half);
            for t in 0..N {
                let x = two(&x[t][b].sums.as_chunks::<2>().0[k]);
                sums[t] = _mm256_add_epi32(sums[t], _mm256_madd_epi16(w, x));
            }
        }
        let unit = lanes(&panel.units[b], half);
        for t in 0..N {
            let factor = _mm256_mul_ps(unit, _mm256_set1_ps(x[t][b].d));
            acc[t] = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(sums[t]), factor, acc[t]);
        }
    }
    store(acc, half, out);
}
