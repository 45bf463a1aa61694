//! The dot products with NEON, alone or with the dot product extension.
//!
//! The two levels differ in one function, [`add_products`]: the extension multiplies sixteen pairs
//! of bytes and adds them four by four in one instruction; without it products are 16 bits wide
//! before they are added. Two fit there because activations are never -128: the largest sum,
//! 2 · 128 · 127, stays below the limit. Both levels add the same integers and differ only in the
//! order of float additions.
//!
//! The formats of super-blocks share a shape: the sums of products of four sub-blocks are put side
//! by side in the lanes of one vector, which meets a vector of their four scales.

#[allow(
    clippy::wildcard_imports,
    reason = "every second word here is an intrinsic"
)]
use std::arch::aarch64::*;
use std::arch::asm;

use ds4_gguf::block::iq2_xxs::grid;
use ds4_gguf::block::{BF16, F16, F32, Iq2Xxs, Mxfp4, Q2K, Q4K, Q8_0, Q8K};
use ds4_gguf::scalar::E2M1;

use super::{Dots, Q8, Simd};

/// Functions that may be called only where their level is supported, [`Simd::Neon`] or with `DOT`
/// [`Simd::NeonDot`], in the safe form a table needs.
macro_rules! detected {
    (
        floats: $($float:ident $float_block:ty),*;
        codes: $($name:ident $block:ty, $x:ty;)*
    ) => {
        mod checked {
            use super::*;
            $(pub(super) fn $float(w: &[$float_block], x: &[f32]) -> f32 {
                // SAFETY: `Dots::of` hands out a table only after it found the instructions.
                unsafe { super::$float(w, x) }
            })*
            $(pub(super) fn $name<const DOT: bool>(w: &[$block], x: &[$x]) -> f32 {
                // SAFETY: `Dots::of` hands out a table only after it found the instructions.
                unsafe { super::$name::<DOT>(w, x) }
            })*
        }
        /// The table without the extension. Only [`Dots::of`] may hand it out.
        pub(super) const NEON: Dots = Dots {
            simd: Simd::Neon,
            $($float: checked::$float,)*
            $($name: checked::$name::<false>),*
        };
        /// The table with the extension. Only [`Dots::of`] may hand it out.
        pub(super) const NEON_DOT: Dots = Dots {
            simd: Simd::NeonDot,
            $($name: checked::$name::<true>,)*
            ..NEON
        };
    };
}

detected! {
    floats: f32 F32, f16 F16, bf16 BF16;
    codes:
    q8_0 Q8_0, Q8;
    mxfp4 Mxfp4, Q8;
    q2_k Q2K, Q8K;
    q4_k Q4K, Q8K;
    iq2_xxs Iq2Xxs, Q8K;
}

