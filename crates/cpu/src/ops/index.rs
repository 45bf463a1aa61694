//! The indexer: which compressed rows every token attends to.

use std::ops::Range;

use ds4_model::{Site, Stream};

use crate::kernels::Local;
use crate::select::keep_best;
use crate::share::Shared;
use crate::tile::ROWS;
use crate::{Buffer, Cpu, Picks};

/// Index rows that one task scores for a step of few tokens.
const STRETCH: usize = 32 * ROWS;

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
        let complete = |row: usize| at.ratio.rows(self.plan.rows()[row].pos as usize + 1);
        let (ids, counts) = (Shared::new(&mut picks.ids), Shared::new(&mut picks.counts));
        let choose = |row: usize, scores: &[f32], list: &mut Vec<(u32, f32)>| {
            list.clear();
            list.extend((0..complete(row) as u32).map(|id| (id, 0.0)));
            for (scored, score) in list.iter_mut().zip(scores) {
                scored.1 = *score;
            }
            keep_best(list, keep);
            // SAFETY: each row belongs to one task.
            let out = unsafe { ids.part(row * width..row * width + list.len()) };
            out.iter_mut()
                .zip(&*list)
                .for_each(|(id, best)| *id = best.0);
            // SAFETY: as above.
            unsafe { counts.set(row, list.len() as u32) };
        };
        let query = |row: usize| (q.row(row), head_weights.row(row));
        let mut candidates = std::mem::take(&mut self.candidates);
        let mut scores = std::mem::take(&mut self.scores);
        let mut locals = std::mem::take(&mut self.locals);
        let lists = Shared::new(&mut candidates);
        let work = Shared::new(&mut locals);
        if self.plan.len() < self.pool.workers() {
            // Few tokens: all workers score for one of them after the other.
            for row in 0..self.plan.len() {
                let count = if complete(row) > keep {
                    complete(row)
                } else {
                    0
                };
                let scores = &mut scores[0][..];
                let all = Shared::new(&mut scores[..count]);
                self.pool.run(count.div_ceil(STRETCH), |worker, task| {
                    let rows = task * STRETCH..(task * STRETCH + STRETCH).min(count);
                    // SAFETY: worker numbers are not shared by calls that run at the same time.
                    let local = unsafe { &mut work.part(worker..worker + 1)[0] };
                    // SAFETY: each stretch belongs to one task.
                    let out = unsafe { all.part(rows.clone()) };
                    self.score_rows(row, rows, at, query(row), local, out);
                });
                // SAFETY: no task runs now.
                let list = unsafe { &mut lists.part(0..1)[0] };
                choose(row, &scores[..count], list);
            }
        } else {
            let scores = Shared::new(&mut scores);
            self.pool.run(self.plan.len(), |worker, row| {
                // SAFETY: worker numbers are not shared by calls that run at the same time.
                let list = unsafe { &mut lists.part(worker..worker + 1)[0] };
                // SAFETY: as above.
                let local = unsafe { &mut work.part(worker..worker + 1)[0] };
                // SAFETY: as above.
                let scores = unsafe { &mut scores.part(worker..worker + 1)[0] };
                let count = if complete(row) > keep {
                    complete(row)
                } else {
                    0
                };
                self.score_rows(row, 0..count, at, query(row), local, &mut scores[..count]);
                choose(row, &scores[..count], list);
            });
        }
        self.candidates = candidates;
        self.scores = scores;
        self.locals = locals;
    }

    /// Scores the index rows `rows` for one token.
    fn score_rows(
        &self,
        row: usize,
        rows: Range<usize>,
        at: Site,
        (q, head_weights): (&[f32], &[f32]),
        local: &mut Local,
        out: &mut [f32],
    ) {
        let d = self.shape.index_width;
        let scale = 1.0 / ((d as f32).sqrt() * (self.shape.index_heads as f32).sqrt());
        let slot = self.plan.rows()[row].slot;
        let keys = local.floats(ROWS * d);
        for (out, first) in out.chunks_mut(ROWS).zip(rows.step_by(ROWS)) {
            let keys = &mut keys[..out.len() * d];
            for (key, id) in keys.chunks_exact_mut(d).zip(first..) {
                let place = self.memory.row_range(slot, at.layer, Stream::Index, id);
                self.codec.read_index(&self.memory.arena[place], key);
            }
            out.fill(0.0);
            let heads = |head: usize| &q[head * d..][..d];
            let all = (self.shape.index_heads, heads);
            self.kernels.float_strip(keys, d, all, |head, products| {
                for (score, product) in out.iter_mut().zip(products) {
                    *score += product.max(0.0) * head_weights[head];
                }
            });
            out.iter_mut().for_each(|score| *score *= scale);
        }
    }
}
