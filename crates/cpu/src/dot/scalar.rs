//! The dot products as plain loops: what they are, and what the vector functions are tested with.
//!
//! Blocks are summed in float64, so the only roundings are those of the scales' products.

use ds4_gguf::block::iq2_xxs::grid;
use ds4_gguf::block::{BF16, F16, F32, Iq2Xxs, Mxfp4, Q2K, Q4K, Q8_0, Q8K};
use ds4_gguf::scalar::E2M1;

use super::Q8;

pub(super) fn f32(w: &[F32], x: &[f32]) -> f32 {
    floats(w.iter().map(|w| w.to_f32()), x)
}

pub(super) fn f16(w: &[F16], x: &[f32]) -> f32 {
    floats(w.iter().map(|w| w.to_f32()), x)
}

pub(super) fn bf16(w: &[BF16], x: &[f32]) -> f32 {
    floats(w.iter().map(|w| w.to_f32()), x)
}

fn floats(w: impl Iterator<Item = f32>, x: &[f32]) -> f32 {
    w.zip(x)
        .map(|(w, x)| f64::from(w) * f64::from(*x))
        .sum::<f64>() as f32
}

/// The sum of products of codes.
fn codes(w: impl Iterator<Item = i8>, x: &[i8]) -> i32 {
    w.zip(x).map(|(w, x)| i32::from(w) * i32::from(*x)).sum()
}

pub(super) fn q8_0(w: &[Q8_0], x: &[Q8]) -> f32 {
    let block = |(w, x): (&Q8_0, &Q8)| {
        let sum = codes(w.qs.iter().copied(), &x.qs);
        f64::from(w.d.to_f32()) * f64::from(x.d) * f64::from(sum)
    };
    w.iter().zip(x).map(block).sum::<f64>() as f32
}

pub(super) fn mxfp4(w: &[Mxfp4], x: &[Q8]) -> f32 {
    let twice = |bits: u8| E2M1::from_bits(bits).twice();
    let block = |(w, x): (&Mxfp4, &Q8)| {
        let (low, high) = x.qs.split_at(16);
        let sum = codes(w.qs.iter().map(|q| twice(*q)), low)
            + codes(w.qs.iter().map(|q| twice(q >> 4)), high);
        f64::from(w.half_scale()) * f64::from(x.d) * f64::from(sum)
    };
    w.iter().zip(x).map(block).sum::<f64>() as f32
}

/// `d · Σ scale · codes - dmin · Σ min · sums`, times the activations' scale.
fn affine(d: F16, scaled: i32, dmin: F16, lowered: i32, x: &Q8K) -> f64 {
    let d = f64::from(d.to_f32()) * f64::from(scaled);
    let dmin = f64::from(dmin.to_f32()) * f64::from(lowered);
    (d - dmin) * f64::from(x.d)
}

pub(super) fn q2_k(w: &[Q2K], x: &[Q8K]) -> f32 {
    let block = |(w, x): (&Q2K, &Q8K)| {
        let (mut scaled, mut lowered) = (0, 0);
        for (j, x_codes) in x.qs.as_chunks::<16>().0.iter().enumerate() {
            let (first, shift) = Q2K::place(j);
            let sum = codes(
                w.qs[first..].iter().map(|q| (q >> shift & 3) as i8),
                x_codes,
            );
            scaled += i32::from(w.scales[j] & 15) * sum;
            lowered += i32::from(w.scales[j] >> 4) * i32::from(x.sums[j]);
        }
        affine(w.d, scaled, w.dmin, lowered, x)
    };
    w.iter().zip(x).map(block).sum::<f64>() as f32
}

pub(super) fn q4_k(w: &[Q4K], x: &[Q8K]) -> f32 {
    let block = |(w, x): (&Q4K, &Q8K)| {
        let (mut scaled, mut lowered) = (0, 0);
        for (j, x_codes) in x.qs.as_chunks::<32>().0.iter().enumerate() {
            let (scale, min) = w.scale_min(j);
            let shift = 4 * (j % 2);
            let quads = &w.qs[32 * (j / 2)..];
            let sum = codes(quads.iter().map(|q| (q >> shift & 15) as i8), x_codes);
            scaled += i32::from(scale) * sum;
            lowered += i32::from(min) * (i32::from(x.sums[2 * j]) + i32::from(x.sums[2 * j + 1]));
        }
        affine(w.d, scaled, w.dmin, lowered, x)
    };
    w.iter().zip(x).map(block).sum::<f64>() as f32
}

pub(super) fn iq2_xxs(w: &[Iq2Xxs], x: &[Q8K]) -> f32 {
    let block = |(w, x): (&Iq2Xxs, &Q8K)| {
        let mut sum = 0;
        for (group, x) in w.groups.iter().zip(x.qs.as_chunks::<32>().0) {
            let mut of_group = 0;
            for (r, x) in x.as_chunks::<8>().0.iter().enumerate() {
                let signs = group.signs(r);
                let magnitudes = &grid::MAGNITUDES[usize::from(group.words[r])];
                let signed = |(k, m): (usize, &u8)| {
                    if signs >> k & 1 == 0 {
                        *m as i8
                    } else {
                        -(*m as i8)
                    }
                };
                of_group += codes(magnitudes.iter().enumerate().map(signed), x);
            }
            sum += i32::from(group.multiple()) * of_group;
        }
        f64::from(w.d.to_f32()) * 0.125 * f64::from(x.d) * f64::from(sum)
    };
    w.iter().zip(x).map(block).sum::<f64>() as f32
}
