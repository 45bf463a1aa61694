//! The dot products with AVX2, FMA and F16C.
//!
//! The one multiplication of bytes this level has, `maddubs`, takes an unsigned and a signed side
//! and adds two products with saturation at 16 bits. Codes without sign go in as they are. For
//! signed ones the sign moves to the activations, which are never -128, so that it can be flipped.
//! The largest pair, 2 · 128 · 127, stays below the limit.

#[allow(
    clippy::wildcard_imports,
    reason = "every second word here is an intrinsic"
)]
use std::arch::x86_64::*;

use ds4_gguf::block::iq2_xxs::{Group, grid};
use ds4_gguf::block::{BF16, F16, F32, Iq2Xxs, Mxfp4, Q2K, Q4K, Q8_0, Q8K};
use ds4_gguf::scalar::E2M1;

use super::ahead::{AHEAD, look_ahead};
use super::{Dots, Q8, Simd};

detected!(Avx2);

#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the reference covers the 32 bytes read, at any alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn load_codes(codes: &[i8; 32]) -> __m256i {
    // SAFETY: the reference covers the 32 bytes read, at any alignment.
    unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn load_half(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the reference covers the 16 bytes read, at any alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_sums(sums: &[i16; 16]) -> __m256i {
    // SAFETY: the reference covers the 32 bytes read, at any alignment.
    unsafe { _mm256_loadu_si256(sums.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_floats(floats: &[f32; 8]) -> __m256 {
    // SAFETY: the reference covers the 32 bytes read, at any alignment.
    unsafe { _mm256_loadu_ps(floats.as_ptr()) }
}

/// `d · x` in all lanes.
///
/// The float16 is spread before it is converted: converted alone, it is loaded into a part of a
/// register that the compiler takes from the sum, and every block waits for the one before.
#[inline]
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn scale(d: F16, x: f32) -> __m256 {
    let d = _mm256_cvtph_ps(_mm_set1_epi16(d.to_bits() as i16));
    _mm256_mul_ps(d, _mm256_set1_ps(x))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn sum(v: __m256) -> f32 {
    let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
}

/// Sums of four products of signed codes.
#[inline]
#[target_feature(enable = "avx2")]
fn signed_products(w: __m256i, x: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(_mm256_sign_epi8(w, w), _mm256_sign_epi8(x, w));
    _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
}

/// `acc + factor · v`
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn add_scaled(acc: __m256, v: __m256i, factor: __m256) -> __m256 {
    _mm256_fmadd_ps(_mm256_cvtepi32_ps(v), factor, acc)
}

/// `acc - factor · v`
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn subtract_scaled(acc: __m256, v: __m256i, factor: __m256) -> __m256 {
    _mm256_fnmadd_ps(_mm256_cvtepi32_ps(v), factor, acc)
}

/// Float rows: `$load` turns eight stored numbers into float32.
macro_rules! float_rows {
    ($name:ident, $block:ty, |$eight:ident| $load:expr) => {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn $name(w: &[$block], x: &[f32]) -> f32 {
            let (w_runs, w_rest) = w.as_chunks::<32>();
            let (x_runs, x_rest) = x.as_chunks::<32>();
            // Four sums, because an addition takes as long as four can be started.
            let mut acc = [_mm256_setzero_ps(); 4];
            for (w, x) in w_runs.iter().zip(x_runs) {
                look_ahead(w, AHEAD);
                let (w, x) = (w.as_chunks::<8>().0, x.as_chunks::<8>().0);
                for lane in 0..4 {
                    let $eight = &w[lane];
                    acc[lane] = _mm256_fmadd_ps($load, load_floats(&x[lane]), acc[lane]);
                }
            }
            let acc = _mm256_add_ps(_mm256_add_ps(acc[0], acc[1]), _mm256_add_ps(acc[2], acc[3]));
            let rest: f32 = w_rest.iter().zip(x_rest).map(|(w, x)| w.to_f32() * x).sum();
            sum(acc) + rest
        }
    };
}

float_rows!(f32, F32, |eight| {
    // SAFETY: eight F32 are 32 bytes, read at any alignment.
    unsafe { _mm256_loadu_ps(eight.as_ptr().cast()) }
});
float_rows!(f16, F16, |eight| {
    // SAFETY: eight F16 are 16 bytes, read at any alignment.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(eight.as_ptr().cast()) })
});
float_rows!(bf16, BF16, |eight| {
    // SAFETY: eight BF16 are 16 bytes, read at any alignment.
    let bits = unsafe { _mm_loadu_si128(eight.as_ptr().cast()) };
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
});

#[target_feature(enable = "avx2,fma,f16c")]
fn q8_0(w: &[Q8_0], x: &[Q8]) -> f32 {
    let mut acc = _mm256_setzero_ps();
    for (w, x) in w.iter().zip(x) {
        look_ahead(w, AHEAD);
        let products = signed_products(load_codes(&w.qs), load_codes(&x.qs));
        acc = add_scaled(acc, products, scale(w.d, x.d));
    }
    sum(acc)
}

/// Twice the E2M1 values, by code.
pub(crate) static TWICE: [u8; 16] = {
    let mut values = [0; 16];
    let mut code = 0;
    while code < 16 {
        values[code] = E2M1::from_bits(code as u8).twice() as u8;
        code += 1;
    }
    values
};

/// The thirty-two nibbles of sixteen bytes: the low ones, then the high ones.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn nibbles(bytes: &[u8; 16]) -> __m256i {
    let bytes = load_half(bytes);
    let both = _mm256_set_m128i(_mm_srli_epi16::<4>(bytes), bytes);
    _mm256_and_si256(both, _mm256_set1_epi8(15))
}

#[target_feature(enable = "avx2,fma,f16c")]
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

/// For `k` 0 to 3: spreads 16-bit numbers 2k and 2k + 1 of each half over the lower and the upper
/// half.
static PAIRS: [[u8; 32]; 4] = {
    let mut table = [[0; 32]; 4];
    let mut k = 0;
    while k < 4 {
        let mut i = 0;
        while i < 32 {
            table[k][i] = (4 * k + 2 * (i / 16) + i % 2) as u8;
            i += 1;
        }
        k += 1;
    }
    table
};

#[target_feature(enable = "avx2,fma,f16c")]
fn q2_k(w: &[Q2K], x: &[Q8K]) -> f32 {
    let three = _mm256_set1_epi8(3);
    let mut acc = _mm256_setzero_ps();
    for (w, x) in w.iter().zip(x) {
        look_ahead(w, AHEAD);
        look_ahead(w, AHEAD + 64);
        let packed = load_half(&w.scales);
        let mins = _mm_and_si128(_mm_srli_epi16::<4>(packed), _mm_set1_epi8(15));
        let lowered = _mm256_madd_epi16(_mm256_cvtepu8_epi16(mins), load_sums(&x.sums));
        acc = subtract_scaled(acc, lowered, scale(w.dmin, x.d));

        let scales = _mm256_cvtepu8_epi16(_mm_and_si128(packed, _mm_set1_epi8(15)));
        let of_half = [
            _mm256_permute4x64_epi64::<0b01_00_01_00>(scales),
            _mm256_permute4x64_epi64::<0b11_10_11_10>(scales),
        ];
        let mut scaled = _mm256_setzero_si256();
        let x_runs = x.qs.as_chunks::<32>().0;
        for (h, qs) in w.qs.as_chunks::<32>().0.iter().enumerate() {
            let mut codes = load(qs);
            for (k, pairs) in PAIRS.iter().enumerate() {
                let x = load_codes(&x_runs[4 * h + k]);
                let pairs_of_products = _mm256_maddubs_epi16(_mm256_and_si256(codes, three), x);
                let scale = _mm256_shuffle_epi8(of_half[h], load(pairs));
                scaled = _mm256_add_epi32(scaled, _mm256_madd_epi16(pairs_of_products, scale));
                // Bits of a neighbouring byte come in from above and are masked away.
                codes = _mm256_srli_epi16::<2>(codes);
            }
        }
        acc = add_scaled(acc, scaled, scale(w.d, x.d));
    }
    sum(acc)
}

/// The eight scales and the eight minima of a Q4_K block, a byte each.
#[inline]
pub(crate) fn scales_mins(w: &Q4K) -> ([u8; 8], [u8; 8]) {
    let word = |i: usize| {
        u32::from_le_bytes([
            w.scales[i],
            w.scales[i + 1],
            w.scales[i + 2],
            w.scales[i + 3],
        ])
    };
    let (first, second, third) = (word(0), word(4), word(8));
    // Four bytes at a time: six low bits, or a nibble below the two bits left over elsewhere.
    let low = |word: u32| word & 0x3f3f_3f3f;
    let high = |nibbles: u32, tops: u32| nibbles & 0x0f0f_0f0f | (tops & 0xc0c0_c0c0) >> 2;
    let eight = |low: u32, high: u32| (u64::from(high) << 32 | u64::from(low)).to_le_bytes();
    (
        eight(low(first), high(third, first)),
        eight(low(second), high(third >> 4, second)),
    )
}

/// The minima's part of a Q4_K block: `Σ min · sums`, in eight lanes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn lowered(mins: [u8; 8], x: &Q8K) -> __m256i {
    let mins = _mm_cvtsi64_si128(i64::from_le_bytes(mins));
    // Each minimum twice: it belongs to two sums of sixteen.
    let mins = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(mins, mins));
    _mm256_madd_epi16(mins, load_sums(&x.sums))
}

#[target_feature(enable = "avx2,fma,f16c")]
fn q4_k(w: &[Q4K], x: &[Q8K]) -> f32 {
    let fifteen = _mm256_set1_epi8(15);
    let mut acc = _mm256_setzero_ps();
    for (w, x) in w.iter().zip(x) {
        look_ahead(w, AHEAD);
        look_ahead(w, AHEAD + 64);
        look_ahead(w, AHEAD + 128);
        let (scales, mins) = scales_mins(w);
        acc = subtract_scaled(acc, lowered(mins, x), scale(w.dmin, x.d));
        let mut scaled = _mm256_setzero_si256();
        let x_runs = x.qs.as_chunks::<32>().0;
        for (p, qs) in w.qs.as_chunks::<32>().0.iter().enumerate() {
            let both = load(qs);
            let low = _mm256_and_si256(both, fifteen);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), fifteen);
            for (j, codes) in [(2 * p, low), (2 * p + 1, high)] {
                let pairs = _mm256_maddubs_epi16(codes, load_codes(&x_runs[j]));
                let scale = _mm256_set1_epi16(i16::from(scales[j]));
                scaled = _mm256_add_epi32(scaled, _mm256_madd_epi16(pairs, scale));
            }
        }
        acc = add_scaled(acc, scaled, scale(w.d, x.d));
    }
    sum(acc)
}

