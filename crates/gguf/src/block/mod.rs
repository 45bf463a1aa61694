//! Block formats, one file each.
//!
//! A block is a `#[repr(C)]` struct whose size is asserted at compile time and whose bytes may be cast from a mapped
//! file. Its scalar `decode` is the truth that every kernel of every backend is compared with; `encode` is good enough
//! for test models. Encoders weighted by an importance matrix will stand beside it, one per format.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Format;

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
