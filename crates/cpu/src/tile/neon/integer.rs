//! Panels against eight-bit activations.
//!
//! `sdot` multiplies sixteen signed bytes, four columns of four rows, with one word of another
//! register in all lanes: sixteen codes of a token are loaded once for four lines of a panel. No
//! code of any format is beyond what a signed byte holds. Integers are exact, and scales come in as
//! on x86-64, so the bits are the same.
//!
//! A tile is gone through for eight of the sixteen rows, then for the others: two vectors of integer
//! sums and two of float sums a token fill the registers.

#[allow(
    clippy::wildcard_imports,
    reason = "every second word here is an intrinsic"
)]
use std::arch::aarch64::*;

use ds4_gguf::block::Q8K;

use super::super::panel::{Grain, Lanes, Line, Panel};
use super::super::{self as tile, ROWS};
use crate::dot::neon::{load_codes, load_floats, load_sums, sdot_lane};
use crate::dot::{Q8, Simd};

/// Most activation rows of a tile.
pub(super) const TOKENS: usize = 5;

/// Rows whose sums are in registers, and the vectors they take.
const HALF: usize = 8;
const VECTORS: usize = 2;

/// Sums of products of one token with eight rows.
type Sums = [int32x4_t; VECTORS];

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

/// A panel of Q8_0, MXFP4 or index rows against blocks of 32.
pub(super) fn small_blocks(panel: &Panel, x: &[&[Q8]; tile::TOKENS], out: &mut [[f32; ROWS]]) {
    assert!(panel.grain == Grain::Signed && Simd::NeonDot.is_supported());
    by_tokens!(out, |N, half| {
        // SAFETY: the instructions are there by the first line.
        unsafe { signed::<N>(panel, half, x, out) }
    }; 1 2 3 4 5);
}

/// A panel of Q2_K, Q4_K or IQ2_XXS against blocks of 256.
pub(super) fn super_blocks(panel: &Panel, x: &[&[Q8K]; tile::TOKENS], out: &mut [[f32; ROWS]]) {
    assert!(panel.reach < 128 && Simd::NeonDot.is_supported());
    match panel.grain {
        Grain::Fine => by_tokens!(out, |N, half| {
            // SAFETY: the instructions are there by the first line.
            unsafe { affine::<N, 8>(panel, half, x, out) }
        }; 1 2 3 4 5),
        Grain::Coarse => by_tokens!(out, |N, half| {
            // SAFETY: the instructions are there by the first line.
            unsafe { affine::<N, 64>(panel, half, x, out) }
        }; 1 2 3 4 5),
        Grain::Signed => unreachable!("that panel wants blocks of 32"),
    }
}

/// Four columns of eight rows.
#[inline]
#[target_feature(enable = "neon")]
fn eight(line: &Line, half: usize) -> [int8x16_t; VECTORS] {
    // Written so that no bound is left to check.
    let bytes = &line.0.as_chunks::<32>().0[half % 2];
    let halves = bytes.as_chunks::<16>().0;
    [0, 1].map(|at| {
        // SAFETY: the reference covers the 16 bytes read, at any alignment.
        unsafe { vld1q_s8(halves[at].as_ptr().cast()) }
    })
}

#[inline]
#[target_feature(enable = "neon")]
fn lanes(lanes: &Lanes, half: usize) -> [float32x4_t; VECTORS] {
    let lanes = &lanes.0.as_chunks::<HALF>().0[half % 2];
    let halves = lanes.as_chunks::<4>().0;
    [0, 1].map(|at| load_floats(&halves[at]))
}

/// Two minima of each of eight rows: the first ones, then the second ones.
#[inline]
#[target_feature(enable = "neon")]
fn two_minima(line: &Line, half: usize) -> [int16x8_t; 2] {
    let [a, b] = eight(line, half).map(|v| vreinterpretq_s16_s8(v));
    [vuzp1q_s16(a, b), vuzp2q_s16(a, b)]
}

/// Adds to `$sums` the products of sixteen columns, the four lines `$lines`, with `$x`. A macro,
/// because the compiler does not put a function of this size where it is called, and its sums would
/// go through memory.
///
/// Only where the machine has FEAT_DotProd.
macro_rules! add_lines {
    ($sums:ident, $lines:expr, $half:expr, $x:expr; $($k:literal)*) => {{
        let x: [int8x16_t; N] = $x;
        $(
            let w = eight(&$lines[$k], $half);
            for t in 0..N {
                for v in 0..VECTORS {
                    // SAFETY: the contract of the function around.
                    $sums[t][v] = unsafe { sdot_lane::<$k>($sums[t][v], w[v], x[t]) };
                }
            }
        )*
    }};
}

