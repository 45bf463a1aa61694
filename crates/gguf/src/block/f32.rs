//! F32: IEEE binary32, little-endian, at any address.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Block, assert_layout};
use crate::Format;

/// One float32 as the file has it.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct F32 {
    bytes: [u8; 4],
}

assert_layout!(F32, bytes at 0; 4 bytes);

impl F32 {
    /// The value.
    #[inline]
    pub const fn to_f32(self) -> f32 {
        f32::from_le_bytes(self.bytes)
    }

    /// The same value in file order.
    #[inline]
    pub const fn from_f32(value: f32) -> Self {
        Self {
            bytes: value.to_le_bytes(),
        }
    }
}

impl Block for F32 {
    const FORMAT: Format = Format::F32;
    const VALUES: usize = 1;

    #[inline]
    fn decode(&self, out: &mut [f32]) {
        out[0] = self.to_f32();
    }

    #[inline]
    fn encode(values: &[f32]) -> Self {
        Self::from_f32(values[0])
    }
}
