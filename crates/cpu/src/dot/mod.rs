//! Dot products of quantised weight rows, without decoding them.
//!
//! A weight row is a run of blocks; the other side is a row of activations in the form that the
//! weight's format wants, its [`Partner`]: eight-bit codes under a scale for the quantised formats,
//! float32 for the plain ones. Codes are multiplied and added as integers, exactly; scales come in
//! once a block, in float32.
//!
//! Every format has a scalar function in `scalar.rs`, which is the truth, and vector functions with
//! the same sums in another order. [`Dots`] is the table of functions chosen once at start for the
//! machine at hand. The caller reads each weight row once and meets it with every activation row
//! that needs it.

#[cfg(target_arch = "aarch64")]
use std::arch::is_aarch64_feature_detected;

use ds4_gguf::Format;
use ds4_gguf::block::{BF16, Block, F16, F32, Iq2Xxs, Mxfp4, Q2K, Q4K, Q8_0, Q8K, blocks_of};

/// The table of one level: its functions, which may be called only where the machine has the
/// instructions, in the safe form a table needs. NEON has two levels in one and its own form.
#[cfg(target_arch = "x86_64")]
macro_rules! detected {
    ($simd:ident) => {
        detected! { $simd:
            f32: F32, f32;
            f16: F16, f32;
            bf16: BF16, f32;
            q8_0: Q8_0, Q8;
            mxfp4: Mxfp4, Q8;
            q2_k: Q2K, Q8K;
            q4_k: Q4K, Q8K;
            iq2_xxs: Iq2Xxs, Q8K;
        }
    };
    ($simd:ident: $($name:ident: $block:ty, $x:ty;)*) => {
        mod checked {
            use super::*;
            $(pub(super) fn $name(w: &[$block], x: &[$x]) -> f32 {
                // SAFETY: `Dots::of` hands out this table only after it found the instructions.
                unsafe { super::$name(w, x) }
            })*
        }
        /// The table. Only [`Dots::of`] may hand it out.
        pub(super) const DOTS: Dots = Dots { simd: Simd::$simd, $($name: checked::$name),* };
    };
}

mod activations;
mod ahead;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
mod scalar;

pub use activations::{Activations, Partner, Q8, Row};
pub(crate) use ahead::look_ahead;

/// A level of vector instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Simd {
    /// None: plain loops.
    Scalar,
    /// AVX2 with FMA and F16C: x86-64 since 2013.
    Avx2,
    /// AVX-512 with BW, VL and VNNI: x86-64 servers since 2019.
    Avx512,
    /// NEON: every 64-bit ARM.
    Neon,
    /// NEON with the dot product extension: Apple since 2019 (A13, M1), servers since Neoverse N1.
    NeonDot,
}

impl Simd {
    /// All levels, of a machine's own the slowest first.
    pub const ALL: [Self; 5] = [
        Self::Scalar,
        Self::Avx2,
        Self::Avx512,
        Self::Neon,
        Self::NeonDot,
    ];

    /// True if this machine has the instructions.
    pub fn is_supported(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_supported()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot => Self::Neon.is_supported() && is_aarch64_feature_detected!("dotprod"),
            #[cfg(not(target_arch = "aarch64"))]
            Self::Neon | Self::NeonDot => false,
        }
    }
}

/// A dot product of one weight row of blocks `B` with one row of activations `X`.
type Dot<B, X> = fn(&[B], &[X]) -> f32;

/// The functions for one machine, one per weight format.
///
/// Both sides must have equally many blocks; the table is reached through [`Dots::dot`], which
/// checks that.
#[derive(Clone, Copy, Debug)]
pub struct Dots {
    simd: Simd,
    f32: Dot<F32, f32>,
    f16: Dot<F16, f32>,
    bf16: Dot<BF16, f32>,
    q8_0: Dot<Q8_0, Q8>,
    mxfp4: Dot<Mxfp4, Q8>,
    q2_k: Dot<Q2K, Q8K>,
    q4_k: Dot<Q4K, Q8K>,
    iq2_xxs: Dot<Iq2Xxs, Q8K>,
}

impl Dots {
    /// The plain loops.
    pub const SCALAR: Self = Self {
        simd: Simd::Scalar,
        f32: scalar::f32,
        f16: scalar::f16,
        bf16: scalar::bf16,
        q8_0: scalar::q8_0,
        mxfp4: scalar::mxfp4,
        q2_k: scalar::q2_k,
        q4_k: scalar::q4_k,
        iq2_xxs: scalar::iq2_xxs,
    };

    /// The fastest functions this machine has.
    pub fn detect() -> Self {
        let levels = Simd::ALL.into_iter().rev();
        levels
            .filter_map(Self::of)
            .next()
            .expect("the scalar level is always supported")
    }

    /// The functions of one level, or `None` if this machine lacks its instructions.
    pub fn of(simd: Simd) -> Option<Self> {
        if !simd.is_supported() {
            return None;
        }
        match simd {
            Simd::Scalar => Some(Self::SCALAR),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => Some(avx2::DOTS),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => Some(avx512::DOTS),
            #[cfg(not(target_arch = "x86_64"))]
            Simd::Avx2 | Simd::Avx512 => None,
            #[cfg(target_arch = "aarch64")]
            Simd::Neon => Some(neon::NEON),
            #[cfg(target_arch = "aarch64")]
            Simd::NeonDot => Some(neon::NEON_DOT),
            #[cfg(not(target_arch = "aarch64"))]
            Simd::Neon | Simd::NeonDot => None,
        }
    }

    /// The level of these functions.
    pub fn simd(&self) -> Simd {
        self.simd
    }

    /// The dot product of the weight row `row` of `format` with a row of activations.
    ///
    /// # Panics
    /// If the activations are not the format's [`Partner`], have another length than the row, or
    /// the format is not one of weights: binding a model has checked all three.
    #[inline]
    pub fn dot(&self, format: Format, row: &[u8], x: Row<'_>) -> f32 {
        match (format, x) {
            (Format::F32, Row::F32(x)) => apply(self.f32, row, x),
            (Format::F16, Row::F32(x)) => apply(self.f16, row, x),
            (Format::BF16, Row::F32(x)) => apply(self.bf16, row, x),
            (Format::Q8_0, Row::Q8(x)) => apply(self.q8_0, row, x),
            (Format::Mxfp4, Row::Q8(x)) => apply(self.mxfp4, row, x),
            (Format::Q2K, Row::Q8K(x)) => apply(self.q2_k, row, x),
            (Format::Q4K, Row::Q8K(x)) => apply(self.q4_k, row, x),
            (Format::Iq2Xxs, Row::Q8K(x)) => apply(self.iq2_xxs, row, x),
            (format, x) => panic!("{format} has no dot product with {:?}", x.partner()),
        }
    }
}

#[inline]
fn apply<B: Block, X>(dot: Dot<B, X>, row: &[u8], x: &[X]) -> f32 {
    let blocks = blocks_of::<B>(row).expect("a weight row is whole blocks");
    assert_eq!(
        blocks.len(),
        x.len(),
        "a {} row and its activations differ in length",
        B::FORMAT
    );
    dot(blocks, x)
}