/// What an IQ2_XXS block says about each of its eight groups, apart from the words.
pub(crate) struct Groups {
    /// The signs of all 32 values, one bit each.
    pub(crate) signs: [u32; 8],
    /// The odd multiple, in both halves of 32 bits.
    pub(crate) multiples: [u32; 8],
}

/// Unpacks signs and scales of all groups at once.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn groups(w: &Iq2Xxs) -> Groups {
    let load_four = |four: &[Group; 4]| {
        // SAFETY: four groups are the 32 bytes read, at any alignment.
        unsafe { _mm256_loadu_si256(four.as_ptr().cast()) }
    };
    let [low, high] = w.groups.as_chunks::<4>().0 else {
        unreachable!("eight groups")
    };
    let (low, high) = (load_four(low), load_four(high));
    // The upper word of each group, which come out as 0 1 4 5 2 3 6 7 and are put in order.
    let odd =
        _mm256_shuffle_ps::<0b11_01_11_01>(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high));
    let s = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_castps_si256(odd));

    let byte = |v: __m256i, mask: u32| _mm256_and_si256(v, _mm256_set1_epi32(mask as i32));
    let indices = _mm256_or_si256(
        _mm256_or_si256(byte(s, 0x7f), byte(_mm256_slli_epi32::<1>(s), 0x7f00)),
        _mm256_or_si256(
            byte(_mm256_slli_epi32::<2>(s), 0x7f_0000),
            byte(_mm256_slli_epi32::<3>(s), 0x7f00_0000),
        ),
    );
    // The eighth sign is the parity of the others: that of both nibbles together, from a table.
    let odd_nibble = _mm256_broadcastsi128_si256(load_half(&ODD_NIBBLE));
    let folded = _mm256_xor_si256(indices, _mm256_srli_epi16::<4>(indices));
    let parity = _mm256_shuffle_epi8(odd_nibble, byte(folded, 0x0f0f_0f0f));
    let signs = _mm256_or_si256(indices, parity);

    let scale = _mm256_srli_epi32::<28>(s);
    let multiple = _mm256_or_si256(_mm256_add_epi32(scale, scale), _mm256_set1_epi32(1));
    let multiples = _mm256_or_si256(multiple, _mm256_slli_epi32::<16>(multiple));
    Groups {
        signs: words(signs),
        multiples: words(multiples),
    }
}

