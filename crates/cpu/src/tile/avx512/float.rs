//! Rows of floats against float activations: four rows with up to six tokens, sums lane by lane.

#[allow(
    clippy::wildcard_imports,
    reason = "every second word here is an intrinsic"
)]
use std::arch::x86_64::*;

use ds4_gguf::block::{BF16, F16, F32};

use super::super::common::{STRETCH, float_tile_by_format};
use super::super::{FLOAT_ROWS, FLOAT_TOKENS};
use crate::dot::Simd;

float_tile_by_format!(Simd::Avx512);

macro_rules! kernel {
    ($name:ident, $block:ty, |$sixteen:ident| $load:expr) => {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
        fn $name<const N: usize>(
            w: &[&[$block]; FLOAT_ROWS],
            x: &[&[f32]; FLOAT_TOKENS],
            out: &mut [[f32; FLOAT_ROWS]],
        ) {
            let columns = w[0].len();
            assert!(
                w.iter().all(|w| w.len() == columns) && x.iter().all(|x| x.len() == columns),
                "rows and activations of one length"
            );
            let mut total = [[_mm512_setzero_ps(); FLOAT_ROWS]; N];
            let whole = columns / 16 * 16;
            for first in (0..whole).step_by(STRETCH) {
                let mut acc = [[_mm512_setzero_ps(); FLOAT_ROWS]; N];
                for at in (first..whole.min(first + STRETCH)).step_by(16) {
                    let mut rows = [_mm512_setzero_ps(); FLOAT_ROWS];
                    for (row, w) in rows.iter_mut().zip(w) {
                        let $sixteen = w[at..at + 16].as_ptr();
                        *row = $load;
                    }
                    for (acc, x) in acc.iter_mut().zip(x) {
                        // SAFETY: the slice covers the 64 bytes read, at any alignment.
                        let x = unsafe { _mm512_loadu_ps(x[at..at + 16].as_ptr()) };
                        for (acc, row) in acc.iter_mut().zip(&rows) {
                            *acc = _mm512_fmadd_ps(*row, x, *acc);
                        }
                    }
                }
                for (total, acc) in total.as_flattened_mut().iter_mut().zip(acc.as_flattened()) {
                    *total = _mm512_add_ps(*total, *acc);
                }
            }
            for ((out, acc), x) in out.iter_mut().zip(&total).zip(x) {
                for ((out, acc), w) in out.iter_mut().zip(acc).zip(w) {
                    let rest = w[whole..].iter().zip(&x[whole..]);
                    let rest: f32 = rest.map(|(w, x)| w.to_f32() * x).sum();
                    *out = _mm512_reduce_add_ps(*acc) + rest;
                }
            }
        }
    };
}

kernel!(f32_tile, F32, |sixteen| {
    // SAFETY: sixteen F32 are the 64 bytes read, at any alignment.
    unsafe { _mm512_loadu_ps(sixteen.cast()) }
});
kernel!(f16_tile, F16, |sixteen| {
    // SAFETY: sixteen F16 are the 32 bytes read, at any alignment.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(sixteen.cast()) })
});
kernel!(bf16_tile, BF16, |sixteen| {
    // SAFETY: sixteen BF16 are the 32 bytes read, at any alignment.
    let bits = unsafe { _mm256_loadu_si256(sixteen.cast()) };
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
});
