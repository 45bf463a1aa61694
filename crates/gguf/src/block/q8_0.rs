//! Q8_0: 32 signed bytes under one scale. 34 bytes, 8.5 bits a value.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::round::{half_away, sane};
use super::{Block, F16, assert_layout};
use crate::Format;

/// `x[i] = d · qs[i]`.
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
pub struct Q8_0 {
    /// Scale.
    pub d: F16,
    /// Codes.
    pub qs: [i8; 32],
}

assert_layout!(Q8_0, d at 0, qs at 2; 34 bytes);

impl Block for Q8_0 {
    const FORMAT: Format = Format::Q8_0;
    const VALUES: usize = 32;

    #[inline]
    fn decode(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        for (x, q) in out.iter_mut().zip(&self.qs) {
            *x = d * f32::from(*q);
        }
    }

    /// The codes are rounded with the scale before it became float16, which is what ggml does, byte
    /// for byte.
    fn encode(values: &[f32]) -> Self {
        // The greatest scale must not round up to infinity.
        let limit = 127.0 * F16::MAX;
        let largest = values
            .iter()
            .fold(0.0f32, |m, &x| m.max(sane(x).abs()))
            .min(limit);
        let scale = largest / 127.0;
        let d = F16::from_f32(scale);
        if d.to_f32() == 0.0 {
            return Self::default();
        }
        let inverse = 1.0 / scale;
        let mut qs = [0; 32];
        for (q, &x) in qs.iter_mut().zip(values) {
            *q = half_away(sane(x) * inverse).clamp(-127, 127) as i8;
        }
        Self { d, qs }
    }
}
