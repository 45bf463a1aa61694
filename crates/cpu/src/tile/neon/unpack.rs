//! From block formats to panels.
//!
//! Each format turns 16 codes of one row into a vector of bytes; four such vectors are transposed,
//! as 4 by 4 words of four codes, into quarters of lines of the panel. What a block has besides
//! codes (scales, minima) takes the same way.

#[allow(
    clippy::wildcard_imports,
    reason = "every second word here is an intrinsic"
)]
use std::arch::aarch64::*;

use ds4_gguf::block::{F16, Iq2Xxs, Mxfp4, Q2K, Q4K, Q8_0};

use super::super::ROWS;
use super::super::common::{LIFT, next_strip, reach, unpacks_by_format};
use super::super::panel::{Grain, Lanes, Line, Panel};
use crate::dot::Simd;
use crate::dot::neon::{TWICE, load, load_codes, nibbles, scales_mins, signed_words, widened};

/// Rows of a vector.
pub(super) const QUARTER: usize = 4;

unpacks_by_format!(Simd::NeonDot);

/// Stores one quarter of a line.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn put(line: &mut Line, quarter: usize, v: uint8x16_t) {
    let place = &mut line.0.as_chunks_mut::<16>().0[quarter % 4];
    // SAFETY: the reference covers the 16 bytes written, at any alignment.
    unsafe { vst1q_u8(place.as_mut_ptr(), v) };
}

#[inline]
#[target_feature(enable = "neon")]
fn put_lanes(lanes: &mut Lanes, quarter: usize, v: float32x4_t) {
    let place = &mut lanes.0.as_chunks_mut::<QUARTER>().0[quarter % 4];
    // SAFETY: the reference covers the 16 bytes written, at any alignment.
    unsafe { vst1q_f32(place.as_mut_ptr(), v) };
}

/// Swaps rows and columns of 4 by 4 words.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn transposed(rows: &[uint8x16_t; 4]) -> [uint8x16_t; 4] {
    let rows = rows.map(|v| vreinterpretq_u32_u8(v));
    let (even, odd) = (
        [vtrn1q_u32(rows[0], rows[1]), vtrn1q_u32(rows[2], rows[3])],
        [vtrn2q_u32(rows[0], rows[1]), vtrn2q_u32(rows[2], rows[3])],
    );
    // Columns 0 and 2 are in `even`, 1 and 3 in `odd`: of two rows in each vector.
    let [even, odd] = [even, odd].map(|pair| pair.map(|v| vreinterpretq_u64_u32(v)));
    [
        vtrn1q_u64(even[0], even[1]),
        vtrn1q_u64(odd[0], odd[1]),
        vtrn2q_u64(even[0], even[1]),
        vtrn2q_u64(odd[0], odd[1]),
    ]
    .map(|v| vreinterpretq_u8_u64(v))
}

/// Stores the words of four rows in one quarter of four lines.
#[inline]
#[target_feature(enable = "neon")]
fn put_words(lines: &mut [Line], quarter: usize, rows: &[uint8x16_t; QUARTER]) {
    for (line, v) in lines.iter_mut().zip(transposed(rows)) {
        put(line, quarter, v);
    }
}

/// Four scales of each row.
#[inline]
#[target_feature(enable = "neon")]
fn put_scales(scales: &mut [Lanes], quarter: usize, rows: &[float32x4_t; QUARTER]) {
    let words = rows.map(|v| vreinterpretq_u8_f32(v));
    for (lanes, v) in scales.iter_mut().zip(transposed(&words)) {
        put_lanes(lanes, quarter, vreinterpretq_f32_u8(v));
    }
}

/// Four float16 numbers, one of each row.
#[inline]
#[target_feature(enable = "neon")]
fn halves(numbers: [F16; QUARTER]) -> float32x4_t {
    let bits = numbers.map(F16::to_bits);
    // SAFETY: the array covers the 8 bytes read, at any alignment.
    vcvt_f32_f16(vreinterpret_f16_u16(unsafe { vld1_u16(bits.as_ptr()) }))
}

