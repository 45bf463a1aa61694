//! The kernels with NEON and its dot products.

mod float;
mod index;
mod integer;
mod unpack;

use super::Tiles;

/// The table. Its functions look themselves whether the instructions are there.
pub(super) static TILES: Tiles = Tiles {
    tokens: integer::TOKENS,
    unpack: unpack::unpack,
    unpack_index: index::unpack_index,
    small_blocks: integer::small_blocks,
    super_blocks: integer::super_blocks,
    float_tile: float::float_tile,
};
