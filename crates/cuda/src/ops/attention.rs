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
        let (ids, counts, width) = match seen {
            Seen::Picked(picks) => (picks.ids.ptr(), picks.counts.ptr(), picks.width as u32),
            Seen::Window | Seen::All => (Ptr::NULL, Ptr::NULL, 0),
        };
        let mut place = self.memory.place(at.layer);
        if matches!(seen, Seen::Window) {
            place.ratio = 0;
        }
        let count = self.shape.heads as u32;
        let packed = self.memory.geometry.format == RowFormat::Packed;
        if self.by_halves(n) && packed && ATTEND_SHARED <= self.device.shared() {
            let expanded = self.expanded.as_ref().filter(|expanded| expanded.some);
            if let Some(expanded) = expanded {
                let picks = (ids, counts, width);
                self.attend_expanded(expanded, heads, q, sinks, picks, place, at)?;
                if expanded.takes_all() {
                    return Ok(());
                }
            }
            return self.device.launch(
                self.kernels.attend_tiles,
                [n as u32, count.div_ceil(64), 1],
                [256, 1],
                ATTEND_SHARED,
                &[
                    &heads.out(),
                    &q.mem.ptr(),
                    &self.work.rows.ptr(),
                    &self.memory.args(),
                    &place,
                    &count,
                    &ids,
                    &counts,
                    &width,
                    &u32::from(at.layer == self.shape.layers()),
                    &sinks.plain(),
                    &self.angles(at),
                    &Ptr::NULL,
                    &Ptr::NULL,
                    &expanded.map_or(Ptr::NULL, Expanded::bases),
                ],
            );
        }
        self.attend_parts(heads, q, sinks, (ids, counts, width), place, at, false)
    }

    /// Attention in parts, for few rows; the fresh rows join their rings if `commit`.
    #[allow(
        clippy::too_many_arguments,
        reason = "what attention needs, as the operation has it"
    )]
    pub(crate) fn attend_parts(
        &self,
        heads: &mut Buffer,
        q: &Buffer,
        sinks: &Tensor,
        (ids, counts, width): (Ptr, Ptr, u32),
        place: Place,
        at: Site,
        commit: bool,
    ) -> Done {
        let n = self.plan.len();
        let compressed = self.compressed(width, place, at);
        // Two tiles of rows a part, while parts are not too many.
        let tiles = (self.shape.window + compressed).div_ceil(32);
        let parts = (PARTS / n.max(1)).min(tiles).clamp(1, 64) as u32;
        let count = self.shape.heads as u32;
        let (states, sums) = (self.work.parts.ptr(), self.work.sums.ptr());
        let rows = self.work.rows.ptr();
        let draft = u32::from(at.layer == self.shape.layers());
        let packed = self.memory.geometry.format == RowFormat::Packed;
        if packed && self.by_narrow(n) && ATTEND_SHARED <= self.device.shared() {
            self.device.launch(
                self.kernels.attend_tiles,
                [n as u32, count.div_ceil(64), parts],
                [256, 1],
                ATTEND_SHARED,
                &[
                    &Ptr::NULL,
                    &q.mem.ptr(),
                    &rows,
                    &self.memory.args(),
                    &place,
                    &count,
                    &ids,
                    &counts,
                    &width,
                    &draft,
                    &sinks.plain(),
                    &self.angles(at),
                    &states,
                    &sums,
                    &Ptr::NULL,
                ],
            )?;
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
                    &q.mem.ptr(),
                    &rows,
                    &self.memory.args(),
                    &place,
                    &count,
                    &ids,
                    &counts,
                    &width,
                    &draft,
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
                &sinks.plain(),
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
            draft: u32::from(at.layer == self.shape.layers()),
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
