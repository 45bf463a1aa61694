//! Matrix-matrix products on quantised blocks: the prefill.
//!
//! A dot product unpacks a weight row again for every token. Here sixteen weight rows are unpacked
//! once, into a [`Panel`] whose lanes are the rows, and then meet tiles of up to [`TOKENS`] rows of
//! activations: one instruction multiplies four columns of all sixteen rows with four codes of one
//! token.
//!
//! | file | what |
//! |---|---|
//! | `panel.rs` | the unpacked form and its memory |
//! | `avx2/`, `avx512/`, `neon/` | the kernels of each level, of one shape: |
//! | `../unpack.rs` | from each block format to a panel |
//! | `../index.rs` | the same from index rows |
//! | `../integer.rs` | panels against eight-bit activations |
//! | `../float.rs` | rows of floats against float activations |
//! | `common.rs` | what they share |
//!
//! The twin of every kernel is the scalar dot product of `dot`. A product is computed by one task
//! alone and its sums do not depend on which rows or tokens share its tile, so results are the same
//! for every number of threads.
//!
//! The arithmetic of integers and scales is the same at every level: quantised rows give the same
//! bits with AVX2, AVX-512 and NEON's dot products.
//!
//! Machines with none of them keep to dot products.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod common;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    expect(dead_code, reason = "only the kernels look inside")
)]
mod panel;

use std::ops::Range;

use ds4_gguf::Format;
use ds4_gguf::block::Q8K;

use crate::dot::{Activations, Partner, Q8, Row, Simd};
pub(crate) use panel::{Grain, Panel};

/// Weight rows of a panel: 32-bit lanes of a vector.
pub(crate) const ROWS: usize = 16;

/// Most activation rows of a tile: their sums must fit in the registers.
const TOKENS: usize = 12;

/// Weight rows of a tile of floats.
const FLOAT_ROWS: usize = 4;

/// Most activation rows of a tile of floats.
const FLOAT_TOKENS: usize = 6;

/// Columns of the index rows that panels are made of: the family's.
pub(crate) const INDEX_COLUMNS: usize = 128;

/// Fewest activation rows for which unpacking pays.
pub(crate) const WORTH: usize = 2;

/// A panel against blocks of as many tokens as there are results.
type Meet<X> = fn(&Panel, &[&[X]; TOKENS], &mut [[f32; ROWS]]);

/// Rows of floats against those of as many tokens as there are results.
type MeetFloats =
    fn(Format, &[&[u8]; FLOAT_ROWS], &[&[f32]; FLOAT_TOKENS], &mut [[f32; FLOAT_ROWS]]);

/// The kernels of one level. Places of a tile beyond its results repeat its last row.
#[derive(Debug)]
pub(crate) struct Tiles {
    /// Most activation rows of a tile of integers, [`TOKENS`] at most.
    tokens: usize,
    /// From rows of a quantised format to a panel.
    unpack: fn(&mut Panel, Format, &[&[u8]; ROWS]),
    /// From packed index rows to a panel.
    unpack_index: fn(&mut Panel, &[&[u8]; ROWS]),
    /// A panel of a [`Grain::Signed`] against blocks of 32.
    small_blocks: Meet<Q8>,
    /// A panel of another grain against blocks of 256.
    super_blocks: Meet<Q8K>,
    /// Rows of floats against floats.
    float_tile: MeetFloats,
}

/// The tiles that `count` rows are cut into: as equal as they can be, `most` at most.
fn cuts(count: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let tiles = count.div_ceil(most);
    (0..tiles).map(move |tile| tile * count / tiles..(tile + 1) * count / tiles)
}

impl Tiles {
    /// The kernels of a level, or `None` where products are made one by one.
    pub(crate) fn of(simd: Simd) -> Option<&'static Self> {
        match simd {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => Some(&avx2::TILES),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => Some(&avx512::TILES),
            #[cfg(target_arch = "aarch64")]
            Simd::NeonDot => Some(&neon::TILES),
            _ => None,
        }
    }

    /// Products of sixteen quantised rows, unpacked into `panel`, with the activation rows
    /// `token(0..count)`: `out(i, sixteen products)`.
    pub(crate) fn quantised<'w>(
        &self,
        panel: &mut Panel,
        format: Format,
        row: impl Fn(usize) -> &'w [u8],
        x: &Activations,
        count: usize,
        token: impl Fn(usize) -> usize,
        mut out: impl FnMut(usize, &[f32; ROWS]),
    ) {
        (self.unpack)(panel, format, &std::array::from_fn(row));
        let mut results = [[0.0; ROWS]; TOKENS];
        for tile in cuts(count, self.tokens) {
            let results = &mut results[..tile.len()];
            // Places beyond the tile repeat its last row and are not looked at.
            let row = |t: usize| x.row(token((tile.start + t).min(tile.end - 1)));
            match x.partner() {
                Partner::Q8 => {
                    let rows = std::array::from_fn(|t| match row(t) {
                        Row::Q8(blocks) => blocks,
                        _ => unreachable!("rows of one form"),
                    });
                    (self.small_blocks)(panel, &rows, results);
                }
                Partner::Q8K => {
                    let rows = std::array::from_fn(|t| match row(t) {
                        Row::Q8K(blocks) => blocks,
                        _ => unreachable!("rows of one form"),
                    });
                    (self.super_blocks)(panel, &rows, results);
                }
                Partner::F32 => unreachable!("floats meet no panels"),
            }
            for (i, result) in tile.zip(&*results) {
                out(i, result);
            }
        }
    }

    /// The same for sixteen packed index rows and the `count` heads of a query, as
    /// [`crate::index::codes`] makes them.
    pub(crate) fn index<'w>(
        &self,
        panel: &mut Panel,
        row: impl Fn(usize) -> &'w [u8],
        query: &[Q8],
        mut out: impl FnMut(usize, &[f32; ROWS]),
    ) {
        (self.unpack_index)(panel, &std::array::from_fn(row));
        let heads = query.as_chunks::<{ INDEX_COLUMNS / 32 }>().0;
        let mut results = [[0.0; ROWS]; TOKENS];
        for tile in cuts(heads.len(), self.tokens) {
            let results = &mut results[..tile.len()];
            let head = |t: usize| &heads[(tile.start + t).min(tile.end - 1)][..];
            (self.small_blocks)(panel, &std::array::from_fn(head), results);
            for (i, result) in tile.zip(&*results) {
                out(i, result);
            }
        }
    }

    /// The same for sixteen rows of floats and `count` rows of float activations.
    pub(crate) fn floats<'w, 'x>(
        &self,
        format: Format,
        row: impl Fn(usize) -> &'w [u8],
        (count, x): (usize, impl Fn(usize) -> &'x [f32]),
        mut out: impl FnMut(usize, &[f32; ROWS]),
    ) {
        let mut results = [[0.0; ROWS]; FLOAT_TOKENS];
        let mut few = [[0.0; FLOAT_ROWS]; FLOAT_TOKENS];
        for tile in cuts(count, FLOAT_TOKENS) {
            let rows = std::array::from_fn(|t| x((tile.start + t).min(tile.end - 1)));
            for first in (0..ROWS).step_by(FLOAT_ROWS) {
                let few = &mut few[..tile.len()];
                (self.float_tile)(format, &std::array::from_fn(|i| row(first + i)), &rows, few);
                for (result, few) in results.iter_mut().zip(few) {
                    result[first..first + FLOAT_ROWS].copy_from_slice(few);
                }
            }
            for (i, result) in tile.zip(&results) {
                out(i, result);
            }
        }
    }
}

#[cfg(test)]
mod tests;
