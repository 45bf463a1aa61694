//! Number formats by their GGUF id: how many values a block holds and how many bytes it takes.
//!
//! A format is listed here when a file may name it. [`Format::is_weight`] tells which of them V4
//! matrices use and this crate can decode; the others are known by size only, so that `inspect` can
//! report a foreign file.

use std::fmt;

/// How the values of a tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of binary32.
    BF16,
    /// 32 signed bytes and one f16 scale.
    Q8_0,
    /// 256 two-bit codes, 16 four-bit scales and minima.
    Q2K,
    /// 256 three-bit codes.
    Q3K,
    /// 256 four-bit codes, 8 six-bit scales and minima.
    Q4K,
    /// 256 five-bit codes.
    Q5K,
    /// 256 six-bit codes.
    Q6K,
    /// 256 values on a grid of 256 eight-value words with signs.
    Iq2Xxs,
    /// 32 E2M1 values and one E8M0 scale.
    Mxfp4,
    /// 64 E2M1 values; seen only in other projects' files.
    Nvfp4,
    /// Signed byte.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// IEEE binary64.
    F64,
}

/// `(format, GGUF id, name, values in a block, bytes of a block)`.
const TABLE: [(Format, u32, &str, usize, usize); 17] = [
    (Format::F32, 0, "F32", 1, 4),
    (Format::F16, 1, "F16", 1, 2),
    (Format::Q8_0, 8, "Q8_0", 32, 34),
    (Format::Q2K, 10, "Q2_K", 256, 84),
    (Format::Q3K, 11, "Q3_K", 256, 110),
    (Format::Q4K, 12, "Q4_K", 256, 144),
    (Format::Q5K, 13, "Q5_K", 256, 176),
    (Format::Q6K, 14, "Q6_K", 256, 210),
    (Format::Iq2Xxs, 16, "IQ2_XXS", 256, 66),
    (Format::I8, 24, "I8", 1, 1),
    (Format::I16, 25, "I16", 1, 2),
    (Format::I32, 26, "I32", 1, 4),
    (Format::I64, 27, "I64", 1, 8),
    (Format::F64, 28, "F64", 1, 8),
    (Format::BF16, 30, "BF16", 1, 2),
    (Format::Mxfp4, 39, "MXFP4", 32, 17),
    (Format::Nvfp4, 40, "NVFP4", 64, 36),
];

impl Format {
    /// Every format this crate knows, in the order of GGUF ids.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    /// The format with this GGUF type id.
    pub fn from_id(id: u32) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == id).map(|row| row.0)
    }

    /// The format of this name, as `name` spells it; case does not matter.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE
            .iter()
            .find(|row| row.2.eq_ignore_ascii_case(name))
            .map(|row| row.0)
    }

    fn row(self) -> &'static (Self, u32, &'static str, usize, usize) {
        TABLE
            .iter()
            .find(|row| row.0 == self)
            .expect("every format has a row in TABLE")
    }

    /// The GGUF type id.
    pub fn id(self) -> u32 {
        self.row().1
    }

    /// The name people use, such as `IQ2_XXS`.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Values in one block; 1 for plain arrays.
    pub fn block_values(self) -> usize {
        self.row().3
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        self.row().4
    }

    /// Bytes of `values` values, or `None` if they are not whole blocks or the product overflows.
    pub fn bytes_of(self, values: u64) -> Option<u64> {
        let per_block = self.block_values() as u64;
        if !values.is_multiple_of(per_block) {
            return None;
        }
        (values / per_block).checked_mul(self.block_bytes() as u64)
    }

    /// True for the formats that V4 matrices come in and every backend must decode.
    pub fn is_weight(self) -> bool {
        matches!(
            self,
            Self::F32
                | Self::F16
                | Self::BF16
                | Self::Q8_0
                | Self::Q2K
                | Self::Q4K
                | Self::Iq2Xxs
                | Self::Mxfp4
        )
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Format;

    #[test]
    fn ids_and_names_lead_back_to_the_format() {
        for format in Format::all() {
            assert_eq!(Format::from_id(format.id()), Some(format));
            assert_eq!(
                Format::from_name(&format.name().to_lowercase()),
                Some(format)
            );
        }
        assert_eq!(Format::from_id(2), None, "Q4_0 is no format of this family");
    }

    #[test]
    fn partial_blocks_and_overflow_have_no_size() {
        assert_eq!(Format::Iq2Xxs.bytes_of(512), Some(132));
        assert_eq!(Format::Iq2Xxs.bytes_of(255), None);
        assert_eq!(Format::F64.bytes_of(u64::MAX), None);
    }
}
