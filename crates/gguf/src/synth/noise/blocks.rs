//! Blocks of each format out of random words.
//!
//! Codes come straight from the words, or through a table of 256 normal quantiles. Scales come from
//! a table of 256 f16 numbers between 0.6 and 1.6 times their middle, picked by a random byte and
//! sized so that the values get the wanted standard deviation.

use half::f16;

use super::NoiseError;
use super::normal::QUANTILES;
use crate::Format;
use crate::synth::values::{Law, Values};

/// The tables of one tensor.
#[derive(Debug)]
pub(super) enum Maker {
    F16(Box<Halves>),
    Q8_0(Box<Bytes>),
    Q2K(Box<TwoBit>),
    Q4K(Box<FourBit>),
    Iq2Xxs(Box<Lattice>),
    Mxfp4(FourBitFloats),
    Bf16(Law),
    Uniform(Law),
    Normal { mean: f32, std: f32 },
    Given(Vec<f32>),
    Distinct { row: u32, below: u32 },
}

impl Maker {
    /// Noise of standard deviation `std` in blocks of `format`.
    pub(super) fn spread(format: Format, std: f32) -> Result<Self, NoiseError> {
        // Outside, f16 scales would lose precision or overflow; no weight comes near.
        if !(1e-4..=1e3).contains(&std) {
            return Err(NoiseError::Scale { format, std });
        }
        let wide = f64::from(std);
        let uniform = Law {
            mean: 0.0,
            amplitude: (wide * 3f64.sqrt()) as f32,
            bf16: false,
        };
        Ok(match format {
            Format::F32 => Self::Uniform(uniform),
            Format::BF16 => Self::Bf16(uniform),
            Format::F16 => Self::F16(Box::new(Halves::new(wide))),
            Format::Q8_0 => Self::Q8_0(Box::new(Bytes::new(wide))),
            Format::Q2K => Self::Q2K(Box::new(TwoBit::new(wide))),
            Format::Q4K => Self::Q4K(Box::new(FourBit::new(wide))),
            Format::Iq2Xxs => Self::Iq2Xxs(Box::new(Lattice::new(wide))),
            Format::Mxfp4 => Self::Mxfp4(FourBitFloats::new(std)),
            _ => {
                let fill = super::Fill::Spread { std };
                return Err(NoiseError::Format { fill, format });
            }
        })
    }
}

/// 256 scales, evenly spread.
type Scales = [[u8; 2]; 256];

/// Scales whose root mean square is `target`.
fn scales(target: f64) -> [f16; 256] {
    let raw = |index: usize| 0.6 + (index as f64 + 0.5) / 256.0;
    let unit = root_mean_square((0..256).map(raw));
    std::array::from_fn(|index| f16::from_f64(raw(index) * target / unit))
}

fn root_mean_square(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), x| (sum + x * x, count + 1.0));
    f64::sqrt(sum / count)
}

/// Writes `words` random words, numbered from `first` on.
#[inline]
fn random(values: &Values, first: u64, out: &mut [u8]) {
    let (words, _) = out.as_chunks_mut::<8>();
    for (index, word) in (first..).zip(words) {
        *word = values.raw(index).to_le_bytes();
    }
}

/// F16: the high byte (sign, exponent, two bits of mantissa) by normal quantiles, the low one free.
#[derive(Debug)]
pub(super) struct Halves {
    high: [u8; 256],
}

impl Halves {
    fn new(std: f64) -> Self {
        let table = |scale: f64| QUANTILES.map(|q| f16::from_f64(q * scale).to_le_bytes()[1]);
        let spread = |high: &[u8; 256]| {
            let lows = (0..=255u8).step_by(15);
            let values = high.iter().flat_map(|&high| {
                lows.clone()
                    .map(move |low| f16::from_le_bytes([low, high]).to_f64())
            });
            root_mean_square(values)
        };
        // A free low byte moves every value away from 0: shrink until the spread is right.
        let mut scale = std;
        for _ in 0..6 {
            scale *= std / spread(&table(scale));
        }
        Self { high: table(scale) }
    }

