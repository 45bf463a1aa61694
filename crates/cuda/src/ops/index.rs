//! The indexer: scores of compressed rows, and the best of them.

use ds4_model::Site;

use super::Done;
use crate::buffer::Halved;
use crate::kernels::SOME;
use crate::{Arithmetic, Buffer, Cuda, Picks};

/// Index rows that a block of `select.cu` or `score_tiles.cu` scores.
const SCORE_THREADS: usize = 128;

/// Index rows that a block of `score_many.cu` scores, for how many rows of the plan, and the shared
/// memory that it takes.
const MANY_KEYS: usize = 256;
const SCORED_TOGETHER: u32 = 64;
pub(crate) const SCORE_SHARED: u32 = 4 * (64 * 256 + 64 * 4);

impl Cuda {
    /// The best compressed rows of each row of the plan.
    pub(super) fn select_rows(
        &mut self,
        picks: &mut Picks,
        q: &Buffer,
        head_weights: &Buffer,
        at: Site,
    ) -> Done {
        let keep = self.shape.index_top_k.min(picks.width);
        let complete = |row: &ds4_model::Row| at.ratio.rows(row.pos as usize + 1);
        let most = self.plan.rows().iter().map(complete).max().unwrap_or(0);
        // Steps of nearly the same length look alike, so that one may be the replay of another.
        let bucket = most.next_power_of_two().max(1024);
        let most = if most > keep {
            bucket.min(128 * self.options.pages)
        } else {
            most
        };
        let width = most.max(1) as u32;
        // As many rows at a time as there is room for their scores.
        let at_once = (self.work.score_count / width as usize).min(self.plan.len().max(1));
        let heads = self.shape.index_heads as u32;
        let (rows, scores) = (self.work.rows.ptr(), self.work.scores.ptr());
        // Rows of one session share index rows; few rows are of many sessions.
        let many = self.plan.len() > SOME;
        let tokens: u32 = if many { SCORED_TOGETHER } else { 1 };
        let half = if self.options.arithmetic == Arithmetic::Half {
            Some(self.half(q, Halved::Plain)?)
        } else {
            None
        };
        for first in (0..self.plan.len()).step_by(at_once) {
            let count = at_once.min(self.plan.len() - first) as u32;
            let first = first as u32;
            let blocks = |keys: usize| match most > keep {
                true => most.div_ceil(keys) as u32,
                false => 0,
            };
            if let Some(half) = half {
                let (kernel, keys, shared) = match many {
                    true => (self.kernels.score_many, MANY_KEYS, SCORE_SHARED),
                    false => (self.kernels.score_tiles, SCORE_THREADS, 0),
                };
                self.device.launch(
                    kernel,
                    [blocks(keys), count.div_ceil(tokens), 1],
                    [2 * keys as u32, 1],
                    shared,
                    &[
                        &scores,
                        &half,
                        &head_weights.mem.ptr(),
                        &rows,
                        &self.memory.args(),
                        &self.memory.place(at.layer),
                        &first,
                        &count,
                        &heads,
                        &width,
                        &(keep as u32),
                        &tokens,
                    ],
                )?;
            } else {
                self.device.launch(
                    self.kernels.index_score,
                    [blocks(SCORE_THREADS), count, 1],
                    [SCORE_THREADS as u32, 1],
                    heads * self.shape.index_width as u32 * 4,
                    &[
                        &scores,
                        &q.mem.ptr(),
                        &head_weights.mem.ptr(),
                        &rows,
                        &self.memory.args(),
                        &self.memory.place(at.layer),
                        &first,
                        &heads,
                        &width,
                        &(keep as u32),
                    ],
                )?;
            }
            self.device.launch(
                self.kernels.index_top,
                [count, 1, 1],
                [1024, 1],
                0,
                &[
                    &picks.ids.ptr(),
                    &picks.counts.ptr(),
                    &scores,
                    &rows,
                    &first,
                    &width,
                    &(picks.width as u32),
                    &(keep as u32),
                ],
            )?;
        }
        Ok(())
    }
}
