//! The kernels with AVX-512 and VNNI.

mod float;
mod index;
mod integer;
mod unpack;

pub(super) use float::float_tile;
pub(super) use index::unpack_index;
pub(super) use integer::{small_blocks, super_blocks};
pub(super) use unpack::unpack;