    /// Four values.
    #[inline]
    pub(super) fn block(&self, values: &Values, index: u64, out: &mut [u8; 8]) {
        let mut bytes = values.raw(index).to_le_bytes();
        for high in [1, 3, 5, 7] {
            bytes[high] = self.high[usize::from(bytes[high])];
        }
        *out = bytes;
    }
}

/// Q8_0: codes by normal quantiles.
#[derive(Debug)]
pub(super) struct Bytes {
    codes: [u8; 256],
    scales: Scales,
}

impl Bytes {
    fn new(std: f64) -> Self {
        let codes = QUANTILES.map(|q| (40.0 * q).round().clamp(-127.0, 127.0) as i8);
        let spread = root_mean_square(codes.iter().map(|&code| f64::from(code)));
        let scales = scales(std / spread).map(f16::to_le_bytes);
        Self {
            codes: codes.map(|code| code as u8),
            scales,
        }
    }

    #[inline]
    pub(super) fn block(&self, values: &Values, index: u64, out: &mut [u8; 34]) {
        let first = 5 * index;
        out[..2].copy_from_slice(&self.scales[usize::from(values.raw(first) as u8)]);
        let (words, _) = out[2..].as_chunks_mut::<8>();
        for (index, word) in (first + 1..).zip(words) {
            *word = values
                .raw(index)
                .to_le_bytes()
                .map(|byte| self.codes[usize::from(byte)]);
        }
    }
}

/// Q2_K: minima near 1.5 scales centre the codes 0..3.
#[derive(Debug)]
pub(super) struct TwoBit {
    /// Scale in the low nibble, minimum in the high one.
    pairs: [u8; 256],
    /// `d` and `dmin`.
    scales: [[u8; 4]; 256],
}

impl TwoBit {
    fn new(std: f64) -> Self {
        let pair = |byte: usize| {
            let scale = 4 + byte % 11;
            (scale, (scale + [0, 1, 1, 2][byte / 11 % 4] - 1).min(15))
        };
        let spread = root_mean_square((0..256).flat_map(|byte| {
            let (scale, minimum) = pair(byte);
            (0..4).map(move |code| (scale * code) as f64 - 1.5 * minimum as f64)
        }));
        let scales = scales(std / spread).map(|d| both(d, 1.5));
        Self {
            pairs: std::array::from_fn(|byte| (pair(byte).1 << 4 | pair(byte).0) as u8),
            scales,
        }
    }

    #[inline]
    pub(super) fn block(&self, values: &Values, index: u64, out: &mut [u8; 84]) {
        let first = 11 * index;
        let (pairs, _) = out[..16].as_chunks_mut::<8>();
        for (index, word) in (first..).zip(pairs) {
            *word = values
                .raw(index)
                .to_le_bytes()
                .map(|byte| self.pairs[usize::from(byte)]);
        }
        random(values, first + 2, &mut out[16..80]);
        out[80..].copy_from_slice(&self.scales[usize::from(values.raw(first + 10) as u8)]);
    }
}

/// `d` and `dmin = times * d`, as they lie in a block.
fn both(d: f16, times: f32) -> [u8; 4] {
    let ([a, b], [c, e]) = (
        d.to_le_bytes(),
        f16::from_f32(times * d.to_f32()).to_le_bytes(),
    );
    [a, b, c, e]
}

/// Q4_K: minima near 7.5 scales centre the codes 0..15.
#[derive(Debug)]
pub(super) struct FourBit {
    /// Eight packed pairs of scale and minimum.
    pairs: [[u8; 12]; 256],
    scales: [[u8; 4]; 256],
}

