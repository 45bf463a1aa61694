//! What a file says about one tensor.

use std::fmt;
use std::ops::Deref;

use crate::Format;

/// One to four dimensions, the fastest first: `[in, out]` is a matrix of `out` rows of `in` values.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dims {
    sizes: [u64; 4],
    rank: u8,
}

impl Dims {
    /// `None` unless there are one to four sizes.
    pub fn new(sizes: &[u64]) -> Option<Self> {
        if !(1..=4).contains(&sizes.len()) {
            return None;
        }
        let mut all = [1; 4];
        all[..sizes.len()].copy_from_slice(sizes);
        Some(Self {
            sizes: all,
            rank: sizes.len() as u8,
        })
    }

    /// The product of all sizes, unless it overflows.
    pub fn values(&self) -> Option<u64> {
        self.iter()
            .try_fold(1u64, |product, &size| product.checked_mul(size))
    }
}

impl Deref for Dims {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.sizes[..usize::from(self.rank)]
    }
}

impl fmt::Debug for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl PartialEq<[u64]> for Dims {
    fn eq(&self, other: &[u64]) -> bool {
        **self == *other
    }
}

impl PartialEq<&[u64]> for Dims {
    fn eq(&self, other: &&[u64]) -> bool {
        **self == **other
    }
}

impl<const N: usize> PartialEq<[u64; N]> for Dims {
    fn eq(&self, other: &[u64; N]) -> bool {
        **self == other[..]
    }
}

/// One entry of the tensor directory, checked: the payload lies inside the file and holds whole
/// blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name, unique in its file.
    pub name: String,
    /// The dimensions, fastest first.
    pub dims: Dims,
    /// How the values are stored.
    pub format: Format,
    /// Where the payload begins, counted from the start of the file.
    pub offset: u64,
    /// Bytes of the payload, without the padding behind it.
    pub bytes: u64,
}

impl TensorInfo {
    /// Number of values.
    pub fn values(&self) -> u64 {
        self.dims
            .values()
            .expect("the product was checked when the tensor was made")
    }

    /// Where the payload ends.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes
    }
}