#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn load(bytes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: the reference covers the 16 bytes read, at any alignment.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn load_codes(codes: &[i8; 16]) -> int8x16_t {
    // SAFETY: the reference covers the 16 bytes read, at any alignment.
    unsafe { vld1q_s8(codes.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn load_sums(sums: &[i16; 8]) -> int16x8_t {
    // SAFETY: the reference covers the 16 bytes read, at any alignment.
    unsafe { vld1q_s16(sums.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn load_floats(floats: &[f32; 4]) -> float32x4_t {
    // SAFETY: the reference covers the 16 bytes read, at any alignment.
    unsafe { vld1q_f32(floats.as_ptr()) }
}

/// The value of a float16, by the instruction for it.
#[inline]
#[target_feature(enable = "neon")]
fn float(d: F16) -> f32 {
    let d = vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(d.to_bits())));
    vgetq_lane_f32::<0>(d)
}

/// `acc` plus sums of four products each, of signed codes.
///
/// Which four go into which lane is the level's affair; all lanes together are the sum of all.
#[inline]
#[target_feature(enable = "neon")]
fn add_products<const DOT: bool>(acc: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    if DOT {
        // SAFETY: functions with `DOT` are called only where the extension is supported.
        unsafe { sdot(acc, w, x) }
    } else {
        let pairs = vmull_s8(vget_low_s8(w), vget_low_s8(x));
        vpadalq_s16(acc, vmlal_high_s8(pairs, w, x))
    }
}

/// The extension's instruction, whose intrinsic is not stable yet.
///
/// # Safety
/// The machine must have FEAT_DotProd.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn sdot(mut acc: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    // The assembler's leave to use the instruction ends with the block.
    // SAFETY: it works on three registers alone, and the caller vouches that the machine has it.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {acc:v}.4s, {w:v}.16b, {x:v}.16b",
            acc = inout(vreg) acc,
            w = in(vreg) w,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    acc
}

/// The same with four activations, words `LANE` of `x`, in every lane.
///
/// # Safety
/// The machine must have FEAT_DotProd.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) unsafe fn sdot_lane<const LANE: usize>(
    mut acc: int32x4_t,
    w: int8x16_t,
    x: int8x16_t,
) -> int32x4_t {
    // SAFETY: it works on three registers alone, and the caller vouches that the machine has it.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {acc:v}.4s, {w:v}.16b, {x:v}.4b[{lane}]",
            acc = inout(vreg) acc,
            w = in(vreg) w,
            x = in(vreg) x,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    acc
}

/// The sums of products of sixteen codes, in whatever lanes.
#[inline]
#[target_feature(enable = "neon")]
fn products<const DOT: bool>(w: int8x16_t, x: &[i8; 16]) -> int32x4_t {
    add_products::<DOT>(vdupq_n_s32(0), w, load_codes(x))
}

/// The same of thirty-two.
#[inline]
#[target_feature(enable = "neon")]
fn products_of_two<const DOT: bool>(w: [int8x16_t; 2], x: &[i8; 32]) -> int32x4_t {
    let [first, second] = halves(x);
    add_products::<DOT>(products::<DOT>(w[0], first), w[1], load_codes(second))
}

#[inline]
fn halves<T>(whole: &[T; 32]) -> [&[T; 16]; 2] {
    let [first, second] = whole.as_chunks::<16>().0 else {
        unreachable!("two halves")
    };
    [first, second]
}

/// The sum of each of four vectors, one a lane.
#[inline]
#[target_feature(enable = "neon")]
fn side_by_side(v: [int32x4_t; 4]) -> int32x4_t {
    vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]))
}

/// Small numbers without sign as 32-bit lanes, the lower and the upper four.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn widened(bytes: uint8x8_t) -> [int32x4_t; 2] {
    let wide = vreinterpretq_s16_u16(vmovl_u8(bytes));
    [vmovl_s16(vget_low_s16(wide)), vmovl_high_s16(wide)]
}

/// `acc + factor · v`
#[inline]
#[target_feature(enable = "neon")]
fn add_scaled(acc: float32x4_t, v: int32x4_t, factor: f32) -> float32x4_t {
    vfmaq_n_f32(acc, vcvtq_f32_s32(v), factor)
}

/// Float rows: `$load` turns four stored numbers into float32.
macro_rules! float_rows {
    ($name:ident, $block:ty, |$four:ident| $load:expr) => {
        #[target_feature(enable = "neon")]
        fn $name(w: &[$block], x: &[f32]) -> f32 {
            let (w_runs, w_rest) = w.as_chunks::<16>();
            let (x_runs, x_rest) = x.as_chunks::<16>();
            // Four sums, because an addition takes as long as four can be started.
            let mut acc = [vdupq_n_f32(0.0); 4];
            for (w, x) in w_runs.iter().zip(x_runs) {
                let (w, x) = (w.as_chunks::<4>().0, x.as_chunks::<4>().0);
                for lane in 0..4 {
                    let $four = &w[lane];
                    acc[lane] = vfmaq_f32(acc[lane], $load, load_floats(&x[lane]));
                }
            }
            let acc = vaddq_f32(vaddq_f32(acc[0], acc[1]), vaddq_f32(acc[2], acc[3]));
            let rest: f32 = w_rest.iter().zip(x_rest).map(|(w, x)| w.to_f32() * x).sum();
            vaddvq_f32(acc) + rest
        }
    };
}

