//! The indexer: which compressed rows every token attends to.

use ds4_model::{Site, Stream};

use crate::select::keep_best;
use crate::share::Shared;
use crate::{Buffer, Cpu, Picks};

impl Cpu {
    /// The best compressed rows of every token, all while they are few.
    pub(super) fn select_rows(
        &mut self,
        picks: &mut Picks,
        q: &Buffer,
        head_weights: &Buffer,
        at: Site,
    ) {
        let keep = self.shape.index_top_k.min(picks.width);
        let width = picks.width;
        let (ids, counts) = (Shared::new(&mut picks.ids), Shared::new(&mut picks.counts));
        let mut candidates = std::mem::take(&mut self.candidates);
        let lists = Shared::new(&mut candidates);
        let mut locals = std::mem::take(&mut self.locals);
        let rows_decoded = Shared::new(&mut locals);
        self.pool.run(self.plan.len(), |worker, row| {
            // SAFETY: worker numbers are not shared by calls that run at the same time.
            let list = unsafe { &mut lists.part(worker..worker + 1)[0] };
            // SAFETY: as above.
            let local = unsafe { &mut rows_decoded.part(worker..worker + 1)[0] };
            let key = local.floats(self.shape.index_width);
            let complete = at.ratio.rows(self.plan.rows()[row].pos as usize + 1);
            list.clear();
            if complete <= keep {
                list.extend((0..complete as u32).map(|id| (id, 0.0)));
            } else {
                self.score_rows(
                    row,
                    complete,
                    at,
                    (q.row(row), head_weights.row(row)),
                    key,
                    list,
                );
                keep_best(list, keep);
            }
            // SAFETY: each row belongs to one task.
            let out = unsafe { ids.part(row * width..row * width + list.len()) };
            out.iter_mut()
                .zip(&*list)
                .for_each(|(id, best)| *id = best.0);
            // SAFETY: as above.
            unsafe { counts.set(row, list.len() as u32) };
        });
        self.candidates = candidates;
        self.locals = locals;
    }

    /// Scores the first `complete` index rows for one token.
    fn score_rows(
        &self,
        row: usize,
        complete: usize,
        at: Site,
        (q, head_weights): (&[f32], &[f32]),
        key: &mut [f32],
        out: &mut Vec<(u32, f32)>,
    ) {
        let d = self.shape.index_width;
        let scale = 1.0 / ((d as f32).sqrt() * (self.shape.index_heads as f32).sqrt());
        let slot = self.plan.rows()[row].slot;
        for id in 0..complete {
            let place = self.memory.row_range(slot, at.layer, Stream::Index, id);
            self.codec.read_index(&self.memory.arena[place], key);
            let heads = q.chunks_exact(d).zip(head_weights);
            let score: f32 = heads
                .map(|(q, w)| self.kernels.floats(q, key).max(0.0) * w)
                .sum();
            out.push((id as u32, score * scale));
        }
    }
}
