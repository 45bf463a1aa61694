//! Activations in the forms that weight formats want.

use ds4_gguf::Format;
use ds4_gguf::block::Q8K;

use crate::pool::Pool;
use crate::share::Shared;

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
    /// What multiplying with codes that are 128 too large adds to a sum, negative: -128 times the
    /// sum of `qs`.
    pub excess: i32,
    /// Codes, -127 to 127: the vector functions count on -128 being absent.
    pub qs: [i8; 32],
}

impl Q8 {
    const ZERO: Self = Self {
        d: 0.0,
        excess: 0,
        qs: [0; 32],
    };

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
                excess: 0,
                qs: [0; 32],
            };
        }
        // Below 2^-100 the reciprocal could overflow.
        if largest < f32::from_bits(27 << 23) {
            return Self::ZERO;
        }
        let inverse = 127.0 / largest;
        // In the binade of 2^23 the unit in the last place is one, so the adder rounds.
        const ANCHOR: f32 = 12_582_912.0;
        let qs = values.map(|x| ((x * inverse + ANCHOR) - ANCHOR) as i8);
        Self {
            d: largest / 127.0,
            excess: -128 * qs.iter().map(|q| i32::from(*q)).sum::<i32>(),
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
#[derive(Clone, Debug)]
pub struct Activations {
    partner: Partner,
    width: usize,
    f32: Vec<f32>,
    q8: Vec<Q8>,
    q8_k: Vec<Q8K>,
}

impl Default for Activations {
    fn default() -> Self {
        Self {
            partner: Partner::F32,
            width: 0,
            f32: Vec::new(),
            q8: Vec::new(),
            q8_k: Vec::new(),
        }
    }
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
        rows: impl IntoIterator<Item = &'a [f32], IntoIter: ExactSizeIterator>,
    ) {
        let rows = rows.into_iter();
        let all = self.begin(partner, width, rows.len());
        for (row, values) in rows.enumerate() {
            // SAFETY: one row at a time.
            unsafe { all.set(row, values) };
        }
    }

    /// The same with all workers; `row(i)` is row `i` of `count`.
    pub(crate) fn fill_on<'a>(
        &mut self,
        pool: &Pool,
        partner: Partner,
        width: usize,
        count: usize,
        row: impl Fn(usize) -> &'a [f32] + Sync,
    ) {
        let all = self.begin(partner, width, count);
        // For a few rows it is over before the other workers have looked up.
        let stretch = (8192 / width.max(1)).max(1);
        pool.run(count.div_ceil(stretch), |_, task| {
            for at in task * stretch..((task + 1) * stretch).min(count) {
                // SAFETY: each row belongs to one task.
                unsafe { all.set(at, row(at)) };
            }
        });
    }

    fn begin(&mut self, partner: Partner, width: usize, rows: usize) -> Places<'_> {
        (self.partner, self.width) = (partner, width);
        match partner {
            Partner::F32 => Places::F32(width, places(&mut self.f32, rows * width, 0.0)),
            Partner::Q8 => {
                assert!(
                    width.is_multiple_of(32),
                    "a row of {width} is not whole blocks of 32"
                );
                Places::Q8(width, places(&mut self.q8, rows * width / 32, Q8::ZERO))
            }
            Partner::Q8K => {
                assert!(
                    width.is_multiple_of(256),
                    "a row of {width} is not whole blocks of 256"
                );
                let zero = Q8K {
                    d: 0.0,
                    qs: [0; 256],
                    sums: [0; 16],
                };
                Places::Q8K(width, places(&mut self.q8_k, rows * width / 256, zero))
            }
        }
    }

    /// The form of all rows.
    pub(crate) fn partner(&self) -> Partner {
        self.partner
    }

    /// Row `row`, in the form it was filled with.
    #[inline]
    pub fn row(&self, row: usize) -> Row<'_> {
        let blocks = |size: usize| row * (self.width / size)..(row + 1) * (self.width / size);
        match self.partner {
            Partner::Q8 => Row::Q8(&self.q8[blocks(32)]),
            Partner::Q8K => Row::Q8K(&self.q8_k[blocks(256)]),
            Partner::F32 => Row::F32(&self.f32[blocks(1)]),
        }
    }
}

/// `count` places, whatever they held before.
fn places<T: Clone>(buffer: &mut Vec<T>, count: usize, zero: T) -> Shared<'_, T> {
    if buffer.len() < count {
        buffer.resize(count, zero);
    }
    Shared::new(&mut buffer[..count])
}

/// Where rows of a form go, and their width.
enum Places<'a> {
    F32(usize, Shared<'a, f32>),
    Q8(usize, Shared<'a, Q8>),
    Q8K(usize, Shared<'a, Q8K>),
}

impl Places<'_> {
    /// Stores one row.
    ///
    /// # Safety
    /// No other call may store the same row at the same time.
    unsafe fn set(&self, row: usize, values: &[f32]) {
        let blocks = |width: usize, size: usize| {
            assert_eq!(values.len(), width, "activations are rows of one width");
            row * (width / size)..(row + 1) * (width / size)
        };
        match self {
            Self::F32(width, all) => {
                // SAFETY: the contract of this function.
                unsafe { all.part(blocks(*width, 1)) }.copy_from_slice(values);
            }
            Self::Q8(width, all) => {
                // SAFETY: the contract of this function.
                let out = unsafe { all.part(blocks(*width, 32)) };
                for (out, values) in out.iter_mut().zip(values.as_chunks().0) {
                    *out = Q8::quantise(values);
                }
            }
            Self::Q8K(width, all) => {
                // SAFETY: the contract of this function.
                let out = unsafe { all.part(blocks(*width, 256)) };
                for (out, values) in out.iter_mut().zip(values.as_chunks().0) {
                    *out = Q8K::quantise(values);
                }
            }
        }
    }
}
