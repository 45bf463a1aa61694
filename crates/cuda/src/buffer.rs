//! Rows of floats and picks on the card.

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;

use ds4_model::{RowSet, Scratch, Shape};

use crate::coded::code_bytes;
use crate::device::{Device, Mem, Ptr};
use crate::kernels::SOME;
use crate::room::taken;
use crate::{Arithmetic, Error, Options};

/// Rows of `width` floats, one for each row of the plan or for each that wants logits.
#[derive(Debug)]
pub struct Buffer {
    pub(crate) rows: RowSet,
    pub(crate) width: usize,
    pub(crate) mem: Mem,
    /// The same rows as binary16, for tensor cores, where some product may want them.
    pub(crate) half: Option<Mem>,
    /// Whether `half` holds what `mem` holds, and in which order.
    pub(crate) halved: Cell<Halved>,
    /// Whether only `half` holds what was written last.
    pub(crate) only_half: Cell<bool>,
    /// The first rows as eight-bit codes in natural order, see `codes.cuh`: for steps of few rows.
    pub(crate) codes: Option<Mem>,
    /// Whether `codes` holds what `mem` holds, as rows of how many values; zero if not.
    pub(crate) coded: Cell<usize>,
}

/// What the rows as binary16 are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halved {
    /// Of another time.
    Stale,
    /// In order.
    Plain,
    /// As tiles want them, see `tiles.cu`.
    Turned,
}

/// Bytes of everything that a step's intermediates take.
pub(crate) fn scratch_bytes(shape: &Shape, options: &Options) -> usize {
    let mut bytes = 0;
    let buffer = |bytes: &mut usize, rows, width| {
        let capacity = options.capacity(rows);
        *bytes += taken(4 * capacity * width);
        if options.arithmetic == Arithmetic::Half {
            *bytes += taken(2 * capacity * turned_width(width));
            *bytes += taken(capacity.min(SOME) * code_bytes(width));
        }
        Ok::<_, Infallible>(())
    };
    let picks = |bytes: &mut usize, width| {
        *bytes += taken(4 * options.max_rows) + 2 * taken(4 * options.max_rows * width);
        Ok(())
    };
    match Scratch::make(&mut bytes, shape, buffer, picks) {
        Ok(_) => bytes,
    }
}

/// Values of a row that is turned: whole windows.
pub(crate) fn turned_width(width: usize) -> usize {
    width.next_multiple_of(128)
}

impl Buffer {
    /// Rows of `width` values that a plan may have `capacity` of; with what tensor cores want if
    /// `rounded`.
    pub(crate) fn new(
        device: &Arc<Device>,
        (what, rounded): (&'static str, bool),
        rows: RowSet,
        (capacity, width): (usize, usize),
    ) -> Result<Self, Error> {
        let half = || Mem::of::<u16>(device, what, capacity * turned_width(width));
        let codes = || Mem::new(device, what, capacity.min(SOME) * code_bytes(width));
        Ok(Self {
            rows,
            width,
            mem: Mem::of::<f32>(device, what, capacity * width)?,
            half: rounded.then(half).transpose()?,
            halved: Cell::new(Halved::Stale),
            only_half: Cell::new(false),
            codes: rounded.then(codes).transpose()?,
            coded: Cell::new(0),
        })
    }

    /// Where its rows as codes lie.
    pub(crate) fn codes(&self) -> Ptr {
        let codes = self.codes.as_ref();
        codes
            .expect("buffers whose rows meet weights have it")
            .ptr()
    }

    /// The same for an operation that writes both results.
    pub(crate) fn out_codes(&self) -> Ptr {
        self.coded.set(self.width);
        self.codes()
    }

    /// What was rounded is of another time.
    pub(crate) fn forget(&self) {
        self.halved.set(Halved::Stale);
        self.only_half.set(false);
        self.coded.set(0);
    }

    /// Where its rows as binary16 lie.
    pub(crate) fn half(&self) -> Ptr {
        let half = self.half.as_ref();
        half.expect("buffers whose rows meet weights have it").ptr()
    }

    /// The same for an operation that writes both results, in order.
    pub(crate) fn out_half(&self) -> Ptr {
        self.halved.set(Halved::Plain);
        self.half()
    }

    /// Where an operation writes its result as binary16 alone; who wants floats gets them from that.
    pub(crate) fn out_half_alone(&mut self, order: Halved) -> Ptr {
        self.forget();
        self.halved.set(order);
        self.only_half.set(true);
        self.half()
    }

    /// Where an operation writes its result.
    pub(crate) fn out(&mut self) -> Ptr {
        self.forget();
        self.mem.ptr()
    }

    /// Sets the first rows; tests begin in the middle of the model with it.
    pub fn fill(&mut self, rows: &[f32]) -> Result<(), Error> {
        self.forget();
        self.mem.write(0, rows)
    }

    /// Makes every value a NaN; tests see by it what a kernel did not write.
    pub fn poison(&mut self) -> Result<(), Error> {
        self.forget();
        self.mem.fill(0xff)
    }
}

/// Up to `width` (id, weight) pairs a row.
#[derive(Debug)]
pub struct Picks {
    pub(crate) width: usize,
    pub(crate) counts: Mem,
    pub(crate) ids: Mem,
    pub(crate) weights: Mem,
}

impl Picks {
    /// The ids and weights picked for row `row`; waits for them.
    pub fn row(&self, row: usize) -> Result<(Vec<u32>, Vec<f32>), Error> {
        let mut count = [0u32];
        self.counts.read(4 * row, &mut count)?;
        let count = (count[0] as usize).min(self.width);
        let (mut ids, mut weights) = (vec![0; count], vec![0.0; count]);
        self.ids.read(4 * row * self.width, &mut ids)?;
        self.weights.read(4 * row * self.width, &mut weights)?;
        Ok((ids, weights))
    }

    /// Sets the picks of a row; tests force a choice with it.
    pub fn set(&mut self, row: usize, ids: &[u32], weights: &[f32]) -> Result<(), Error> {
        self.counts.write(4 * row, &[ids.len() as u32])?;
        self.ids.write(4 * row * self.width, ids)?;
        self.weights.write(4 * row * self.width, weights)
    }
}