/// `acc + scale · d · sum`
#[inline]
#[target_feature(enable = "neon")]
fn add_scaled(acc: &mut [float32x4_t; VECTORS], sums: Sums, scale: [float32x4_t; VECTORS], d: f32) {
    for v in 0..VECTORS {
        let factor = vmulq_n_f32(scale[v], d);
        acc[v] = vfmaq_f32(acc[v], vcvtq_f32_s32(sums[v]), factor);
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn store<const N: usize>(acc: [[float32x4_t; VECTORS]; N], half: usize, out: &mut [[f32; ROWS]]) {
    for (acc, out) in acc.iter().zip(out) {
        let quarters = out.as_chunks_mut::<HALF>().0[half % 2].as_chunks_mut::<4>();
        for (acc, out) in acc.iter().zip(quarters.0) {
            // SAFETY: the array covers the 16 bytes written, at any alignment.
            unsafe { vst1q_f32(out.as_mut_ptr(), *acc) };
        }
    }
}

/// # Safety
/// The machine must have FEAT_DotProd.
#[target_feature(enable = "neon")]
unsafe fn signed<const N: usize>(
    panel: &Panel,
    half: usize,
    x: &[&[Q8]; tile::TOKENS],
    out: &mut [[f32; ROWS]],
) {
    let mut acc = [[vdupq_n_f32(0.0); VECTORS]; N];
    let grains = panel.codes.as_chunks::<8>().0.iter().zip(&panel.scales);
    let blocks = grains.len();
    assert!(
        x.iter().all(|x| x.len() == blocks),
        "activations as long as the panel"
    );
    for (b, (codes, scale)) in grains.enumerate() {
        let mut sums = [[vdupq_n_s32(0); VECTORS]; N];
        for (run, lines) in codes.as_chunks::<4>().0.iter().enumerate() {
            let x = std::array::from_fn(|t| load_codes(&x[t][b].qs.as_chunks::<16>().0[run]));
            add_lines!(sums, lines, half, x; 0 1 2 3);
        }
        let scale = lanes(scale, half);
        for t in 0..N {
            add_scaled(&mut acc[t], sums[t], scale, x[t][b].d);
        }
    }
    store(acc, half, out);
}

/// `LINES` lines of codes have a scale.
///
/// # Safety
/// The machine must have FEAT_DotProd.
#[target_feature(enable = "neon")]
unsafe fn affine<const N: usize, const LINES: usize>(
    panel: &Panel,
    half: usize,
    x: &[&[Q8K]; tile::TOKENS],
    out: &mut [[f32; ROWS]],
) {
    let mut acc = [[vdupq_n_f32(0.0); VECTORS]; N];
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
            let mut sums = [[vdupq_n_s32(0); VECTORS]; N];
            for (run, lines) in codes.as_chunks::<4>().0.iter().enumerate() {
                let at = g * (LINES / 4) + run;
                let x = std::array::from_fn(|t| load_codes(&x[t][b].qs.as_chunks::<16>().0[at]));
                add_lines!(sums, lines, half, x; 0 1 2 3);
            }
            let scale = lanes(scale, half);
            for t in 0..N {
                add_scaled(&mut acc[t], sums[t], scale, x[t][b].d);
            }
        }
        let minima = &panel.minima[8 * b..][..8].as_chunks::<8>().0[0];
        let mut sums = [[vdupq_n_s32(0); VECTORS]; N];
        match panel.grain {
            Grain::Fine => add_minima_of_32::<N>(&mut sums, minima, half, x, b),
            _ => add_minima_of_16::<N>(&mut sums, minima, half, x, b),
        }
        let unit = lanes(&panel.units[b], half);
        for t in 0..N {
            for v in 0..VECTORS {
                let factor = vmulq_n_f32(unit[v], x[t][b].d);
                acc[t][v] = vfmsq_f32(acc[t][v], vcvtq_f32_s32(sums[t][v]), factor);
            }
        }
    }
    store(acc, half, out);
}

/// Adds minima of eight rows times number `LANE` of `sums`.
#[inline]
#[target_feature(enable = "neon")]
fn add_minima<const LANE: i32>(acc: &mut Sums, minima: int16x8_t, sums: int16x8_t) {
    acc[0] = vmlal_laneq_s16::<LANE>(acc[0], vget_low_s16(minima), sums);
    acc[1] = vmlal_high_laneq_s16::<LANE>(acc[1], minima, sums);
}

/// Each line's minima meet two sums of sixteen activations.
#[inline]
#[target_feature(enable = "neon")]
fn add_minima_of_16<const N: usize>(
    acc: &mut [Sums; N],
    minima: &[Line; 8],
    half: usize,
    x: &[&[Q8K]; tile::TOKENS],
    b: usize,
) {
    for (lines, eight) in minima.as_chunks::<4>().0.iter().enumerate() {
        let sums: [int16x8_t; N] =
            std::array::from_fn(|t| load_sums(&x[t][b].sums.as_chunks::<8>().0[lines]));
        macro_rules! line {
            ($k:literal) => {
                let [first, second] = two_minima(&eight[$k], half);
                for t in 0..N {
                    add_minima::<{ 2 * $k }>(&mut acc[t], first, sums[t]);
                    add_minima::<{ 2 * $k + 1 }>(&mut acc[t], second, sums[t]);
                }
            };
        }
        line!(0);
        line!(1);
        line!(2);
        line!(3);
    }
}

/// The same where both minima of a line are equal: the two sums are added first, for which sixteen
/// bits are enough.
#[inline]
#[target_feature(enable = "neon")]
fn add_minima_of_32<const N: usize>(
    acc: &mut [Sums; N],
    minima: &[Line; 8],
    half: usize,
    x: &[&[Q8K]; tile::TOKENS],
    b: usize,
) {
    let sums: [int16x8_t; N] = std::array::from_fn(|t| {
        let [low, high] = x[t][b].sums.as_chunks::<8>().0 else {
            unreachable!("sixteen sums")
        };
        vpaddq_s16(load_sums(low), load_sums(high))
    });
    macro_rules! line {
        ($($k:literal)*) => {$(
            let [first, _] = two_minima(&minima[$k], half);
            for t in 0..N {
                add_minima::<$k>(&mut acc[t], first, sums[t]);
            }
        )*};
    }
    line!(0 1 2 3 4 5 6 7);
}
