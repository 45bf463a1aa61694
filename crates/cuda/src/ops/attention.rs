//! Attention over the window and the compressed rows.

use ds4_model::{RowFormat, Scratch, Seen, Site};

use super::{Done, ROW_THREADS};
use crate::device::Ptr;
use crate::expanded::Expanded;
use crate::layout::Place;
use crate::product::{ATTEND_FEW_SHARED, ATTEND_SHARED};
use crate::work::PARTS;
use crate::{Buffer, Cuda, Picks, Tensor, layout};

/// Most rows that attend in clusters, as in `attend_few.cu`, and how many stored rows a block takes
/// at a time.
const ATTEND_FEW: usize = 8;
const FEW_ROWS: usize = 48;

/// Heads that a block of `attend.cu` carries.
const BLOCK_HEADS: usize = 16;

/// What attention asks, and of which rows.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) q: &'a Buffer,
    pub(crate) sinks: &'a Tensor,
    /// Ids, counts and width of the picked rows; nothing where none are picked.
    pub(crate) picks: (Ptr, Ptr, u32),
    pub(crate) place: Place,
    pub(crate) at: Site,
}

impl Cuda {
    /// Each row's heads over what it sees.
    pub(super) fn attend_rows(
        &mut self,
        heads: &mut Buffer,
        q: &Buffer,
        sinks: &Tensor,
        seen: Seen<'_, Picks>,
        at: Site,
    ) -> Done {
        let n = self.plan.len();
        let picks = match seen {
            Seen::Picked(picks) => (picks.ids.ptr(), picks.counts.ptr(), picks.width as u32),
            Seen::Window | Seen::All => (Ptr::NULL, Ptr::NULL, 0),
        };
        let mut place = self.memory.place(at.layer);
        if matches!(seen, Seen::Window) {
            place.ratio = 0;
        }
        let asked = Asked {
            q,
            sinks,
            picks,
            place,
            at,
        };
        let packed = self.memory.geometry.format == RowFormat::Packed;
        if self.by_halves(n) && packed && ATTEND_SHARED <= self.device.shared() {
            let expanded = self.expanded.as_ref().filter(|expanded| expanded.some);
            if let Some(expanded) = expanded {
                self.attend_expanded(expanded, heads, asked)?;
                if expanded.takes_all() {
                    return Ok(());
                }
            }
            let bases = expanded.map_or(Ptr::NULL, Expanded::bases);
            return self.attend_tiles(heads.out(), asked, 1, (Ptr::NULL, Ptr::NULL), bases);
        }
        self.attend_parts(heads, asked, false)
    }

    /// Attention by tiles of rows: results to `out` or, where that is null, `parts` with their states
    /// and sums. Runs that have `bases` are done already.
    fn attend_tiles(
        &self,
        out: Ptr,
        asked: Asked<'_>,
        parts: u32,
        (states, sums): (Ptr, Ptr),
        bases: Ptr,
    ) -> Done {
        let count = self.shape.heads as u32;
        let (ids, counts, width) = asked.picks;
        self.device.launch(
            self.kernels.attend_tiles,
            [self.n(), count.div_ceil(64), parts],
            [256, 1],
            ATTEND_SHARED,
            &[
                &out,
                &asked.q.mem.ptr(),
                &self.work.rows.ptr(),
                &self.memory.args(),
                &asked.place,
                &count,
                &ids,
                &counts,
                &width,
                &self.is_draft(asked.at),
                &asked.sinks.plain(),
                &self.angles(asked.at),
                &states,
                &sums,
                &bases,
            ],
        )
    }

    /// Whether this layer is the draft block's, as kernels take it.
    pub(crate) fn is_draft(&self, at: Site) -> u32 {
        u32::from(at.layer == self.shape.layers())
    }

