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
//! | `avx512/unpack.rs` | from each block format to it |
//! | `avx512/index.rs` | the same from index rows |
//! | `avx512/integer.rs` | panels against eight-bit activations |
//! | `avx512/float.rs` | rows of floats against float activations |
//!
//! The twin of every kernel is the scalar dot product of `dot`. A product is computed by one task
//! alone and its sums do not depend on which rows or tokens share its tile, so results are the same
//! for every number of threads.
//!
//! Machines without AVX-512 and VNNI keep to dot products.

#[cfg(not(target_arch = "x86_64"))]
mod absent;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "only the kernels look inside")
)]
mod panel;

use std::ops::Range;

use ds4_gguf::Format;

use crate::dot::{Activations, Dots, Partner, Q8, Row, Simd};

#[cfg(not(target_arch = "x86_64"))]
use absent as kernels;
#[cfg(target_arch = "x86_64")]
use avx512 as kernels;
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
const WORTH: usize = 2;

/// True where `count` rows of activations in the form `partner` meet a weight as tiles rather than
/// one by one.
pub(crate) fn pays(dots: &Dots, count: usize) -> bool {
    count >= WORTH && dots.simd() == Simd::Avx512
}

/// The tiles that `count` rows are cut into: as equal as they can be, `most` at most.
fn cuts(count: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let tiles = count.div_ceil(most);
    (0..tiles).map(move |tile| tile * count / tiles..(tile + 1) * count / tiles)
}

/// Products of sixteen quantised rows, unpacked into `panel`, with the activation rows
/// `token(0..count)`: `out(i, sixteen products)`.
pub(crate) fn quantised<'w>(
    panel: &mut Panel,
    format: Format,
    row: impl Fn(usize) -> &'w [u8],
    x: &Activations,
    count: usize,
    token: impl Fn(usize) -> usize,
    mut out: impl FnMut(usize, &[f32; ROWS]),
) {
    kernels::unpack(panel, format, &std::array::from_fn(row));
    let mut results = [[0.0; ROWS]; TOKENS];
    for tile in cuts(count, TOKENS) {
        let results = &mut results[..tile.len()];
        // Places beyond the tile repeat its last row and are not looked at.
        let row = |t: usize| x.row(token((tile.start + t).min(tile.end - 1)));
        match x.partner() {
            Partner::Q8 => {
                let rows = std::array::from_fn(|t| match row(t) {
                    Row::Q8(blocks) => blocks,
                    _ => unreachable!("rows of one form"),
                });
                kernels::small_blocks(panel, &rows, results);
            }
            Partner::Q8K => {
                let rows = std::array::from_fn(|t| match row(t) {
                    Row::Q8K(blocks) => blocks,
                    _ => unreachable!("rows of one form"),
                });
                kernels::super_blocks(panel, &rows, results);
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
    panel: &mut Panel,
    row: impl Fn(usize) -> &'w [u8],
    query: &[Q8],
    mut out: impl FnMut(usize, &[f32; ROWS]),
) {
    kernels::unpack_index(panel, &std::array::from_fn(row));
    let heads = query.as_chunks::<{ INDEX_COLUMNS / 32 }>().0;
    let mut results = [[0.0; ROWS]; TOKENS];
    for tile in cuts(heads.len(), TOKENS) {
        let results = &mut results[..tile.len()];
        let head = |t: usize| &heads[(tile.start + t).min(tile.end - 1)][..];
        kernels::small_blocks(panel, &std::array::from_fn(head), results);
        for (i, result) in tile.zip(&*results) {
            out(i, result);
        }
    }
}

/// The same for sixteen rows of floats and `count` rows of float activations.
pub(crate) fn floats<'w, 'x>(
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
            kernels::float_tile(format, &std::array::from_fn(|i| row(first + i)), &rows, few);
            for (result, few) in results.iter_mut().zip(few) {
                result[first..first + FLOAT_ROWS].copy_from_slice(few);
            }
        }
        for (i, result) in tile.zip(&results) {
            out(i, result);
        }
    }
}

#[cfg(test)]
mod tests;
