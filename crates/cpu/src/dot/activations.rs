//! Activations in the forms that weight formats want.

use ds4_gguf::Format;
use ds4_gguf::block::Q8K;

/// The form of activations that a weight format is multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partner {
    /// Float32: for F32, F16 and BF16.
    F32,
    /// Blocks of 32 eight-bit codes: for Q8_0 and MXFP4.
    Q8,
    /// Blocks of 256 eight-bit codes with their sums: for Q2_K, Q4_K and IQ2_XXS.
    Q8K,
}

impl Partner {
    /// The partner of a weight format; `None` for the others.
    pub fn of(format: Format) -> Option<Self> {
        match format {
            Format::F32 | Format::F16 | Format::BF16 => Some(Self::F32),
            Format::Q8_0 | Format::Mxfp4 => Some(Self::Q8),
            Format::Q2K | Format::Q4K | Format::Iq2Xxs => Some(Self::Q8K),
            _ => None,
        }
    }
}

/// Thirty-two activations: `x[i] = d · qs[i]`.
///
/// Q8_0 with a float32 scale: activations are never stored, so its two bytes are no gain.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Q8 {
    /// Scale.
    pub d: f32,
    /// Codes, -127 to 127: the vector functions count on -128 being absent.
    pub qs: [i8; 32],
}

impl Q8 {
    /// Quantises one block: the largest magnitude becomes 127.
    ///
    /// A NaN or an infinity makes the scale NaN, so that whatever is computed with the block shows
    /// it.
    pub fn quantise(values: &[f32; 32]) -> Self {
        // As integers, magnitudes order alike and NaN lies above infinity instead of being skipped.
        let bits = values
            .iter()
            .map(|v| (v.to_bits() & 0x7fff_ffff) as i32)
            .fold(0, i32::max);
        let largest = f32::from_bits(bits as u32);
        if !largest.is_finite() {
            return Self {
                d: f32::NAN,
                qs: [0; 32],
            };
        }
        // Below 2^-100 the reciprocal could overflow.
        if largest < f32::from_bits(27 << 23) {
            return Self {
                d: 0.0,
                qs: [0; 32],
            };
        }
        let inverse = 127.0 / largest;
        // In the binade of 2^23 the unit in the last place is one, so the adder rounds.
        const ANCHOR: f32 = 12_582_912.0;
        let qs = values.map(|x| ((x * inverse + ANCHOR) - ANCHOR) as i8);
        Self {
            d: largest / 127.0,
            qs,
        }
    }
}

/// One row of activations in one form.
#[derive(Clone, Copy, Debug)]
pub enum Row<'a> {
    /// Float32.
    F32(&'a [f32]),
    /// Blocks of 32.
    Q8(&'a [Q8]),
    /// Blocks of 256.
    Q8K(&'a [Q8K]),
}

impl Row<'_> {
    /// The form.
    pub fn partner(&self) -> Partner {
        match self {
            Self::F32(_) => Partner::F32,
            Self::Q8(_) => Partner::Q8,
            Self::Q8K(_) => Partner::Q8K,
        }
    }
}

/// Rows of activations in one form, in a buffer that keeps its memory from use to use.
#[derive(Clone, Debug, Default)]
pub struct Activations {
    width: usize,
    f32: Vec<f32>,
    q8: Vec<Q8>,
    q8_k: Vec<Q8K>,
}

impl Activations {
    /// Replaces the contents by `rows`, rows of `width` values each, in the form `partner`.
    ///
    /// # Panics
    /// If a row has another width, or is not whole blocks of the form.
    pub fn fill<'a>(
        &mut self,
        partner: Partner,
        width: usize,
        rows: impl IntoIterator<Item = &'a [f32]>,
    ) {
        self.width = width;
        self.f32.clear();
        self.q8.clear();
        self.q8_k.clear();
        for row in rows {
            assert_eq!(row.len(), width, "activations are rows of one width");
            match partner {
                Partner::F32 => self.f32.extend_from_slice(row),
                Partner::Q8 => {
                    let (blocks, rest) = row.as_chunks();
                    assert!(
                        rest.is_empty(),
                        "a row of {width} is not whole blocks of 32"
                    );
                    self.q8.extend(blocks.iter().map(Q8::quantise));
                }
                Partner::Q8K => {
                    let (blocks, rest) = row.as_chunks();
                    assert!(
                        rest.is_empty(),
                        "a row of {width} is not whole blocks of 256"
                    );
                    self.q8_k.extend(blocks.iter().map(Q8K::quantise));
                }
            }
        }
    }

    /// Row `row`, in the form it was filled with.
    #[inline]
    pub fn row(&self, row: usize) -> Row<'_> {
        let blocks = |size: usize| row * (self.width / size)..(row + 1) * (self.width / size);
        if !self.q8.is_empty() {
            Row::Q8(&self.q8[blocks(32)])
        } else if !self.q8_k.is_empty() {
            Row::Q8K(&self.q8_k[blocks(256)])
        } else {
            Row::F32(&self.f32[blocks(1)])
        }
    }
}