/// Blocks of 32: `codes(block)` are its codes, sixteen a vector, `scales(place, rows)` four rows'
/// scales.
macro_rules! small_blocks {
    ($name:ident, $block:ty, $reach:expr, |$b:ident| $codes:expr,
     |$at:ident, $rows:ident| $scales:expr) => {
        #[target_feature(enable = "neon")]
        fn $name(panel: &mut Panel, rows: &[&[$block]; ROWS]) {
            panel.shape(Grain::Signed, $reach, rows[0].len() * 32);
            let grains = panel.codes.as_chunks_mut::<8>().0.iter_mut();
            for ($at, (lines, scales)) in grains.zip(&mut panel.scales).enumerate() {
                for (quarter, $rows) in rows.as_chunks::<QUARTER>().0.iter().enumerate() {
                    let codes = $rows.map(|row| {
                        next_strip(row, $at);
                        let $b = &row[$at];
                        $codes
                    });
                    for (run, lines) in lines.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                        put_words(
                            lines,
                            quarter,
                            &codes.map(|codes: [uint8x16_t; 2]| codes[run]),
                        );
                    }
                    put_lanes(scales, quarter, $scales);
                }
            }
        }
    };
}

small_blocks!(
    q8_0,
    Q8_0,
    reach::Q8_0,
    |b| {
        let [low, high] = b.qs.as_chunks::<16>().0 else {
            unreachable!("two halves")
        };
        [low, high].map(|codes| vreinterpretq_u8_s8(load_codes(codes)))
    },
    |at, rows| halves(rows.map(|row| row[at].d))
);

small_blocks!(
    mxfp4,
    Mxfp4,
    reach::MXFP4,
    |b| {
        let twice = load_codes(&TWICE);
        nibbles(&b.qs).map(|codes| vreinterpretq_u8_s8(vqtbl1q_s8(twice, codes)))
    },
    |at, rows| {
        let scales = rows.map(|row| row[at].half_scale());
        // SAFETY: the array covers the 16 bytes read, at any alignment.
        unsafe { vld1q_f32(scales.as_ptr()) }
    }
);

#[target_feature(enable = "neon")]
fn q2_k(panel: &mut Panel, rows: &[&[Q2K]; ROWS]) {
    panel.shape(Grain::Coarse, reach::Q2_K, rows[0].len() * 256);
    for (at, lines) in panel.codes.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        for (quarter, rows) in rows.as_chunks::<QUARTER>().0.iter().enumerate() {
            let rows = rows.map(|row| {
                next_strip(row, at);
                &row[at]
            });
            let packed = rows.map(|w| nibbles(&w.scales));
            let mins = packed.map(|[_, mins]| mins);
            let (low, high) = panel.minima[8 * at..][..8].split_at_mut(4);
            put_words(low, quarter, &mins.map(|v| sixteen_bits(vget_low_u8(v))));
            put_words(high, quarter, &mins.map(|v| sixteen_bits(vget_high_u8(v))));
            put_lanes(&mut panel.scales[at], quarter, halves(rows.map(|w| w.d)));
            put_lanes(&mut panel.units[at], quarter, halves(rows.map(|w| w.dmin)));
            for (s, lines) in lines.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                // Of 32 bytes, two bits of the first and of the last sixteen are a sub-block each.
                let bytes = s / 8 * 2 + s % 2;
                let shift = vdupq_n_s8(-((s % 8 / 2 * 2) as i8));
                let codes = rows.map(|w| {
                    let bytes = vshlq_u8(load(&w.qs.as_chunks::<16>().0[bytes]), shift);
                    let scale = vdupq_n_u8(w.scales[s] & 15);
                    vmulq_u8(vandq_u8(bytes, vdupq_n_u8(3)), scale)
                });
                put_words(lines, quarter, &codes);
            }
        }
    }
}

/// Eight bytes as sixteen bits each.
#[inline]
#[target_feature(enable = "neon")]
fn sixteen_bits(bytes: uint8x8_t) -> uint8x16_t {
    vreinterpretq_u8_u16(vmovl_u8(bytes))
}

/// What the formats with eight scales a super-block have besides codes: of four rows, the scales as
/// integers and what they are multiples of, and the minima with their units.
struct Fine {
    factors: [uint8x8_t; QUARTER],
    d: float32x4_t,
    minima: [uint8x8_t; QUARTER],
    unit: float32x4_t,
}

