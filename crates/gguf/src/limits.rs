//! The sizes a header may claim, and the geometry of tensors: one set of rules for reader and
//! writer.
//!
//! Real V4 files stay far below every cap (1,894 tensors, 129,280 tokens, 5.3 MB of header), so a
//! number above one is an attack or a damaged file. The writer applies the same rules: what it
//! writes, the reader takes.

use crate::fault::Fault;
use crate::{Dims, Format};

/// Most tensors, metadata keys, or items of one array.
pub const MAX_COUNT: u64 = 1 << 20;
/// Longest metadata key or tensor name, in bytes; the GGUF specification's own limit for keys.
pub const MAX_NAME_BYTES: u64 = 65_535;
/// Longest metadata string, in bytes. Chat templates, the longest strings seen, take tens of
/// kilobytes.
pub const MAX_STRING_BYTES: u64 = 1 << 24;
/// Arrays of arrays may go this deep; the outermost array is the first level.
pub const MAX_NESTING: u32 = 8;
/// Most bytes before the data section. The header is held in memory, so this bounds what a file can
/// make us hold.
pub const MAX_HEADER_BYTES: u64 = 1 << 26;
/// Largest alignment of payloads: one huge page.
pub const MAX_ALIGNMENT: u64 = 1 << 21;
/// Alignment of files that name none.
pub const DEFAULT_ALIGNMENT: u64 = 32;

/// Entries that lists make room for before the first is read. A count is only a claim, and a sparse
/// file can be as long as it likes: lists grow with the entries that are really there.
pub(crate) const FIRST_ROOM: u64 = 4096;

/// The metadata key that sets the alignment.
pub(crate) const ALIGNMENT_KEY: &str = "general.alignment";

/// `value` if `limit` allows it.
pub(crate) fn at_most(what: &'static str, value: u64, limit: u64) -> Result<u64, Fault> {
    if value > limit {
        Err(Fault::TooMuch { what, value, limit })
    } else {
        Ok(value)
    }
}

/// Refuses texts of more than `limit` bytes.
pub(crate) fn check_text(what: &'static str, bytes: u64, limit: u64) -> Result<(), Fault> {
    if bytes > limit {
        Err(Fault::TooLong { what, bytes, limit })
    } else {
        Ok(())
    }
}

/// Refuses alignments that are not a power of two or larger than [`MAX_ALIGNMENT`].
pub(crate) fn check_alignment(found: u64) -> Result<u64, Fault> {
    if found.is_power_of_two() && found <= MAX_ALIGNMENT {
        Ok(found)
    } else {
        Err(Fault::Alignment { found })
    }
}

/// Bytes of a tensor of these dimensions, at least one block.
pub(crate) fn tensor_bytes(dims: Dims, format: Format) -> Result<u64, Fault> {
    if dims.contains(&0) {
        return Err(Fault::ZeroDimension { dims });
    }
    let block = format.block_values() as u64;
    if !dims[0].is_multiple_of(block) {
        return Err(Fault::PartialBlock {
            row: dims[0],
            format,
            block,
        });
    }
    dims.values()
        .and_then(|values| format.bytes_of(values))
        .ok_or(Fault::SizeOverflow { dims, format })
}

/// The next multiple of `alignment`, a power of two, unless it overflows.
pub(crate) fn align_up(at: u64, alignment: u64) -> Option<u64> {
    Some(at.checked_add(alignment - 1)? & !(alignment - 1))
}
