//! The dot products with AVX-512 and VNNI.
//!
//! `dpbusd` multiplies unsigned with signed bytes and adds four products to 32 bits without a limit
//! on the way. Formats of 256 values work in vectors of 64 codes, those of 32 in half as much.

#[allow(
    clippy::wildcard_imports,
    reason = "every second word here is an intrinsic"
)]
use std::arch::x86_64::*;

use ds4_gguf::block::{BF16, F16, F32, Iq2Xxs, Mxfp4, Q2K, Q4K, Q8_0, Q8K};

use super::ahead::{AHEAD, look_ahead};
use super::avx2::{
    Groups, TWICE, add_scaled, groups, load_codes, load_half, load_sums, lowered, magnitudes,
    nibbles, scale, scales_mins, subtract_scaled, sum,
};
use super::{Dots, Q8, Simd};

detected!(Avx512);

#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: the reference covers the 64 bytes read, at any alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_codes_64(codes: &[i8; 64]) -> __m512i {
    // SAFETY: the reference covers the 64 bytes read, at any alignment.
    unsafe { _mm512_loadu_si512(codes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_floats(floats: &[f32; 16]) -> __m512 {
    // SAFETY: the reference covers the 64 bytes read, at any alignment.
    unsafe { _mm512_loadu_ps(floats.as_ptr()) }
}

/// Two runs of 32 activations: the first in the lower half.
#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn two_runs(first: &[i8; 32], second: &[i8; 32]) -> __m512i {
    _mm512_inserti64x4::<1>(
        _mm512_castsi256_si512(load_codes(first)),
        load_codes(second),
    )
}

/// `acc + d · x · v`
#[inline]
#[target_feature(enable = "avx512f,avx2,f16c")]
fn add_block(acc: __m512, v: __m512i, d: F16, x: f32) -> __m512 {
    let d = _mm512_cvtph_ps(_mm256_set1_epi16(d.to_bits() as i16));
    let factor = _mm512_mul_ps(d, _mm512_set1_ps(x));
    _mm512_fmadd_ps(_mm512_cvtepi32_ps(v), factor, acc)
}

/// Float rows: `$load` turns sixteen stored numbers into float32.
macro_rules! float_rows {
    ($name:ident, $block:ty, |$sixteen:ident| $load:expr) => {
        #[target_feature(enable = "avx512f,avx2")]
        fn $name(w: &[$block], x: &[f32]) -> f32 {
            let (w_runs, w_rest) = w.as_chunks::<64>();
            let (x_runs, x_rest) = x.as_chunks::<64>();
            // Four sums, because an addition takes as long as four can be started.
            let mut acc = [_mm512_setzero_ps(); 4];
            for (w, x) in w_runs.iter().zip(x_runs) {
                look_ahead(w, AHEAD);
                look_ahead(w, AHEAD + 64);
                let (w, x) = (w.as_chunks::<16>().0, x.as_chunks::<16>().0);
                for lane in 0..4 {
                    let $sixteen = &w[lane];
                    acc[lane] = _mm512_fmadd_ps($load, load_floats(&x[lane]), acc[lane]);
                }
            }
            let acc = _mm512_add_ps(_mm512_add_ps(acc[0], acc[1]), _mm512_add_ps(acc[2], acc[3]));
            let rest: f32 = w_rest.iter().zip(x_rest).map(|(w, x)| w.to_f32() * x).sum();
            _mm512_reduce_add_ps(acc) + rest
        }
    };
}

float_rows!(f32, F32, |sixteen| {
    // SAFETY: sixteen F32 are 64 bytes, read at any alignment.
    unsafe { _mm512_loadu_ps(sixteen.as_ptr().cast()) }
});
float_rows!(f16, F16, |sixteen| {
    // SAFETY: sixteen F16 are 32 bytes, read at any alignment.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(sixteen.as_ptr().cast()) })
});
float_rows!(bf16, BF16, |sixteen| {
    // SAFETY: sixteen BF16 are 32 bytes, read at any alignment.
    let bits = unsafe { _mm256_loadu_si256(sixteen.as_ptr().cast()) };
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
});

/// Sums of four products of signed codes.
#[inline]
#[target_feature(enable = "avx2,avx512vl,avx512vnni")]
fn signed_products(w: __m256i, x: __m256i) -> __m256i {
    let x = _mm256_sign_epi8(x, w);
    _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_abs_epi8(w), x)
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl,avx512vnni")]
fn q8_0(w: &[Q8_0], x: &[Q8]) -> f32 {
    let mut acc = _mm256_setzero_ps();
    for (w, x) in w.iter().zip(x) {
        look_ahead(w, AHEAD);
        let products = signed_products(load_codes(&w.qs), load_codes(&x.qs));
        acc = add_scaled(acc, products, scale(w.d, x.d));
    }
    sum(acc)
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl,avx512vnni")]
fn mxfp4(w: &[Mxfp4], x: &[Q8]) -> f32 {
    let twice = _mm256_broadcastsi128_si256(load_half(&TWICE));
    let mut acc = _mm256_setzero_ps();
    for (w, x) in w.iter().zip(x) {
        look_ahead(w, AHEAD);
        let codes = _mm256_shuffle_epi8(twice, nibbles(&w.qs));
        let products = signed_products(codes, load_codes(&x.qs));
        acc = add_scaled(acc, products, _mm256_set1_ps(w.half_scale() * x.d));
    }
    sum(acc)
}

/// For `k` 0 to 3: the sub-blocks of Q2_K whose sums of four products are in the sixteen lanes.
static SUB_BLOCKS: [[i32; 16]; 4] = {
    let mut table = [[0; 16]; 4];
    let mut k = 0;
    while k < 4 {
        let mut lane = 0;
        while lane < 16 {
            table[k][lane] = (8 * (lane / 8) + 2 * k + lane % 8 / 4) as i32;
            lane += 1;
        }
        k += 1;
    }
    table
};

#[inline]
#[target_feature(enable = "avx512f")]
fn load_lanes(lanes: &[i32; 16]) -> __m512i {
    // SAFETY: the reference covers the 64 bytes read, at any alignment.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn q2_k(w: &[Q2K], x: &[Q8K]) -> f32 {
    let three = _mm512_set1_epi8(3);
    let mut acc = _mm512_setzero_ps();
    let mut acc_min = _mm256_setzero_ps();
    for (w, x) in w.iter().zip(x) {
        look_ahead(w, AHEAD);
        look_ahead(w, AHEAD + 64);
        let packed = load_half(&w.scales);
        let mins = _mm_and_si128(_mm_srli_epi16::<4>(packed), _mm_set1_epi8(15));
        let lowered = _mm256_madd_epi16(_mm256_cvtepu8_epi16(mins), load_sums(&x.sums));
        acc_min = subtract_scaled(acc_min, lowered, scale(w.dmin, x.d));

        let scales = _mm512_cvtepu8_epi32(_mm_and_si128(packed, _mm_set1_epi8(15)));
        let x_runs = x.qs.as_chunks::<32>().0;
        let mut codes = load(&w.qs);
        let mut scaled = _mm512_setzero_si512();
        for (k, sub_blocks) in SUB_BLOCKS.iter().enumerate() {
            let x = two_runs(&x_runs[k], &x_runs[4 + k]);
            let zero = _mm512_setzero_si512();
            let products = _mm512_dpbusd_epi32(zero, _mm512_and_si512(codes, three), x);
            let scale = _mm512_permutexvar_epi32(load_lanes(sub_blocks), scales);
            scaled = _mm512_add_epi32(scaled, _mm512_mullo_epi32(products, scale));
            // Bits of a neighbouring byte come in from above and are masked away.
            codes = _mm512_srli_epi16::<2>(codes);
        }
        acc = add_block(acc, scaled, w.d, x.d);
    }
    _mm512_reduce_add_ps(acc) + sum(acc_min)
}

/// A number in the lower eight lanes and another one in the upper eight.
#[inline]
#[target_feature(enable = "avx512f")]
fn two_factors(first: u8, second: u8) -> __m512i {
    _mm512_mask_set1_epi32(
        _mm512_set1_epi32(i32::from(first)),
        0xff00,
        i32::from(second),
    )
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn q4_k(w: &[Q4K], x: &[Q8K]) -> f32 {
    let fifteen = _mm512_set1_epi8(15);
    let mut acc = _mm512_setzero_ps();
    let mut acc_min = _mm256_setzero_ps();
    for (w, x) in w.iter().zip(x) {
        look_ahead(w, AHEAD);
        look_ahead(w, AHEAD + 64);
        look_ahead(w, AHEAD + 128);
        let (scales, mins) = scales_mins(w);
        acc_min = subtract_scaled(acc_min, lowered(mins, x), scale(w.dmin, x.d));
        let x_runs = x.qs.as_chunks::<32>().0;
        let mut scaled = _mm512_setzero_si512();
        for (c, qs) in w.qs.as_chunks::<64>().0.iter().enumerate() {
            let both = load(qs);
            let low = _mm512_and_si512(both, fifteen);
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(both), fifteen);
            // Sub-blocks j and j + 2: their codes are 32 bytes apart.
            for (j, codes) in [(4 * c, low), (4 * c + 1, high)] {
                let x = two_runs(&x_runs[j], &x_runs[j + 2]);
                let products = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, x);
                let scale = two_factors(scales[j], scales[j + 2]);
                scaled = _mm512_add_epi32(scaled, _mm512_mullo_epi32(products, scale));
            }
        }
        acc = add_block(acc, scaled, w.d, x.d);
    }
    _mm512_reduce_add_ps(acc) + sum(acc_min)
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn iq2_xxs(w: &[Iq2Xxs], x: &[Q8K]) -> f32 {
    let zero = _mm512_setzero_si512();
    let mut acc = _mm512_setzero_ps();
    for (w, x) in w.iter().zip(x) {
        look_ahead(w, AHEAD);
        let Groups { signs, multiples } = groups(w);
        let mut scaled = zero;
        for (pair, x) in x.qs.as_chunks::<64>().0.iter().enumerate() {
            let (a, b) = (2 * pair, 2 * pair + 1);
            let negative = u64::from(signs[b]) << 32 | u64::from(signs[a]);
            let x = load_codes_64(x);
            let x = _mm512_mask_sub_epi8(x, negative, zero, x);
            let first = _mm512_castsi256_si512(magnitudes(w.groups[a].words));
            let words = _mm512_inserti64x4::<1>(first, magnitudes(w.groups[b].words));
            let products = _mm512_dpbusd_epi32(zero, words, x);
            let multiple = two_factors(multiples[a] as u8, multiples[b] as u8);
            scaled = _mm512_add_epi32(scaled, _mm512_mullo_epi32(products, multiple));
        }
        acc = add_block(acc, scaled, w.d, 0.125 * x.d);
    }
    _mm512_reduce_add_ps(acc)
}