impl FourBit {
    fn new(std: f64) -> Self {
        let pairs = |byte: usize| -> [(usize, usize); 8] {
            std::array::from_fn(|j| {
                let scale = 20 + (byte * 7 + j * 13) % 43;
                (scale, scale + [0, 1, 1, 2][(byte + j) % 4] - 1)
            })
        };
        let spread = root_mean_square((0..256).flat_map(|byte| {
            pairs(byte).into_iter().flat_map(|(scale, minimum)| {
                (0..16).map(move |code| (scale * code) as f64 - 7.5 * minimum as f64)
            })
        }));
        let scales = scales(std / spread).map(|d| both(d, 7.5));
        Self {
            pairs: std::array::from_fn(|byte| packed(pairs(byte))),
            scales,
        }
    }

    #[inline]
    pub(super) fn block(&self, values: &Values, index: u64, out: &mut [u8; 144]) {
        let first = 17 * index;
        let [pick, pairs, ..] = values.raw(first).to_le_bytes();
        out[..4].copy_from_slice(&self.scales[usize::from(pick)]);
        out[4..16].copy_from_slice(&self.pairs[usize::from(pairs)]);
        random(values, first + 1, &mut out[16..]);
    }
}

/// Eight 6-bit pairs in twelve bytes: four whole with the upper bits of the other four, then
/// the lower nibbles of those.
fn packed(pairs: [(usize, usize); 8]) -> [u8; 12] {
    std::array::from_fn(|at| {
        let ((scale, minimum), (scale4, minimum4)) = (pairs[at % 4], pairs[at % 4 + 4]);
        let byte = match at / 4 {
            0 => scale | scale4 >> 4 << 6,
            1 => minimum | minimum4 >> 4 << 6,
            _ => scale4 & 15 | (minimum4 & 15) << 4,
        };
        byte as u8
    })
}

/// IQ2_XXS: any bits are a valid group; a value is `d (scale + 1/2) / 4 * lattice`, sign included.
#[derive(Debug)]
pub(super) struct Lattice {
    scales: Scales,
}

impl Lattice {
    fn new(std: f64) -> Self {
        // Mean square of a lattice coordinate over the 256 words of the grid.
        const MEAN_SQUARE: f64 = 534.430_175_781_25;
        let spread = root_mean_square((0..16).map(|scale| (f64::from(scale) + 0.5) / 4.0));
        Self {
            scales: scales(std / (spread * MEAN_SQUARE.sqrt())).map(f16::to_le_bytes),
        }
    }

    #[inline]
    pub(super) fn block(&self, values: &Values, index: u64, out: &mut [u8; 66]) {
        let first = 9 * index;
        out[..2].copy_from_slice(&self.scales[usize::from(values.raw(first) as u8)]);
        random(values, first + 1, &mut out[2..]);
    }
}

/// MXFP4: an exponent, one step up for some of the blocks, and free codes.
#[derive(Debug)]
pub(super) struct FourBitFloats {
    exponent: u8,
    /// Blocks whose random byte is smaller get the next exponent.
    up: u8,
}

impl FourBitFloats {
    fn new(std: f32) -> Self {
        let levels = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
        let ratio = std / root_mean_square(levels.into_iter()) as f32;
        // ratio = m 2^e with m in [1, 2); a share s of blocks at 2^(e+1) has mean square (1 + 3 s)
        // 4^e.
        let exponent = (ratio.to_bits() >> 23) as u8;
        let m = f32::from_bits(ratio.to_bits() & 0x007F_FFFF | 0x3F80_0000);
        Self {
            exponent,
            up: ((m * m - 1.0) / 3.0 * 256.0).min(255.0) as u8,
        }
    }

    #[inline]
    pub(super) fn block(&self, values: &Values, index: u64, out: &mut [u8; 17]) {
        let first = 3 * index;
        let pick = values.raw(first) as u8;
        out[0] = self.exponent + u8::from(pick < self.up);
        random(values, first + 1, &mut out[1..]);
    }
}
