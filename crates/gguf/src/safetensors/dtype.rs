//! Number formats of safetensors.

use std::fmt;

/// How the values of a tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// One byte, 0 or 1.
    Bool,
    /// Two 4-bit floats (2 exponent bits, 1 mantissa bit) a byte.
    F4,
    /// Four 6-bit floats in three bytes, 2 exponent and 3 mantissa bits.
    F6E2M3,
    /// Four 6-bit floats in three bytes, 3 exponent and 2 mantissa bits.
    F6E3M2,
    /// Unsigned byte.
    U8,
    /// Signed byte; in V4 checkpoints also two packed 4-bit floats.
    I8,
    /// 8-bit float, 5 exponent and 2 mantissa bits.
    F8E5M2,
    /// 8-bit float, 4 exponent and 3 mantissa bits, no infinity: V4's dense matrices.
    F8E4M3,
    /// A power of two: the scales of V4's tiles.
    F8E8M0,
    /// Signed 16-bit integer.
    I16,
    /// Unsigned 16-bit integer.
    U16,
    /// IEEE binary16.
    F16,
    /// The upper half of binary32.
    BF16,
    /// Signed 32-bit integer.
    I32,
    /// Unsigned 32-bit integer.
    U32,
    /// IEEE binary32.
    F32,
    /// Signed 64-bit integer.
    I64,
    /// Unsigned 64-bit integer.
    U64,
    /// IEEE binary64.
    F64,
}

/// `(type, name in the header, bits of a value)`.
const TABLE: [(Dtype, &str, u64); 19] = [
    (Dtype::Bool, "BOOL", 8),
    (Dtype::F4, "F4", 4),
    (Dtype::F6E2M3, "F6_E2M3", 6),
    (Dtype::F6E3M2, "F6_E3M2", 6),
    (Dtype::U8, "U8", 8),
    (Dtype::I8, "I8", 8),
    (Dtype::F8E5M2, "F8_E5M2", 8),
    (Dtype::F8E4M3, "F8_E4M3", 8),
    (Dtype::F8E8M0, "F8_E8M0", 8),
    (Dtype::I16, "I16", 16),
    (Dtype::U16, "U16", 16),
    (Dtype::F16, "F16", 16),
    (Dtype::BF16, "BF16", 16),
    (Dtype::I32, "I32", 32),
    (Dtype::U32, "U32", 32),
    (Dtype::F32, "F32", 32),
    (Dtype::I64, "I64", 64),
    (Dtype::U64, "U64", 64),
    (Dtype::F64, "F64", 64),
];

impl Dtype {
    /// The type a header calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// The name in headers, such as `F8_E4M3`.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Bits of one value.
    pub fn bits(self) -> u64 {
        self.row().2
    }

    /// Bytes of a tensor of this shape, unless they overflow or end inside a byte.
    pub fn bytes_of(self, shape: &[u64]) -> Option<u64> {
        let values = shape
            .iter()
            .try_fold(1u64, |product, &size| product.checked_mul(size))?;
        let bits = values.checked_mul(self.bits())?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    fn row(self) -> &'static (Self, &'static str, u64) {
        TABLE
            .iter()
            .find(|row| row.0 == self)
            .expect("every type has a row in TABLE")
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
