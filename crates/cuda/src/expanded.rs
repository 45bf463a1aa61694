//! Attention of many rows of a prompt on Hopper: what they may see is expanded to binary16 first.

use std::sync::Arc;

use ds4_model::{Plan, RowFormat, Shape};

use crate::buffer::Halved;
use crate::device::{Device, Mem, Ptr};
use crate::kernels::SOME;
use crate::ops::attention::Asked;
use crate::{Arithmetic, Buffer, Cuda, Error, Options};

/// Shared memory of a block of `attend_many`: queries and two tiles of 64 rows.
pub(crate) const MANY_SHARED: u32 = 3 * 64 * 1024;

/// Rows that a run has at least for its past to be expanded; below, decoding what each row picks
/// costs less.
const LEAST: usize = 16;

/// Stands in `bases` for a run that is not expanded, as in `attend_many.cu`.
const NOT_EXPANDED: u32 = u32::MAX;

/// Rows that there is room for at most: the past of two million tokens.
const MOST_ROWS: usize = 1 << 19;

/// Bytes of an expanded row.
const ROW_BYTES: usize = 1024;

/// Room for the rows of one layer that runs of a step may see, and who has which.
#[derive(Debug)]
pub(crate) struct Expanded {
    rows: Mem,
    bases: Mem,
    /// In rows.
    room: usize,
    window: usize,
    /// Whether some run of the plan is expanded, and whether some is not.
    pub(crate) some: bool,
    pub(crate) rest: bool,
}

impl Expanded {
    /// Nothing where the kernels cannot use it.
    pub(crate) fn new(
        device: &Arc<Device>,
        shape: &Shape,
        options: &Options,
    ) -> Result<Option<Self>, Error> {
        let packed = options.rows == RowFormat::Packed;
        if !packed || options.arithmetic != Arithmetic::Half || !device.by_warp_groups() {
            return Ok(None);
        }
        let n = options.max_rows;
        let runs = n.min(options.slots);
        // All pages full, each in one session; what sessions that share pages want beyond that, or all
        // together beyond half a gigabyte, goes the other way.
        let room = (options.pages * 128 + n + runs * shape.window).min(MOST_ROWS);
        Ok(Some(Self {
            rows: Mem::new(device, "working buffers", room * ROW_BYTES)?,
            bases: Mem::of::<u32>(device, "working buffers", runs)?,
            room,
            window: shape.window,
            some: false,
            rest: true,
        }))
    }

    /// Gives runs of a plan their room.
    pub(crate) fn begin(&mut self, plan: &Plan) -> Result<(), Error> {
        let mut next = 0;
        (self.some, self.rest) = (false, false);
        let bases = plan.runs().iter().map(|run| {
            // Of all layers those of ratio 4 have most.
            let end = next + self.rows_of(run, 4);
            if plan.len() <= SOME || run.rows.len() < LEAST || end > self.room {
                self.rest = true;
                return NOT_EXPANDED;
            }
            self.some = true;
            std::mem::replace(&mut next, end) as u32
        });
        let bases: Vec<u32> = bases.collect();
        match self.some {
            true => self.bases.write(0, &bases),
            false => Ok(()),
        }
    }

    /// Rows that a run may see of a layer: those of its window, and compressed ones.
    fn rows_of(&self, run: &ds4_model::Run, ratio: usize) -> usize {
        let (first, end) = (run.first as usize, run.end() as usize);
        let compressed = end.checked_div(ratio).unwrap_or(0);
        first.min(self.window - 1) + run.rows.len() + compressed
    }

    /// Whether all rows of the plan go this way.
    pub(crate) fn takes_all(&self) -> bool {
        self.some && !self.rest
    }

    /// Where each run's rows begin.
    pub(crate) fn bases(&self) -> Ptr {
        self.bases.ptr()
    }
}

impl Cuda {
    /// Each row's heads over what it sees, for the runs that are expanded, as binary16, turned; if there
    /// are other runs, as floats too.
    pub(crate) fn attend_expanded(
        &self,
        expanded: &Expanded,
        heads: &mut Buffer,
        asked: Asked<'_>,
    ) -> Result<(), Error> {
        let Asked { place, at, .. } = asked;
        let (ids, counts, width) = asked.picks;
        let (rows, bases) = (expanded.rows.ptr(), expanded.bases());
        let most = self.plan.runs().iter();
        let most = most.map(|run| expanded.rows_of(run, place.ratio as usize));
        self.device.launch(
            self.kernels.expand_rows,
            [
                most.max().unwrap_or(0).div_ceil(8) as u32,
                self.plan.runs().len() as u32,
                1,
            ],
            [256, 1],
            0,
            &[
                &rows,
                &self.work.runs.ptr(),
                &bases,
                &self.memory.args(),
                &place,
            ],
        )?;
        let count = self.shape.heads as u32;
        let q = self.half(asked.q, Halved::Plain)?;
        let (out, turned) = match expanded.rest {
            true => (heads.out(), heads.half()),
            false => (Ptr::NULL, heads.out_half_alone(Halved::Turned)),
        };
        self.device.launch(
            self.kernels.attend_many,
            [self.n(), count.div_ceil(64), 1],
            [256, 1],
            MANY_SHARED,
            &[
                &out,
                &turned,
                &q,
                &rows,
                &bases,
                &self.work.rows.ptr(),
                &self.memory.args(),
                &place,
                &count,
                &ids,
                &counts,
                &width,
                &self.is_draft(at),
                &asked.sinks.plain(),
                &self.angles(at),
            ],
        )
    }
}
