//! How this machine multiplies: which vector instructions, and whether quantised weights meet
//! floats or eight-bit codes.

use std::ops::Range;

use ds4_gguf::Format;
use zerocopy::IntoBytes;

use crate::dot::{Activations, Dots, Partner, Q8, Row};
use crate::tensor::Tensor;
use crate::tile::{self, Grain, Panel, Tiles};

/// One worker's memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Local {
    pub(crate) floats: Vec<f32>,
    panel: Panel,
}

impl Local {
    /// With room for `count` floats and for a panel of index rows: what decoding may come to need.
    pub(crate) fn new(count: usize) -> Self {
        let mut local = Self::default();
        local.floats(count);
        local.panel.shape(Grain::Signed, 0, tile::INDEX_COLUMNS);
        local
    }

    /// The first `count` floats, whatever they held before.
    pub(crate) fn floats(&mut self, count: usize) -> &mut [f32] {
        if self.floats.len() < count {
            self.floats.resize(count, 0.0);
        }
        &mut self.floats[..count]
    }

    /// The values of some rows of a weight.
    fn decoded(&mut self, w: &Tensor, rows: Range<usize>) -> &[f32] {
        let floats = self.floats(rows.len() * w.cols);
        for (row, values) in rows.zip(floats.chunks_exact_mut(w.cols)) {
            w.decode_row(row, values);
        }
        floats
    }
}

/// What activations are multiplied as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Floats against decoded weights: no rounding beyond the model's own, and a row's products do
    /// not depend on how many rows it is computed with.
    Float,
    /// The form that the weight's format wants: eight-bit codes against quantised blocks.
    Blocks,
}

/// The functions and the arithmetic chosen at start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernels {
    pub(crate) dots: Dots,
    pub(crate) arithmetic: Arithmetic,
    /// The tiles of the same level, where it has any.
    tiles: Option<&'static Tiles>,
}

impl Kernels {
    /// The kernels of one level.
    pub(crate) fn new(dots: Dots, arithmetic: Arithmetic) -> Self {
        Self {
            dots,
            arithmetic,
            tiles: Tiles::of(dots.simd()),
        }
    }

    /// The form in which activations meet a weight of `format`.
    pub(crate) fn partner(&self, format: Format) -> Partner {
        match self.arithmetic {
            Arithmetic::Float => Partner::F32,
            Arithmetic::Blocks => Partner::of(format).expect("matrices are in weight formats"),
        }
    }

    /// True where weights that meet `count` rows of activations on average do so in tiles.
    pub(crate) fn tiles(&self, count: usize) -> bool {
        // One order of additions for any number of rows, or what fits the number best.
        let pays = match self.arithmetic {
            Arithmetic::Float => true,
            Arithmetic::Blocks => count >= tile::WORTH,
        };
        pays && self.tiles.is_some()
    }

    /// Products of the weight rows `rows`, at most [`tile::ROWS`], with the activation rows
    /// `token(0..count)`, which are in the weight's form: each activation row's to `out(i,
    /// products)`.
    ///
    /// `tiled` is one of [`Kernels::tiles`]'s answers. Tiles and dot products add in different orders,
    /// so it must follow from the shape of the plan alone, never from what others' tokens are.
    pub(crate) fn strip(
        &self,
        w: &Tensor,
        rows: Range<usize>,
        local: &mut Local,
        x: &Activations,
        (count, token): (usize, impl Fn(usize) -> usize),
        tiled: bool,
        mut out: impl FnMut(usize, &[f32]),
    ) {
        let len = rows.len();
        // Rows that are missing in the last strip are its last one again.
        let clamped = |i: usize| rows.start + i.min(len - 1);
        let direct = Partner::of(w.format) == Some(x.partner());
        if let Some(tiles) = self.tiles.filter(|_| tiled) {
            let out = |i: usize, products: &[f32; tile::ROWS]| out(i, &products[..len]);
            let floats = |i: usize| match x.row(token(i)) {
                Row::F32(values) => values,
                _ => unreachable!("floats meet floats"),
            };
            if direct && x.partner() != Partner::F32 {
                let bytes = |i: usize| w.row(clamped(i));
                tiles.quantised(&mut local.panel, w.format, bytes, x, count, token, out);
            } else if direct {
                tiles.floats(w.format, |i| w.row(clamped(i)), (count, floats), out);
            } else {
                let decoded = local.decoded(w, rows.clone());
                let bytes = |i: usize| decoded[i.min(len - 1) * w.cols..][..w.cols].as_bytes();
                tiles.floats(Format::F32, bytes, (count, floats), out);
            }
        } else {
            let decoded = if direct {
                &[]
            } else {
                local.decoded(w, rows.clone())
            };
            for i in 0..count {
                let x = x.row(token(i));
                let mut products = [0.0; tile::ROWS];
                for (row, product) in products[..len].iter_mut().enumerate() {
                    *product = if direct {
                        self.dots.dot(w.format, w.row(rows.start + row), x)
                    } else {
                        let row = &decoded[row * w.cols..][..w.cols];
                        self.dots.dot(Format::F32, row.as_bytes(), x)
                    };
                }
                out(i, &products[..len]);
            }
        }
    }

    /// Products of a few rows of floats of one width, at most [`tile::ROWS`], with the rows
    /// `x(0..count)`: the latter's to `out(i, products)`. They do not depend on how many there are.
    pub(crate) fn float_strip<'x>(
        &self,
        rows: &[f32],
        width: usize,
        (count, x): (usize, impl Fn(usize) -> &'x [f32]),
        mut out: impl FnMut(usize, &[f32]),
    ) {
        let len = rows.len() / width;
        let row = |i: usize| &rows[i * width..][..width];
        if let Some(tiles) = self.tiles {
            let bytes = |i: usize| row(i.min(len - 1)).as_bytes();
            tiles.floats(Format::F32, bytes, (count, x), |i, products| {
                out(i, &products[..len]);
            });
        } else {
            for i in 0..count {
                let mut products = [0.0; tile::ROWS];
                for (at, product) in products[..len].iter_mut().enumerate() {
                    *product = self.floats(row(at), x(i));
                }
                out(i, &products[..len]);
            }
        }
    }

    /// Whether packed index rows of `width` columns meet queries as integers.
    pub(crate) fn index_codes(&self, width: usize) -> bool {
        self.tiles.is_some() && width == tile::INDEX_COLUMNS
    }

    /// Products of `len` packed index rows, at most [`tile::ROWS`], with the heads of a query: each
    /// head's to `out(head, products)`. Only where [`Kernels::index_codes`] says so.
    pub(crate) fn index_strip<'w>(
        &self,
        local: &mut Local,
        (len, row): (usize, impl Fn(usize) -> &'w [u8]),
        query: &[Q8],
        mut out: impl FnMut(usize, &[f32]),
    ) {
        let tiles = self.tiles.expect("index codes are for tiles");
        let row = |i: usize| row(i.min(len - 1));
        tiles.index(&mut local.panel, row, query, |head, products| {
            out(head, &products[..len]);
        });
    }

    /// Sum of products of floats.
    pub(crate) fn floats(&self, a: &[f32], b: &[f32]) -> f32 {
        self.dots.dot(Format::F32, a.as_bytes(), Row::F32(b))
    }
}
