//! MXFP4: 32 E2M1 values under one power of two. 17 bytes, 4.25 bits a value.
//!
//! Value j is in the low nibble of byte j, value j + 16 in its high nibble. The checkpoint's own
//! experts hold the same numbers, but pair neighbours in a byte: a converter moves nibbles and
//! loses nothing.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Block, assert_layout};
use crate::Format;
use crate::scalar::{E2M1, E8M0};

/// `x[i] = 2^(e - 127) · code[i]`.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct Mxfp4 {
    /// Shared exponent. 255 counts as 2^128 here, as in ggml, not as NaN.
    pub e: E8M0,
    /// Two codes a byte.
    pub qs: [u8; 16],
}

assert_layout!(Mxfp4, e at 0, qs at 1; 17 bytes);

/// Twice the values: whole numbers, and half the scale is finite for every exponent.
const TWICE: [f32; 16] = {
    let mut values = [0.0; 16];
    let mut code = 0;
    while code < 16 {
        values[code] = E2M1::from_bits(code as u8).twice() as f32;
        code += 1;
    }
    values
};

/// The largest magnitude that some scale reaches with finite values around it.
const LIMIT: f32 = 6.0 * f32::from_bits((127 + 125) << 23);

impl Mxfp4 {
    /// Half the scale, 2^(e - 128): the factor of twice the code values.
    #[inline]
    pub fn half_scale(&self) -> f32 {
        match self.e.0 {
            // Subnormal float32: 2^-128 and 2^-127.
            small @ (0 | 1) => f32::from_bits(0x0020_0000 << small),
            e => f32::from_bits(u32::from(e - 1) << 23),
        }
    }

    /// The codes for one scale, and the sum of their squared errors in units of that scale.
    fn codes(values: &[f32; 32], e: u8) -> ([u8; 16], f32) {
        let scale = E8M0(e).to_f32();
        let mut error = 0.0;
        let code = values.map(|x| {
            let x = x / scale;
            let code = E2M1::from_f32(x);
            let off = x - code.to_f32();
            error += off * off;
            code.to_bits()
        });
        (std::array::from_fn(|j| code[j] | code[j + 16] << 4), error)
    }
}

impl Block for Mxfp4 {
    const FORMAT: Format = Format::Mxfp4;
    const VALUES: usize = 32;

    #[inline]
    fn decode(&self, out: &mut [f32]) {
        let half = self.half_scale();
        let (low, high) = out.split_at_mut(16);
        for ((low, high), q) in low.iter_mut().zip(&mut high[..16]).zip(&self.qs) {
            *low = half * TWICE[usize::from(q & 15)];
            *high = half * TWICE[usize::from(q >> 4)];
        }
    }

    /// Tries the exponent that covers the largest value and the one below, which saturates it, and
    /// keeps the better.
    ///
    /// Values that are E2M1 under a power of two, as those of the checkpoint are, come back
    /// exactly.
    fn encode(values: &[f32]) -> Self {
        let mut sane = [0.0; 32];
        for (x, &value) in sane.iter_mut().zip(values) {
            *x = if value.is_nan() {
                0.0
            } else {
                value.clamp(-LIMIT, LIMIT)
            };
        }
        let largest = sane.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        if largest == 0.0 {
            return Self::default();
        }
        // Divided, not multiplied by 1/6, which is inexact and could fall on the wrong side of a
        // power.
        let cover = E8M0::ceil(largest / 6.0).0;
        let (qs, error) = Self::codes(&sane, cover);
        let below = cover.saturating_sub(1);
        let (qs_below, error_below) = Self::codes(&sane, below);
        // Squared errors are in units of a scale half as large.
        if below < cover && error_below < 4.0 * error {
            Self {
                e: E8M0(below),
                qs: qs_below,
            }
        } else {
            Self { e: E8M0(cover), qs }
        }
    }
}
