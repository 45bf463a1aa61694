//! Attention of the rows of a step over windows and compressed rows.

use std::ops::Range;

use ds4_model::{Run, Seen, Site, Stream, rope};

use crate::attend::{Heads, TILE};
use crate::share::Shared;
use crate::{Buffer, Cpu, Picks, Tensor};

/// Bound of the per-head state kept on the stack; PRO has 128 heads.
const MAX_HEADS: usize = 256;

/// Heads that one task carries for a step of few tokens.
const GROUP: usize = 8;

/// What one token attends to, row by row: its window, oldest first, then compressed rows.
struct Sight<'a> {
    run: &'a Run,
    window: Range<u32>,
    compressed: Compressed<'a>,
    at: Site,
}

/// The compressed rows a token sees.
enum Compressed<'a> {
    /// The first so many.
    First(usize),
    /// These.
    Ids(&'a [u32]),
}

impl Sight<'_> {
    fn len(&self) -> usize {
        self.window.len()
            + match self.compressed {
                Compressed::First(count) => count,
                Compressed::Ids(ids) => ids.len(),
            }
    }
}

impl Cpu {
    /// All heads of every row over what that row sees.
    ///
    /// The rows are joined in tiles, so that a tile is decoded once for all heads. Which worker
    /// does what makes no difference to any head's sums.
    pub(super) fn attend_rows(
        &mut self,
        heads: &mut Buffer,
        q: &Buffer,
        sinks: &Tensor,
        seen: Seen<'_, Picks>,
        at: Site,
    ) {
        let d = self.shape.head_width;
        let width = heads.width;
        let out = Shared::new(&mut heads.data);
        let mut locals = std::mem::take(&mut self.locals);
        let mut decoded = std::mem::take(&mut self.seen);
        if self.plan.len() < self.pool.workers() && self.shape.heads.is_multiple_of(GROUP) {
            // Few tokens: all workers decode what one of them sees, and share out its heads.
            for row in 0..self.plan.len() {
                let sight = self.sight(row, seen, at);
                let decoded = &mut decoded[..sight.len() * d];
                let tiles = Shared::new(decoded);
                self.pool.run(sight.len().div_ceil(TILE), |_, task| {
                    let rows = task * TILE..(task * TILE + TILE).min(sight.len());
                    // SAFETY: each tile belongs to one task.
                    let tile = unsafe { tiles.part(rows.start * d..rows.end * d) };
                    self.decode(&sight, rows, tile);
                });
                self.pool.run(self.shape.heads / GROUP, |_, group| {
                    let these = group * GROUP..(group + 1) * GROUP;
                    let place = row * width + these.start * d..row * width + these.end * d;
                    // SAFETY: each group of heads belongs to one task.
                    let out = unsafe { out.part(place) };
                    let tiles = decoded.chunks(TILE * d);
                    self.attend_heads(row, these, at, (q, sinks), out, |heads| {
                        tiles.for_each(|tile| heads.join(tile));
                    });
                });
            }
        } else {
            let tiles = Shared::new(&mut locals);
            self.pool.run(self.plan.len(), |worker, row| {
                // SAFETY: worker numbers are not shared by calls that run at the same time.
                let local = unsafe { &mut tiles.part(worker..worker + 1)[0] };
                let tile = local.floats(TILE * d);
                // SAFETY: each row belongs to one task.
                let out = unsafe { out.part(row * width..(row + 1) * width) };
                let sight = self.sight(row, seen, at);
                self.attend_heads(row, 0..self.shape.heads, at, (q, sinks), out, |heads| {
                    for first in (0..sight.len()).step_by(TILE) {
                        let rows = first..(first + TILE).min(sight.len());
                        let tile = &mut tile[..rows.len() * d];
                        self.decode(&sight, rows, tile);
                        heads.join(tile);
                    }
                });
            });
        }
        self.locals = locals;
        self.seen = decoded;
    }

    /// Some heads of one row: `join` joins what the row sees.
    fn attend_heads(
        &self,
        row: usize,
        which: Range<usize>,
        at: Site,
        (q, sinks): (&Buffer, &Tensor),
        out: &mut [f32],
        join: impl FnOnce(&mut Heads<'_>),
    ) {
        let d = self.shape.head_width;
        let mut state = [(0.0, 0.0); MAX_HEADS];
        let mut heads = Heads {
            q: &q.row(row)[which.start * d..which.end * d],
            out,
            state: &mut state[..which.len()],
            d,
            simd: self.kernels.dots.simd(),
        };
        heads.begin(&sinks.floats()[which]);
        join(&mut heads);
        heads.finish();
        for head in out.chunks_exact_mut(d) {
            rope::unrotate(head, self.angles(at.rope(), row));
        }
    }

    /// What `row` attends to.
    fn sight<'a>(&'a self, row: usize, seen: Seen<'a, Picks>, at: Site) -> Sight<'a> {
        let token = self.plan.rows()[row];
        let run = self.plan.runs().iter().find(|run| run.rows.contains(&row));
        let mut first = (token.pos + 1).saturating_sub(self.shape.window as u32);
        if at.layer == self.shape.layers() {
            first = first.max(self.memory.slots[token.slot as usize].draft.start);
        }
        Sight {
            run: run.expect("every row is in a run"),
            window: first..token.pos + 1,
            compressed: match seen {
                Seen::Window => Compressed::First(0),
                Seen::All => Compressed::First(at.ratio.rows(token.pos as usize + 1)),
                Seen::Picked(picks) => Compressed::Ids(picks.ids(row)),
            },
            at,
        }
    }

    /// Decodes some of the rows that a token sees.
    fn decode(&self, sight: &Sight<'_>, rows: Range<usize>, out: &mut [f32]) {
        let d = self.shape.head_width;
        for (values, number) in out.chunks_exact_mut(d).zip(rows) {
            self.codec.read_latent(self.seen_row(sight, number), values);
        }
    }

    /// The bytes of one of the rows that a token sees.
    fn seen_row(&self, sight: &Sight<'_>, number: usize) -> &[u8] {
        let (run, layer) = (sight.run, sight.at.layer);
        let Some(id) = number.checked_sub(sight.window.len()) else {
            let pos = sight.window.start + number as u32;
            if pos < run.first {
                return &self.memory.rings[self.memory.ring_range(run.slot, layer, pos)];
            }
            let bytes = self.memory.geometry.latent_bytes;
            let fresh = run.rows.start + (pos - run.first) as usize;
            return &self.fresh[fresh * bytes..][..bytes];
        };
        let id = match sight.compressed {
            Compressed::First(_) => id,
            Compressed::Ids(ids) => ids[id] as usize,
        };
        let place = self.memory.row_range(run.slot, layer, Stream::Latent, id);
        &self.memory.arena[place]
    }
}
