//! Block formats, one file each.
//!
//! A block is a `#[repr(C)]` struct whose size is asserted at compile time and whose bytes may be
//! cast from a mapped file. Its scalar `decode` is the truth that every kernel of every backend is
//! compared with; `encode` is good enough for test models. Encoders weighted by an importance
//! matrix will stand beside it, one per format.
//!
//! Use [`decode`] and [`encode`] where the format is known only at run time, [`blocks_of`] and the
//! structs where it is a type. The bytes are described in `docs/formats/blocks.md`.
//!
//! **What encoders do with odd input.** Formats with scales take NaN as 0 and saturate what is too
//! large, infinities included, at about their greatest value; F32, F16 and BF16 keep both. Values
//! too small for the scale become 0.

use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Format;

mod affine;
mod bf16;
mod f16;
mod f32;
pub mod iq2_xxs;
mod mxfp4;
mod q2_k;
mod q4_k;
mod q8_0;
mod q8_k;
mod round;

pub use bf16::BF16;
pub use f16::F16;
pub use f32::F32;
pub use iq2_xxs::Iq2Xxs;
pub use mxfp4::Mxfp4;
pub use q2_k::Q2K;
pub use q4_k::Q4K;
pub use q8_0::Q8_0;
pub use q8_k::Q8K;

/// Why bytes or values are no blocks of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// The format stores no weights, or none that V4 files contain.
    #[error(
        "{0} is not a weight format: only F32, F16, BF16, Q8_0, Q2_K, Q4_K, IQ2_XXS, MXFP4 are"
    )]
    NotWeights(Format),
    /// The bytes end inside a block.
    #[error("{bytes} bytes are not whole {format} blocks of {} bytes", .format.block_bytes())]
    PartialBlock {
        /// The format asked for.
        format: Format,
        /// Bytes given.
        bytes: usize,
    },
    /// The values end inside a block.
    #[error("{values} values are not whole {format} blocks of {} values", .format.block_values())]
    PartialValues {
        /// The format asked for.
        format: Format,
        /// Values given.
        values: usize,
    },
    /// The bytes hold another number of values than there is room for.
    #[error("{bytes} bytes of {format} hold {held} values, but the output has room for {room}")]
    WrongRoom {
        /// The format asked for.
        format: Format,
        /// Bytes given.
        bytes: usize,
        /// Values they hold.
        held: usize,
        /// Values the output takes.
        room: usize,
    },
}

/// One block of quantised values.
pub trait Block:
    FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned + Copy + Send + Sync + 'static
{
    /// The format this block belongs to.
    const FORMAT: Format;
    /// Values in a block.
    const VALUES: usize;

    /// Writes the block's values; `out` holds exactly [`Self::VALUES`].
    fn decode(&self, out: &mut [f32]);

    /// The block nearest to `values` (exactly [`Self::VALUES`] of them) that a plain search finds.
    fn encode(values: &[f32]) -> Self;
}

/// Ties a block struct to its row in the format table, at compile time.
macro_rules! assert_layout {
    ($block:ty, $($field:ident at $offset:literal),* ; $bytes:literal bytes) => {
        const _: () = {
            assert!(size_of::<$block>() == $bytes, "size of the block");
            assert!(align_of::<$block>() == 1, "blocks lie at any byte of a mapped file");
            $(assert!(std::mem::offset_of!($block, $field) == $offset, stringify!($field));)*
        };
    };
}
use assert_layout;

/// The blocks that `bytes` are, without copying.
///
/// # Errors
/// [`BlockError::PartialBlock`] if the bytes end inside a block.
pub fn blocks_of<B: Block>(bytes: &[u8]) -> Result<&[B], BlockError> {
    <[B]>::ref_from_bytes(bytes).map_err(|_| BlockError::PartialBlock {
        format: B::FORMAT,
        bytes: bytes.len(),
    })
}

/// Calls the generic function `$f::<B>` for the block type of a run-time format.
macro_rules! for_format {
    ($format:expr, $f:ident($($arg:expr),*)) => {
        match $format {
            Format::F32 => $f::<F32>($($arg),*),
            Format::F16 => $f::<F16>($($arg),*),
            Format::BF16 => $f::<BF16>($($arg),*),
            Format::Q8_0 => $f::<Q8_0>($($arg),*),
            Format::Q2K => $f::<Q2K>($($arg),*),
            Format::Q4K => $f::<Q4K>($($arg),*),
            Format::Iq2Xxs => $f::<Iq2Xxs>($($arg),*),
            Format::Mxfp4 => $f::<Mxfp4>($($arg),*),
            other => Err(BlockError::NotWeights(other)),
        }
    };
}

/// Writes the values of whole blocks of a weight format; `out` has room for exactly these.
///
/// # Errors
/// If the format stores no weights, the bytes are not whole blocks, or `out` has another length.
pub fn decode(format: Format, bytes: &[u8], out: &mut [f32]) -> Result<(), BlockError> {
    for_format!(format, decode_blocks(bytes, out))
}

/// Appends the blocks of a weight format nearest to `values`.
///
/// One thread, with a plain search: whoever has many rows calls it once per row, in parallel.
///
/// # Errors
/// If the format stores no weights, or the values are not whole blocks.
pub fn encode(format: Format, values: &[f32], out: &mut Vec<u8>) -> Result<(), BlockError> {
    for_format!(format, encode_blocks(values, out))
}

fn decode_blocks<B: Block>(bytes: &[u8], out: &mut [f32]) -> Result<(), BlockError> {
    let blocks = blocks_of::<B>(bytes)?;
    // The blocks are in memory, so their values cannot overflow a count: at most 4 values a byte.
    let held = blocks.len().saturating_mul(B::VALUES);
    if held != out.len() {
        let (format, bytes, room) = (B::FORMAT, bytes.len(), out.len());
        return Err(BlockError::WrongRoom {
            format,
            bytes,
            held,
            room,
        });
    }
    for (block, values) in blocks.iter().zip(out.chunks_exact_mut(B::VALUES)) {
        block.decode(values);
    }
    Ok(())
}

fn encode_blocks<B: Block>(values: &[f32], out: &mut Vec<u8>) -> Result<(), BlockError> {
    if !values.len().is_multiple_of(B::VALUES) {
        return Err(BlockError::PartialValues {
            format: B::FORMAT,
            values: values.len(),
        });
    }
    out.reserve(values.len() / B::VALUES * size_of::<B>());
    for chunk in values.chunks_exact(B::VALUES) {
        out.extend_from_slice(B::encode(chunk).as_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{BF16, Block, F16, F32, Iq2Xxs, Mxfp4, Q2K, Q4K, Q8_0};

    #[test]
    fn blocks_have_the_sizes_of_the_format_table() {
        fn check<B: Block>() {
            assert_eq!(size_of::<B>(), B::FORMAT.block_bytes(), "{}", B::FORMAT);
            assert_eq!(B::VALUES, B::FORMAT.block_values(), "{}", B::FORMAT);
        }
        check::<F32>();
        check::<F16>();
        check::<BF16>();
        check::<Q8_0>();
        check::<Q2K>();
        check::<Q4K>();
        check::<Iq2Xxs>();
        check::<Mxfp4>();
    }
}
