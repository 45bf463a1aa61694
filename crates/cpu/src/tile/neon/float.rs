//! Rows of floats against float activations: four rows with up to six tokens, sums lane by lane.

#[allow(
    clippy::wildcard_imports,
    reason = "every second word here is an intrinsic"
)]
use std::arch::aarch64::*;

use ds4_gguf::block::{BF16, F16, F32};

use super::super::common::{STRETCH, float_tile_by_format};
use super::super::{FLOAT_ROWS, FLOAT_TOKENS};
use crate::dot::Simd;
use crate::dot::neon::load_floats;

float_tile_by_format!(Simd::NeonDot);

macro_rules! kernel {
    ($name:ident, $block:ty, |$four:ident| $load:expr) => {
        #[target_feature(enable = "neon")]
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
            let w_fours = w.map(|w| w.as_chunks::<4>().0);
            let x_fours = x.map(|x| x.as_chunks::<4>().0);
            let whole = columns / 4;
            let mut total = [[vdupq_n_f32(0.0); FLOAT_ROWS]; N];
            for first in (0..whole).step_by(STRETCH / 4) {
                let mut acc = [[vdupq_n_f32(0.0); FLOAT_ROWS]; N];
                for at in first..whole.min(first + STRETCH / 4) {
                    let rows = w_fours.map(|w| {
                        let $four = &w[at];
                        $load
                    });
                    for (acc, x) in acc.iter_mut().zip(&x_fours) {
                        let x = load_floats(&x[at]);
                        for (acc, row) in acc.iter_mut().zip(&rows) {
                            *acc = vfmaq_f32(*acc, *row, x);
                        }
                    }
                }
                for (total, acc) in total.as_flattened_mut().iter_mut().zip(acc.as_flattened()) {
                    *total = vaddq_f32(*total, *acc);
                }
            }
            for ((out, acc), x) in out.iter_mut().zip(&total).zip(x) {
                for ((out, acc), w) in out.iter_mut().zip(acc).zip(w) {
                    let rest = w[4 * whole..].iter().zip(&x[4 * whole..]);
                    let rest: f32 = rest.map(|(w, x)| w.to_f32() * x).sum();
                    *out = vaddvq_f32(*acc) + rest;
                }
            }
        }
    };
}

kernel!(f32_tile, F32, |four| {
    // SAFETY: four F32 are 16 bytes, read as such, at any alignment.
    vreinterpretq_f32_u8(unsafe { vld1q_u8(four.as_ptr().cast()) })
});
kernel!(f16_tile, F16, |four| {
    // SAFETY: four F16 are 8 bytes, read as such, at any alignment.
    vcvt_f32_f16(vreinterpret_f16_u8(unsafe {
        vld1_u8(four.as_ptr().cast())
    }))
});
kernel!(bf16_tile, BF16, |four| {
    // SAFETY: four BF16 are 8 bytes, read as such, at any alignment.
    let bits = vreinterpret_u16_u8(unsafe { vld1_u8(four.as_ptr().cast()) });
    vreinterpretq_f32_u32(vshll_n_u16::<16>(bits))
});
