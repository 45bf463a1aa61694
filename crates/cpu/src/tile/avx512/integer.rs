//! Panels against eight-bit activations.
//!
//! `dpbusd` takes the codes of the panel as unsigned and those of the token, repeated over all
//! lanes, as signed bytes; it adds four products to 32 bits, which no sum here fills. Scales come
//! in at the end of each grain, in float32.

#[allow(
    clippy::wildcard_imports,
    reason = "every second word here is an intrinsic"
)]
use std::arch::x86_64::*;

use ds4_gguf::block::Q8K;

use super::super::panel::{Grain, Lanes, Line, Panel};
use super::super::{ROWS, TOKENS};
use crate::dot::{Q8, Simd};

/// Calls `$kernel` for as many tokens as there are results.
macro_rules! by_tokens {
    ($out:expr, |$count:ident| $call:expr; $($n:literal)*) => {
        match $out.len() {
            $($n => { const $count: usize = $n; $call })*
            count => unreachable!("a tile of {count} tokens"),
        }
    };
}

/// A panel of Q8_0 or MXFP4 against blocks of 32.
pub(in crate::tile) fn small_blocks(panel: &Panel, x: &[&[Q8]; TOKENS], out: &mut [[f32; ROWS]]) {
    assert!(panel.grain == Grain::Signed && Simd::Avx512.is_supported());
    by_tokens!(out, |N| {
        // SAFETY: the instructions are there by the line above.
        unsafe { shifted::<N>(panel, x, out) }
    }; 1 2 3 4 5 6 7 8 9 10 11 12);
}

/// A panel of Q2_K, Q4_K or IQ2_XXS against blocks of 256.
pub(in crate::tile) fn super_blocks(panel: &Panel, x: &[&[Q8K]; TOKENS], out: &mut [[f32; ROWS]]) {
    assert!(Simd::Avx512.is_supported());
    match panel.grain {
        Grain::Fine => by_tokens!(out, |N| {
            // SAFETY: the instructions are there by the first line.
            unsafe { affine::<N, 8>(panel, x, out) }
        }; 1 2 3 4 5 6 7 8 9 10 11 12),
        Grain::Coarse => by_tokens!(out, |N| {
            // SAFETY: the instructions are there by the first line.
            unsafe { affine::<N, 64>(panel, x, out) }
        }; 1 2 3 4 5 6 7 8 9 10 11 12),
        Grain::Signed => unreachable!("that panel wants blocks of 32"),
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn line(line: &Line) -> __m512i {
    // SAFETY: the reference covers the 64 bytes read, and lines are aligned.
    unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn lanes(lanes: &Lanes) -> __m512 {
    // SAFETY: the reference covers the 64 bytes read, and lanes are aligned.
    unsafe { _mm512_load_ps(lanes.0.as_ptr()) }
}

/// Four codes of a token in every lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn four(codes: &[i8; 4]) -> __m512i {
    _mm512_set1_epi32(i32::from_le_bytes(codes.map(|q| q as u8)))
}

/// Two sums of a token in every lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn two(sums: &[i16; 2]) -> __m512i {
    _mm512_set1_epi32(i32::from(sums[1]) << 16 | i32::from(sums[0] as u16))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store<const N: usize>(acc: [__m512; N], out: &mut [[f32; ROWS]]) {
    for (acc, out) in acc.iter().zip(out) {
        // SAFETY: the array covers the 64 bytes written, at any alignment.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), *acc) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn shifted<const N: usize>(panel: &Panel, x: &[&[Q8]; TOKENS], out: &mut [[f32; ROWS]]) {
    let mut acc = [_mm512_setzero_ps(); N];
    let grains = panel.codes.as_chunks::<8>().0.iter().zip(&panel.scales);
    let blocks = grains.len();
    assert!(
        x.iter().all(|x| x.len() == blocks),
        "activations as long as the panel"
    );
    for (b, (codes, scale)) in grains.enumerate() {
        // All codes are 128 too large: what that adds is known beforehand.
        let mut sums = [_mm512_setzero_si512(); N];
        for t in 0..N {
            sums[t] = _mm512_set1_epi32(x[t][b].excess);
        }
        for (k, codes) in codes.iter().enumerate() {
            let w = line(codes);
            for t in 0..N {
                let x = &x[t][b].qs.as_chunks::<4>().0[k];
                sums[t] = _mm512_dpbusd_epi32(sums[t], w, four(x));
            }
        }
        let scale = lanes(scale);
        for t in 0..N {
            let factor = _mm512_mul_ps(scale, _mm512_set1_ps(x[t][b].d));
            acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[t]), factor, acc[t]);
        }
    }
    store(acc, out);
}

/// `LINES` lines of codes have a scale.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn affine<const N: usize, const LINES: usize>(
    panel: &Panel,
    x: &[&[Q8K]; TOKENS],
    out: &mut [[f32; ROWS]],
) {
    let mut acc = [_mm512_setzero_ps(); N];
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
            let mut sums = [_mm512_setzero_si512(); N];
            for (k, codes) in codes.iter().enumerate() {
                let w = line(codes);
                for t in 0..N {
                    let x = &x[t][b].qs.as_chunks::<4>().0[g * LINES + k];
                    sums[t] = _mm512_dpbusd_epi32(sums[t], w, four(x));
                }
            }
            let scale = lanes(scale);
            for t in 0..N {
                let factor = _mm512_mul_ps(scale, _mm512_set1_ps(x[t][b].d));
                acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[t]), factor, acc[t]);
            }
        }
        let mut sums = [_mm512_setzero_si512(); N];
        for (k, minima) in panel.minima[8 * b..][..8].iter().enumerate() {
            let w = line(minima);
            for t in 0..N {
                let x = &x[t][b].sums.as_chunks::<2>().0[k];
                sums[t] = _mm512_dpwssd_epi32(sums[t], w, two(x));
            }
        }
        let unit = lanes(&panel.units[b]);
        for t in 0..N {
            let factor = _mm512_mul_ps(unit, _mm512_set1_ps(x[t][b].d));
            acc[t] = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(sums[t]), factor, acc[t]);
        }
    }
    store(acc, out);
}