impl Fine {
    /// Stores all of it for super-block `at`.
    #[inline]
    #[target_feature(enable = "neon")]
    fn put(&self, panel: &mut Panel, at: usize, quarter: usize) {
        let mut d = [0.0; QUARTER];
        // SAFETY: the array covers the 16 bytes written, at any alignment.
        unsafe { vst1q_f32(d.as_mut_ptr(), self.d) };
        let (scales, minima) = (
            &mut panel.scales[8 * at..][..8],
            &mut panel.minima[8 * at..][..8],
        );
        for part in 0..2 {
            let mut of_rows = [vdupq_n_f32(0.0); QUARTER];
            let mut doubled = [vdupq_n_u8(0); QUARTER];
            for r in 0..QUARTER {
                let factors = vcvtq_f32_s32(widened(self.factors[r])[part]);
                of_rows[r] = vmulq_n_f32(factors, d[r]);
                // Each minimum twice: it meets two sums.
                let wide = vmovl_u8(self.minima[r]);
                let twice = [vzip1q_u16(wide, wide), vzip2q_u16(wide, wide)];
                doubled[r] = vreinterpretq_u8_u16(twice[part]);
            }
            put_scales(&mut scales[4 * part..][..4], quarter, &of_rows);
            put_words(&mut minima[4 * part..][..4], quarter, &doubled);
        }
        put_lanes(&mut panel.units[at], quarter, self.unit);
    }
}

#[target_feature(enable = "neon")]
fn q4_k(panel: &mut Panel, rows: &[&[Q4K]; ROWS]) {
    let supers = rows[0].len();
    panel.shape(Grain::Fine, reach::Q4_K, supers * 256);
    for at in 0..supers {
        for (quarter, rows) in rows.as_chunks::<QUARTER>().0.iter().enumerate() {
            let rows = rows.map(|row| {
                next_strip(row, at);
                &row[at]
            });
            let packed = rows.map(|w| scales_mins(w));
            let fine = Fine {
                factors: packed.map(|[scales, _]| scales),
                d: halves(rows.map(|w| w.d)),
                minima: packed.map(|[_, minima]| minima),
                unit: halves(rows.map(|w| w.dmin)),
            };
            fine.put(panel, at, quarter);
            let lines = panel.codes[64 * at..][..64].as_chunks_mut::<4>().0;
            for (c, lines) in lines.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                // The low nibbles of 32 bytes, then the high ones.
                for run in 0..2 {
                    let both = rows.map(|w| nibbles(&w.qs.as_chunks::<16>().0[2 * c + run]));
                    put_words(&mut lines[run], quarter, &both.map(|[low, _]| low));
                    put_words(&mut lines[2 + run], quarter, &both.map(|[_, high]| high));
                }
            }
        }
    }
}

/// `x = d/8 · multiple · code` becomes `d/8 · multiple · (code + 64) - 8d · multiple`: the minima
/// are the multiples. A signed product could do without, but would not give x86-64's bits.
#[target_feature(enable = "neon")]
fn iq2_xxs(panel: &mut Panel, rows: &[&[Iq2Xxs]; ROWS]) {
    let supers = rows[0].len();
    panel.shape(Grain::Fine, reach::IQ2_XXS, supers * 256);
    let lift = vdupq_n_s8(LIFT);
    for at in 0..supers {
        for (quarter, rows) in rows.as_chunks::<QUARTER>().0.iter().enumerate() {
            let rows = rows.map(|row| {
                next_strip(row, at);
                &row[at]
            });
            let multiples = rows.map(|w| {
                let multiples = w.groups.map(|group| group.multiple());
                // SAFETY: the array covers the 8 bytes read, at any alignment.
                unsafe { vld1_u8(multiples.as_ptr()) }
            });
            let d = vmulq_n_f32(halves(rows.map(|w| w.d)), 0.125);
            let fine = Fine {
                factors: multiples,
                d,
                minima: multiples,
                unit: vmulq_n_f32(d, f32::from(LIFT)),
            };
            fine.put(panel, at, quarter);
            let lines = panel.codes[64 * at..][..64].as_chunks_mut::<4>().0;
            for (g, lines) in lines.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                let groups = rows.map(|w| &w.groups[g]);
                for (run, lines) in lines.iter_mut().enumerate() {
                    let codes = groups.map(|group| {
                        let signs = u32::from_le_bytes(group.signs_scale);
                        let words = group.words.as_chunks::<2>().0[run];
                        let signed = signed_words(words, signs >> (14 * run));
                        vreinterpretq_u8_s8(vaddq_s8(signed, lift))
                    });
                    put_words(lines, quarter, &codes);
                }
            }
        }
    }
}
