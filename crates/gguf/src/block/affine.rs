//! Encoding for the formats that write a value as `scale · code - min`: Q2_K and Q4_K.
//!
//! Each sub-block gets the scale and minimum with the least squared error among some roundings;
//! then the scales of a block share one float16 and the minima another, and the codes are chosen
//! for what is left of both. A search weighted by an importance matrix would put its weights into
//! the sums of [`fit`].

use super::F16;
use super::round::{half_even, sane};

/// A block of 256 values in sub-blocks of `256 / SUBS`, codes not packed yet.
pub(super) struct Affine<const SUBS: usize> {
    /// Unit of the scales.
    pub(super) d: F16,
    /// Unit of the minima.
    pub(super) dmin: F16,
    /// Scale of each sub-block.
    pub(super) scales: [u8; SUBS],
    /// Minimum of each sub-block.
    pub(super) mins: [u8; SUBS],
    /// Code of each value.
    pub(super) codes: [u8; 256],
}

impl<const SUBS: usize> Affine<SUBS> {
    /// Encodes with codes up to `code_max` and scales up to `scale_max`. `LEN` is `256 / SUBS`.
    pub(super) fn encode<const LEN: usize>(values: &[f32], code_max: u8, scale_max: u8) -> Self {
        const { assert!(LEN * SUBS == 256) };
        let mut sane_values = [0.0; 256];
        for (to, &from) in sane_values.iter_mut().zip(values) {
            *to = sane(from);
        }
        let (subs, _) = sane_values.as_chunks::<LEN>();

        let mut fits = [(0.0, 0.0); SUBS];
        for (to, sub) in fits.iter_mut().zip(subs) {
            *to = fit(sub, f32::from(code_max));
        }
        let unit = |largest: f32| F16::saturating(largest / f32::from(scale_max));
        let d = unit(fits.iter().fold(0.0, |m, f| m.max(f.0)));
        let dmin = unit(fits.iter().fold(0.0, |m, f| m.max(f.1)));

        let mut block = Self {
            d,
            dmin,
            scales: [0; SUBS],
            mins: [0; SUBS],
            codes: [0; 256],
        };
        for (j, sub) in subs.iter().enumerate() {
            block.scales[j] = multiple(fits[j].0, d.to_f32(), scale_max);
            block.mins[j] = multiple(fits[j].1, dmin.to_f32(), scale_max);
            let scale = d.to_f32() * f32::from(block.scales[j]);
            let min = dmin.to_f32() * f32::from(block.mins[j]);
            if scale > 0.0 {
                for (code, x) in block.codes[LEN * j..].iter_mut().zip(sub) {
                    *code = half_even(((x + min) / scale).clamp(0.0, f32::from(code_max))) as u8;
                }
            }
        }
        block
    }
}

/// `value` in units of `unit`, which may be zero.
fn multiple(value: f32, unit: f32, max: u8) -> u8 {
    if unit > 0.0 {
        half_even((value / unit).min(f32::from(max))) as u8
    } else {
        0
    }
}

/// Roundings tried: the range is divided into `code_max` plus this many steps. Steps below the full
/// number trade the extremes of a sub-block for a finer grid in its middle.
const STRETCHES: [f32; 7] = [0.0, -0.4, -0.2, 0.2, 0.4, 0.7, 1.0];

/// The scale and the minimum, both at least zero, with the least sum of `(x + min - scale · code)²`
/// found.
fn fit<const LEN: usize>(values: &[f32; LEN], code_max: f32) -> (f32, f32) {
    // The minimum cannot be negative, so the range reaches down to zero at least.
    let low = values.iter().fold(0.0f32, |m, &x| m.min(x));
    let high = values.iter().fold(low, |m, &x| m.max(x));
    let range = high - low;
    // A range this small has no reciprocal; every float16 unit is above it.
    if range < f32::from_bits(27 << 23) {
        return (0.0, -low);
    }
    let mut best = (range / code_max, -low);
    let mut least = f32::INFINITY;
    for stretch in STRETCHES {
        let inverse = (code_max + stretch) / range;
        let mut codes = [0.0; LEN];
        for (code, x) in codes.iter_mut().zip(values) {
            *code = half_even(((x - low) * inverse).min(code_max));
        }
        let (scale, min) = least_squares(values, &codes);
        let error = square_error(values, &codes, scale, min);
        if error < least {
            (best, least) = ((scale, min), error);
        }
    }
    best
}

/// The line through `(code, x)` with the least squared error, its offset not above zero.
fn least_squares<const LEN: usize>(values: &[f32; LEN], codes: &[f32; LEN]) -> (f32, f32) {
    let (mut c, mut cc, mut x, mut xc) = (0.0, 0.0, 0.0, 0.0);
    for (code, value) in codes.iter().zip(values) {
        c += code;
        cc += code * code;
        x += value;
        xc += value * code;
    }
    let n = LEN as f32;
    let determinant = n * cc - c * c;
    if determinant > 0.0 {
        let scale = (n * xc - x * c) / determinant;
        let min = (c * xc - x * cc) / determinant;
        if min >= 0.0 {
            return (scale.max(0.0), min);
        }
    }
    // The best line lies above the origin, or all codes are equal: then it starts at zero.
    (if cc > 0.0 { (xc / cc).max(0.0) } else { 0.0 }, 0.0)
}

fn square_error<const LEN: usize>(
    values: &[f32; LEN],
    codes: &[f32; LEN],
    scale: f32,
    min: f32,
) -> f32 {
    let off = |(code, value): (&f32, &f32)| scale * code - min - value;
    codes.iter().zip(values).map(off).map(|off| off * off).sum()
}