/// The top bit where a nibble has an odd number of bits.
static ODD_NIBBLE: [u8; 16] = {
    let mut table = [0; 16];
    let mut nibble = 0;
    while nibble < 16 {
        table[nibble] = grid::even_signs(nibble as u8) & 0x80;
        nibble += 1;
    }
    table
};

#[inline]
#[target_feature(enable = "avx2")]
fn words(v: __m256i) -> [u32; 8] {
    let mut words = [0; 8];
    // SAFETY: the array covers the 32 bytes written, at any alignment.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), v) };
    words
}

/// The magnitudes of four grid words.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn magnitudes(words: [u8; 4]) -> __m256i {
    let word = |r: usize| i64::from_le_bytes(grid::MAGNITUDES[usize::from(words[r])]);
    _mm256_set_epi64x(word(3), word(2), word(1), word(0))
}

/// Spreads byte r of 32 bits over the bytes of run r.
static RUNS: [u8; 32] = {
    let mut table = [0; 32];
    let mut i = 0;
    while i < 32 {
        table[i] = (i / 8) as u8;
        i += 1;
    }
    table
};

/// `v`, negative where its bit is set: no byte of it may be -128.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn with_signs(v: __m256i, signs: u32) -> __m256i {
    let bits = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    // All bits of a byte where the value is negative; x ^ -1 is -x - 1.
    let spread = _mm256_shuffle_epi8(_mm256_set1_epi32(signs as i32), load(&RUNS));
    let negative = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bits), bits);
    _mm256_sub_epi8(_mm256_xor_si256(v, negative), negative)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn iq2_xxs(w: &[Iq2Xxs], x: &[Q8K]) -> f32 {
    let mut acc = _mm256_setzero_ps();
    for (w, x) in w.iter().zip(x) {
        look_ahead(w, AHEAD);
        let Groups { signs, multiples } = groups(w);
        let mut scaled = _mm256_setzero_si256();
        for (g, x) in x.qs.as_chunks::<32>().0.iter().enumerate() {
            let x = with_signs(load_codes(x), signs[g]);
            let pairs = _mm256_maddubs_epi16(magnitudes(w.groups[g].words), x);
            let multiple = _mm256_set1_epi32(multiples[g] as i32);
            scaled = _mm256_add_epi32(scaled, _mm256_madd_epi16(pairs, multiple));
        }
        acc = add_scaled(acc, scaled, scale(w.d, 0.125 * x.d));
    }
    sum(acc)
}