float_rows!(f32, F32, |four| {
    // SAFETY: four F32 are 16 bytes, read as such, at any alignment.
    vreinterpretq_f32_u8(unsafe { vld1q_u8(four.as_ptr().cast()) })
});
float_rows!(f16, F16, |four| {
    // SAFETY: four F16 are 8 bytes, read as such, at any alignment.
    vcvt_f32_f16(vreinterpret_f16_u8(unsafe {
        vld1_u8(four.as_ptr().cast())
    }))
});
float_rows!(bf16, BF16, |four| {
    // SAFETY: four BF16 are 8 bytes, read as such, at any alignment.
    let bits = vreinterpret_u16_u8(unsafe { vld1_u8(four.as_ptr().cast()) });
    vreinterpretq_f32_u32(vshll_n_u16::<16>(bits))
});

#[target_feature(enable = "neon")]
fn q8_0<const DOT: bool>(w: &[Q8_0], x: &[Q8]) -> f32 {
    let mut acc = vdupq_n_f32(0.0);
    for (w, x) in w.iter().zip(x) {
        let [first, second] = halves(&w.qs);
        let codes = [load_codes(first), load_codes(second)];
        let sums = products_of_two::<DOT>(codes, &x.qs);
        acc = add_scaled(acc, sums, float(w.d) * x.d);
    }
    vaddvq_f32(acc)
}

/// Twice the E2M1 values, by code.
pub(crate) static TWICE: [i8; 16] = {
    let mut values = [0; 16];
    let mut code = 0;
    while code < 16 {
        values[code] = E2M1::from_bits(code as u8).twice();
        code += 1;
    }
    values
};

/// The nibbles of sixteen bytes: the low ones and the high ones.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn nibbles(bytes: &[u8; 16]) -> [uint8x16_t; 2] {
    let bytes = load(bytes);
    [vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8::<4>(bytes)]
}

#[target_feature(enable = "neon")]
fn mxfp4<const DOT: bool>(w: &[Mxfp4], x: &[Q8]) -> f32 {
    let twice = load_codes(&TWICE);
    let mut acc = vdupq_n_f32(0.0);
    for (w, x) in w.iter().zip(x) {
        let [low, high] = nibbles(&w.qs);
        let codes = [vqtbl1q_s8(twice, low), vqtbl1q_s8(twice, high)];
        let sums = products_of_two::<DOT>(codes, &x.qs);
        acc = add_scaled(acc, sums, w.half_scale() * x.d);
    }
    vaddvq_f32(acc)
}

/// The minima's part of a Q2_K block: `Σ min · sums`, in four lanes.
#[inline]
#[target_feature(enable = "neon")]
fn q2_k_lowered(mins: uint8x16_t, sums: &[i16; 16]) -> int32x4_t {
    let [first, last] = sums.as_chunks::<8>().0 else {
        unreachable!("sixteen sums")
    };
    let of_eight = |acc: int32x4_t, mins: uint8x8_t, sums: &[i16; 8]| {
        let (mins, sums) = (vreinterpretq_s16_u16(vmovl_u8(mins)), load_sums(sums));
        let acc = vmlal_s16(acc, vget_low_s16(mins), vget_low_s16(sums));
        vmlal_high_s16(acc, mins, sums)
    };
    let acc = of_eight(vdupq_n_s32(0), vget_low_u8(mins), first);
    of_eight(acc, vget_high_u8(mins), last)
}

