//! Rows of floats against float activations: two rows at a time with up to six tokens, which is
//! what sixteen registers hold, sums lane by lane.

#[allow(
    clippy::wildcard_imports,
    reason = "every second word here is an intrinsic"
)]
use std::arch::x86_64::*;

use ds4_gguf::Format;
use ds4_gguf::block::{BF16, F16, F32};

use super::super::common::{STRETCH, numbers};
use super::super::{FLOAT_ROWS, FLOAT_TOKENS};
use crate::dot::Simd;
use crate::dot::avx2::sum;

/// Rows whose sums are in registers.
const PAIR: usize = 2;

/// Products of four rows of F32, F16 or BF16 with as many tokens as there are results.
pub(super) fn float_tile(
    format: Format,
    rows: &[&[u8]; FLOAT_ROWS],
    x: &[&[f32]; FLOAT_TOKENS],
    out: &mut [[f32; FLOAT_ROWS]],
) {
    assert!(Simd::Avx2.is_supported());
    macro_rules! by_tokens {
        ($kernel:ident, $block:ty: $($n:literal)*) => {{
            let rows = numbers::<$block>(rows);
            for (pair, rows) in rows.as_chunks::<PAIR>().0.iter().enumerate() {
                match out.len() {
                    // SAFETY: the instructions are there by the first line.
                    $($n => unsafe { $kernel::<$n>(rows, pair * PAIR, x, out) },)*
                    count => unreachable!("a tile of {count} tokens"),
                }
            }
        }};
    }
    match format {
        Format::F32 => by_tokens!(f32_tile, F32: 1 2 3 4 5 6),
        Format::F16 => by_tokens!(f16_tile, F16: 1 2 3 4 5 6),
        Format::BF16 => by_tokens!(bf16_tile, BF16: 1 2 3 4 5 6),
        format => unreachable!("{format} is not floats"),
    }
}

macro_rules! kernel {
    ($name:ident, $block:ty, |$eight:ident| $load:expr) => {
        /// Results of the rows `w` go to the places from `first` on.
        #[target_feature(enable = "avx2,fma,f16c")]
        fn $name<const N: usize>(
            w: &[&[$block]; PAIR],
            first: usize,
            x: &[&[f32]; FLOAT_TOKENS],
            out: &mut [[f32; FLOAT_ROWS]],
        ) {
            let columns = w[0].len();
            assert!(
                w.iter().all(|w| w.len() == columns) && x.iter().all(|x| x.len() == columns),
                "rows and activations of one length"
            );
            let mut total = [[_mm256_setzero_ps(); PAIR]; N];
            let whole = columns / 8 * 8;
            for start in (0..whole).step_by(STRETCH) {
                let mut acc = [[_mm256_setzero_ps(); PAIR]; N];
                for at in (start..whole.min(start + STRETCH)).step_by(8) {
                    let mut rows = [_mm256_setzero_ps(); PAIR];
                    for (row, w) in rows.iter_mut().zip(w) {
                        let $eight = w[at..at + 8].as_ptr();
                        *row = $load;
                    }
                    for (acc, x) in acc.iter_mut().zip(x) {
                        // SAFETY: the slice covers the 32 bytes read, at any alignment.
                        let x = unsafe { _mm256_loadu_ps(x[at..at + 8].as_ptr()) };
                        for (acc, row) in acc.iter_mut().zip(&rows) {
                            *acc = _mm256_fmadd_ps(*row, x, *acc);
                        }
                    }
                }
                for (total, acc) in total.as_flattened_mut().iter_mut().zip(acc.as_flattened()) {
                    *total = _mm256_add_ps(*total, *acc);
                }
            }
            for ((out, acc), x) in out.iter_mut().zip(&total).zip(x) {
                for ((out, acc), w) in out[first..].iter_mut().zip(acc).zip(w) {
                    let rest = w[whole..].iter().zip(&x[whole..]);
                    let rest: f32 = rest.map(|(w, x)| w.to_f32() * x).sum();
                    *out = sum(*acc) + rest;
                }
            }
        }
    };
}

kernel!(f32_tile, F32, |eight| {
    // SAFETY: eight F32 are the 32 bytes read, at any alignment.
    unsafe { _mm256_loadu_ps(eight.cast()) }
});
kernel!(f16_tile, F16, |eight| {
    // SAFETY: eight F16 are the 16 bytes read, at any alignment.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(eight.cast()) })
});
kernel!(bf16_tile, BF16, |eight| {
    // SAFETY: eight BF16 are the 16 bytes read, at any alignment.
    let bits = unsafe { _mm_loadu_si128(eight.cast()) };
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
});
