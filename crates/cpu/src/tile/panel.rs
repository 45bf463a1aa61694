//! Sixteen unpacked weight rows.

use super::ROWS;

/// One vector: of each of the sixteen rows, four codes or two minima.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 64]);

/// One number of each row.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Lanes(pub(crate) [f32; ROWS]);

/// How often a panel has a scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Grain {
    /// Every 32 values: `w = scale · code`. The codes have a sign; on x86-64, where one side of a
    /// product has none, they stand here 128 too large.
    #[default]
    Signed,
    /// Every 32 values, and minima: `w = scale · code - unit · minimum`.
    Fine,
    /// Every 256 values, and minima of 16 values each.
    Coarse,
}

/// Sixteen weight rows as codes under scales, lane by lane.
///
/// Integers are kept as the block formats have them, so products of codes stay exact. Only numbers
/// that are exact in float32 as well (a float16 times six bits) become scales.
#[derive(Clone, Debug, Default)]
pub(crate) struct Panel {
    pub(crate) grain: Grain,
    /// The largest magnitude of a code: how many products fit in fewer bits.
    pub(crate) reach: u8,
    /// Four columns each.
    pub(crate) codes: Vec<Line>,
    /// One a grain.
    pub(crate) scales: Vec<Lanes>,
    /// Two minima each, that meet two sums of sixteen activations; eight lines a super-block.
    pub(crate) minima: Vec<Line>,
    /// Units of the minima, one a super-block.
    pub(crate) units: Vec<Lanes>,
}

impl Panel {
    /// Room for `columns` columns; memory is kept from use to use.
    pub(crate) fn shape(&mut self, grain: Grain, reach: u8, columns: usize) {
        let (scales, supers) = match grain {
            Grain::Signed => (columns / 32, 0),
            Grain::Fine => (columns / 32, columns / 256),
            Grain::Coarse => (columns / 256, columns / 256),
        };
        (self.grain, self.reach) = (grain, reach);
        self.codes.resize(columns / 4, Line([0; 64]));
        self.scales.resize(scales, Lanes([0.0; ROWS]));
        self.minima.resize(supers * 8, Line([0; 64]));
        self.units.resize(supers, Lanes([0.0; ROWS]));
    }
}
