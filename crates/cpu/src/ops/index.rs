//! The indexer: which compressed rows every token attends to.

use std::ops::Range;

use ds4_model::{RowFormat, Site, Stream};

use crate::dot::Q8;
use crate::index::codes;
use crate::kernels::Local;
use crate::select::keep_best;
use crate::share::Shared;
use crate::tile::ROWS;
use crate::{Buffer, Cpu, Picks};

/// A query of the indexer.
#[derive(Clone, Copy)]
struct Query<'a> {
    /// The row of the plan.
    row: usize,
    heads: &'a [f32],
    /// The same as integers, where index rows meet them so.
    codes: Option<&'a [Q8]>,
    weights: &'a [f32],
    at: Site,
}

impl<'a> Query<'a> {
    /// With its integers, in `room`, if they are wanted.
    fn coded(self, wanted: bool, room: &'a mut Vec<Q8>) -> Self {
        if !wanted {
            return self;
        }
        codes(self.heads, room);
        let codes = Some(&room[..]);
        Self { codes, ..self }
    }
}

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
        // How many rows have to be scored: none while all are kept.
        let scored = |row: usize| Some(complete(row)).filter(|&c| c > keep).unwrap_or(0);
        let as_codes = self.memory.geometry.format == RowFormat::Packed
            && self.kernels.index_codes(self.shape.index_width);
        let of_row = |row: usize| Query {
            row,
            heads: q.row(row),
            codes: None,
            weights: head_weights.row(row),
            at,
        };
        let mut candidates = std::mem::take(&mut self.candidates);
        let mut scores = std::mem::take(&mut self.scores);
        let mut queries = std::mem::take(&mut self.queries);
        let mut locals = std::mem::take(&mut self.locals);
        let lists = Shared::new(&mut candidates);
        let work = Shared::new(&mut locals);
        if self.plan.len() < self.pool.workers() {
            // Few tokens: all workers score for one of them after the other.
            for row in 0..self.plan.len() {
                let count = scored(row);
                let scores = &mut scores[0][..];
                let query = of_row(row).coded(as_codes && count > 0, &mut queries[0]);
                let all = Shared::new(&mut scores[..count]);
                self.pool.run(count.div_ceil(STRETCH), |worker, task| {
                    let rows = task * STRETCH..(task * STRETCH + STRETCH).min(count);
                    // SAFETY: worker numbers are not shared by calls that run at the same time.
                    let local = unsafe { &mut work.part(worker..worker + 1)[0] };
                    // SAFETY: each stretch belongs to one task.
                    let out = unsafe { all.part(rows.clone()) };
                    self.score_rows(query, rows, local, out);
                });
                // SAFETY: no task runs now.
                let list = unsafe { &mut lists.part(0..1)[0] };
                choose(row, &scores[..count], list);
            }
        } else {
            let scores = Shared::new(&mut scores);
            let queries = Shared::new(&mut queries);
            self.pool.run(self.plan.len(), |worker, row| {
                // SAFETY: worker numbers are not shared by calls that run at the same time.
                let list = unsafe { &mut lists.part(worker..worker + 1)[0] };
                // SAFETY: as above.
                let local = unsafe { &mut work.part(worker..worker + 1)[0] };
                // SAFETY: as above.
                let scores = unsafe { &mut scores.part(worker..worker + 1)[0] };
                // SAFETY: as above.
                let room = unsafe { &mut queries.part(worker..worker + 1)[0] };
                let count = scored(row);
                let query = of_row(row).coded(as_codes && count > 0, room);
                self.score_rows(query, 0..count, local, &mut scores[..count]);
                choose(row, &scores[..count], list);
            });
        }
        self.candidates = candidates;
        self.scores = scores;
        self.queries = queries;
        self.locals = locals;
    }

    /// Scores the index rows `rows` for one token.
    fn score_rows(&self, query: Query<'_>, rows: Range<usize>, local: &mut Local, out: &mut [f32]) {
        let (d, heads) = (self.shape.index_width, self.shape.index_heads);
        let scale = 1.0 / ((d as f32).sqrt() * (heads as f32).sqrt());
        let slot = self.plan.rows()[query.row].slot;
        let row = |id: usize| {
            let place = self
                .memory
                .row_range(slot, query.at.layer, Stream::Index, id);
            &self.memory.arena[place]
        };
        for (out, first) in out.chunks_mut(ROWS).zip(rows.step_by(ROWS)) {
            let len = out.len();
            out.fill(0.0);
            let add = |head: usize, products: &[f32]| {
                for (score, product) in out.iter_mut().zip(products) {
                    *score += product.max(0.0) * query.weights[head];
                }
            };
            if let Some(codes) = query.codes {
                let strip = (len, |i: usize| row(first + i));
                self.kernels.index_strip(local, strip, codes, add);
            } else {
                let keys = local.floats(len * d);
                for (key, id) in keys.chunks_exact_mut(d).zip(first..) {
                    self.codec.read_index(row(id), key);
                }
                let all = (heads, |head: usize| &query.heads[head * d..][..d]);
                self.kernels.float_strip(keys, d, all, add);
            }
            out.iter_mut().for_each(|score| *score *= scale);
        }
    }
}