    /// Attention in parts, for few rows; the fresh rows join their rings if `commit`.
    pub(crate) fn attend_parts(&self, heads: &mut Buffer, asked: Asked<'_>, commit: bool) -> Done {
        let n = self.plan.len();
        let Asked { place, at, .. } = asked;
        let (ids, counts, width) = asked.picks;
        let compressed = self.compressed(width, place, at);
        // Two tiles of rows a part, while parts are not too many.
        let tiles = (self.shape.window + compressed).div_ceil(32);
        let parts = (PARTS / n.max(1)).min(tiles).clamp(1, 64) as u32;
        let count = self.shape.heads as u32;
        let (states, sums) = (self.work.parts.ptr(), self.work.sums.ptr());
        let rows = self.work.rows.ptr();
        let packed = self.memory.geometry.format == RowFormat::Packed;
        if packed && self.by_narrow(n) && ATTEND_SHARED <= self.device.shared() {
            self.attend_tiles(Ptr::NULL, asked, parts, (states, sums), Ptr::NULL)?;
        } else {
            self.device.launch(
                self.kernels.attend,
                [
                    n as u32,
                    self.shape.heads.div_ceil(BLOCK_HEADS) as u32,
                    parts,
                ],
                [256, 1],
                0,
                &[
                    &states,
                    &sums,
                    &asked.q.mem.ptr(),
                    &rows,
                    &self.memory.args(),
                    &place,
                    &count,
                    &ids,
                    &counts,
                    &width,
                    &self.is_draft(at),
                ],
            )?;
        }
        let commits = if commit { n as u32 } else { 0 };
        let out = heads.out();
        let (half, codes) = if commit {
            (heads.out_half(), heads.out_codes())
        } else {
            (Ptr::NULL, Ptr::NULL)
        };
        self.device.launch(
            self.kernels.attend_join,
            [n as u32 * count + commits, 1, 1],
            [ROW_THREADS, 1],
            0,
            &[
                &out,
                &states,
                &sums,
                &asked.sinks.plain(),
                &self.angles(at),
                &count,
                &parts,
                &(n as u32),
                &rows,
                &self.memory.args(),
                &place,
                &half,
                &codes,
            ],
        )
    }

    /// Compressed rows that rows of the plan see at most, of nearly the same length the same.
    fn compressed(&self, width: u32, place: Place, at: Site) -> usize {
        let rows = |row: &ds4_model::Row| at.ratio.rows(row.pos as usize + 1);
        match (width, place.ratio) {
            (0, 0) => 0,
            (0, _) => {
                let most = self.plan.rows().iter().map(rows).max().unwrap_or(0);
                most.next_power_of_two()
            }
            (width, _) => width as usize,
        }
    }

    /// Whether few rows attend by [`Self::attend_few`].
    pub(crate) fn attends_few(&self) -> bool {
        self.plan.len() <= ATTEND_FEW
            && self.device.cluster() > 1
            && self.memory.geometry.format == RowFormat::Packed
            && ATTEND_FEW_SHARED <= self.device.shared()
    }

    /// Attention of few rows that are a run each, from queries as the product gave them; the fresh
    /// rows join their rings.
    pub(crate) fn attend_few(
        &self,
        s: &mut Scratch<Buffer, Picks>,
        sinks: &Tensor,
        (ids, width): (Ptr, u32),
        place: Place,
        at: Site,
    ) -> Done {
        let (n, heads) = (self.n(), self.shape.heads as u32);
        let rows = self.shape.window + self.compressed(width, place, at);
        let most = (4 * self.device.cluster() / n).clamp(1, self.device.cluster());
        let parts = (rows.div_ceil(FEW_ROWS).next_power_of_two() as u32).min(1 << most.ilog2());
        let few = layout::AttendFew {
            out: s.heads.out(),
            half: s.heads.out_half(),
            codes: s.heads.out_codes(),
            q: s.q.mem.ptr(),
            rows: self.work.rows.ptr(),
            picks: ids,
            sinks: sinks.plain(),
            angles: self.angles(at),
            memory: self.memory.args(),
            at: place,
            heads,
            picks_width: width,
            draft: self.is_draft(at),
            epsilon: self.shape.norm_epsilon,
        };
        self.device.launch_clusters(
            self.kernels.attend_few,
            ([parts, heads.div_ceil(16), n], parts),
            [256, 1],
            ATTEND_FEW_SHARED,
            &[&few],
        )
    }
}