/// The sums of products of a half of a Q2_K block, one lane a sub-block.
#[inline]
#[target_feature(enable = "neon")]
fn q2_k_half<const DOT: bool>(qs: &[u8; 32], x: &[[i8; 16]; 8]) -> [int32x4_t; 2] {
    let mut codes = halves(qs).map(|qs| load(qs));
    let mut sums = [vdupq_n_s32(0); 8];
    // Two bits of all bytes belong to two sub-blocks, the next two bits to the next.
    for (sums, x) in sums
        .as_chunks_mut::<2>()
        .0
        .iter_mut()
        .zip(x.as_chunks::<2>().0)
    {
        for v in 0..2 {
            let lowest = vreinterpretq_s8_u8(vandq_u8(codes[v], vdupq_n_u8(3)));
            sums[v] = products::<DOT>(lowest, &x[v]);
            codes[v] = vshrq_n_u8::<2>(codes[v]);
        }
    }
    let [s0, s1, s2, s3, s4, s5, s6, s7] = sums;
    [
        side_by_side([s0, s1, s2, s3]),
        side_by_side([s4, s5, s6, s7]),
    ]
}

#[target_feature(enable = "neon")]
fn q2_k<const DOT: bool>(w: &[Q2K], x: &[Q8K]) -> f32 {
    let mut acc = vdupq_n_f32(0.0);
    for (w, x) in w.iter().zip(x) {
        let [scales, mins] = nibbles(&w.scales);
        let lowered = q2_k_lowered(mins, &x.sums);
        acc = add_scaled(acc, lowered, -(float(w.dmin) * x.d));

        let of_half = [widened(vget_low_u8(scales)), widened(vget_high_u8(scales))];
        let x_halves = x.qs.as_chunks::<16>().0.as_chunks::<8>().0;
        let mut scaled = vdupq_n_s32(0);
        for (h, qs) in w.qs.as_chunks::<32>().0.iter().enumerate() {
            let [low, high] = q2_k_half::<DOT>(qs, &x_halves[h]);
            scaled = vmlaq_s32(scaled, low, of_half[h][0]);
            scaled = vmlaq_s32(scaled, high, of_half[h][1]);
        }
        acc = add_scaled(acc, scaled, float(w.d) * x.d);
    }
    vaddvq_f32(acc)
}

/// The eight scales and the eight minima of a Q4_K block, a byte each.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn scales_mins(w: &Q4K) -> [uint8x8_t; 2] {
    let [first, second, third] = w.scales.as_chunks::<4>().0 else {
        unreachable!("twelve bytes")
    };
    let four = |bytes: &[u8; 4]| vdup_n_u32(u32::from_le_bytes(*bytes));
    // Four scales, then four minima: the first ones are six bits of a byte; the last ones a nibble,
    // low for the scales and high for the minima, below the two bits that are left of those bytes.
    let sixes = vreinterpret_u8_u32(vzip1_u32(four(first), four(second)));
    let nibbles = vreinterpret_u8_u32(four(third));
    let nibbles = vext_u8::<4>(vand_u8(nibbles, vdup_n_u8(15)), vshr_n_u8::<4>(nibbles));
    let tops = vand_u8(vshr_n_u8::<2>(sixes), vdup_n_u8(0x30));
    let low = vreinterpret_u32_u8(vand_u8(sixes, vdup_n_u8(63)));
    let high = vreinterpret_u32_u8(vorr_u8(nibbles, tops));
    [vzip1_u32(low, high), vzip2_u32(low, high)].map(|v| vreinterpret_u8_u32(v))
}

/// The minima's part of a Q4_K block: `Σ min · sums`, in four lanes.
#[inline]
#[target_feature(enable = "neon")]
fn q4_k_lowered(mins: uint8x8_t, sums: &[i16; 16]) -> int32x4_t {
    let [first, last] = sums.as_chunks::<8>().0 else {
        unreachable!("sixteen sums")
    };
    // A minimum belongs to two sums of sixteen.
    let sums = vpaddq_s16(load_sums(first), load_sums(last));
    let mins = vreinterpretq_s16_u16(vmovl_u8(mins));
    let lowered = vmull_s16(vget_low_s16(mins), vget_low_s16(sums));
    vmlal_high_s16(lowered, mins, sums)
}

