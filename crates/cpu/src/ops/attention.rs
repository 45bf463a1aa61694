//! Attention of the rows of a step over windows and compressed rows.

use ds4_model::{Seen, Site, Stream, rope};

use crate::attend::{Heads, TILE};
use crate::share::Shared;
use crate::{Buffer, Cpu, Picks, Tensor};

/// Bound of the per-head state kept on the stack; PRO has 128 heads.
const MAX_HEADS: usize = 256;

impl Cpu {
    /// All heads of every row over what that row sees.
    pub(super) fn attend_rows(
        &mut self,
        heads: &mut Buffer,
        q: &Buffer,
        sinks: &Tensor,
        seen: Seen<'_, Picks>,
        at: Site,
    ) {
        let (d, h) = (self.shape.head_width, self.shape.heads);
        let sinks = sinks.floats();
        let width = heads.width;
        let out = Shared::new(&mut heads.data);
        let mut locals = std::mem::take(&mut self.locals);
        let tiles = Shared::new(&mut locals);
        self.pool.run(self.plan.len(), |worker, row| {
            // SAFETY: worker numbers are not shared by calls that run at the same time.
            let local = unsafe { &mut tiles.part(worker..worker + 1)[0] };
            let tile = local.floats(TILE * d);
            // SAFETY: each row belongs to one task.
            let out = unsafe { out.part(row * width..(row + 1) * width) };
            let mut state = [(0.0, 0.0); MAX_HEADS];
            let mut heads = Heads {
                q: q.row(row),
                out,
                state: &mut state[..h],
                d,
                simd: self.kernels.dots.simd(),
            };
            heads.begin(sinks);
            let mut filled = 0;
            self.each_seen_row(row, &seen, at, |bytes| {
                self.codec.read_latent(bytes, &mut tile[filled * d..][..d]);
                filled += 1;
                if filled == TILE {
                    heads.join(tile);
                    filled = 0;
                }
            });
            heads.join(&tile[..filled * d]);
            heads.finish();
            for head in out.chunks_exact_mut(d) {
                rope::unrotate(head, self.angles(at.rope(), row));
            }
        });
        self.locals = locals;
    }

    /// Calls `read` with the bytes of every latent row that `row` attends to: window first, then compressed rows.
    fn each_seen_row(
        &self,
        row: usize,
        seen: &Seen<'_, Picks>,
        at: Site,
        mut read: impl FnMut(&[u8]),
    ) {
        let token = self.plan.rows()[row];
        let run = self.plan.runs().iter().find(|run| run.rows.contains(&row));
        let run = run.expect("every row is in a run");
        let bytes = self.memory.geometry.latent_bytes;
        let mut first = (token.pos + 1).saturating_sub(self.shape.window as u32);
        if at.layer == self.shape.layers() {
            first = first.max(self.memory.slots[token.slot as usize].draft.start);
        }
        for pos in first..=token.pos {
            if pos >= run.first {
                let fresh = run.rows.start + (pos - run.first) as usize;
                read(&self.fresh[fresh * bytes..][..bytes]);
            } else {
                read(&self.memory.rings[self.memory.ring_range(token.slot, at.layer, pos)]);
            }
        }
        let mut compressed = |id: usize| {
            let place = self
                .memory
                .row_range(token.slot, at.layer, Stream::Latent, id);
            read(&self.memory.arena[place]);
        };
        match seen {
            Seen::Window => {}
            Seen::All => (0..at.ratio.rows(token.pos as usize + 1)).for_each(compressed),
            Seen::Picked(picks) => {
                picks
                    .ids(row)
                    .iter()
                    .for_each(|id| compressed(*id as usize));
            }
        }
    }
}