#[target_feature(enable = "neon")]
fn q4_k<const DOT: bool>(w: &[Q4K], x: &[Q8K]) -> f32 {
    let mut acc = vdupq_n_f32(0.0);
    for (w, x) in w.iter().zip(x) {
        let [scales, mins] = scales_mins(w);
        let lowered = q4_k_lowered(mins, &x.sums);
        acc = add_scaled(acc, lowered, -(float(w.dmin) * x.d));

        let mut sums = [vdupq_n_s32(0); 8];
        let pairs = sums.as_chunks_mut::<2>().0.iter_mut();
        let x_pairs = x.qs.as_chunks::<32>().0.as_chunks::<2>().0;
        for ((sums, qs), x) in pairs.zip(w.qs.as_chunks::<32>().0).zip(x_pairs) {
            let [first, second] = halves(qs).map(|qs| nibbles(qs));
            for v in 0..2 {
                let codes = [
                    vreinterpretq_s8_u8(first[v]),
                    vreinterpretq_s8_u8(second[v]),
                ];
                sums[v] = products_of_two::<DOT>(codes, &x[v]);
            }
        }
        acc = add_scaled(acc, eight_scaled(sums, scales), float(w.d) * x.d);
    }
    vaddvq_f32(acc)
}

/// The sum of eight vectors' sums, each times its scale, in four lanes.
#[inline]
#[target_feature(enable = "neon")]
fn eight_scaled(sums: [int32x4_t; 8], scales: uint8x8_t) -> int32x4_t {
    let [s0, s1, s2, s3, s4, s5, s6, s7] = sums;
    let [low, high] = widened(scales);
    let scaled = vmulq_s32(side_by_side([s0, s1, s2, s3]), low);
    vmlaq_s32(scaled, side_by_side([s4, s5, s6, s7]), high)
}

/// The eight signs of each index, as factors.
static SIGNS: [[i8; 8]; 128] = {
    let mut table = [[1; 8]; 128];
    let mut index = 0;
    while index < 128 {
        let mut k = 0;
        while k < 8 {
            if grid::even_signs(index as u8) >> k & 1 == 1 {
                table[index][k] = -1;
            }
            k += 1;
        }
        index += 1;
    }
    table
};

/// Sixteen values of an IQ2_XXS group without its scale: two grid words with their signs.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn signed_words(words: [u8; 2], signs: u32) -> int8x16_t {
    let word = |w: u8| vcreate_s8(u64::from_le_bytes(grid::MAGNITUDES[usize::from(w)]));
    let sign = |s: u32| {
        // SAFETY: the table's row covers the 8 bytes read, at any alignment.
        unsafe { vld1_s8(SIGNS[(s & 127) as usize].as_ptr()) }
    };
    vmulq_s8(
        vcombine_s8(word(words[0]), word(words[1])),
        vcombine_s8(sign(signs), sign(signs >> 7)),
    )
}

#[target_feature(enable = "neon")]
fn iq2_xxs<const DOT: bool>(w: &[Iq2Xxs], x: &[Q8K]) -> f32 {
    let mut acc = vdupq_n_f32(0.0);
    for (w, x) in w.iter().zip(x) {
        let mut sums = [vdupq_n_s32(0); 8];
        let mut multiples = [0; 8];
        for (g, x) in x.qs.as_chunks::<32>().0.iter().enumerate() {
            let group = &w.groups[g];
            let [a, b, c, d] = group.words;
            let signs = u32::from_le_bytes(group.signs_scale);
            let codes = [
                signed_words([a, b], signs),
                signed_words([c, d], signs >> 14),
            ];
            sums[g] = products_of_two::<DOT>(codes, x);
            multiples[g] = group.multiple();
        }
        let multiples = vcreate_u8(u64::from_le_bytes(multiples));
        acc = add_scaled(acc, eight_scaled(sums, multiples), float(w.d) * 0.125 * x.d);
    }
    vaddvq_f32(acc)
}
