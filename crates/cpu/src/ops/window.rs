//! Latent rows of the sliding window: fresh ones of this step, older ones in rings.

use ds4_model::{Site, rope};

use crate::share::Shared;
use crate::{Buffer, Cpu, Tensor, norm};

impl Cpu {
    /// Norm, rope and rounding of the latent rows of this step.
    pub(super) fn make_fresh_rows(&mut self, latent: &Buffer, norm_weight: &Tensor, at: Site) {
        if at.layer == self.shape.layers() {
            self.note_draft();
        }
        let weight = norm_weight.floats();
        let bytes = self.memory.geometry.latent_bytes;
        let mut fresh = std::mem::take(&mut self.fresh);
        let mut locals = std::mem::take(&mut self.locals);
        let (rows, values) = (Shared::new(&mut fresh), Shared::new(&mut locals));
        self.pool.run(self.plan.len(), |worker, row| {
            // SAFETY: worker numbers are not shared by calls that run at the same time.
            let local = unsafe { &mut values.part(worker..worker + 1)[0] };
            let values = local.floats(weight.len());
            norm::rms_norm(values, latent.row(row), weight, self.shape.norm_epsilon);
            rope::rotate(values, self.angles(at.rope(), row));
            // SAFETY: each row belongs to one task.
            let out = unsafe { rows.part(row * bytes..(row + 1) * bytes) };
            self.codec.write_latent(values, out);
        });
        self.locals = locals;
        self.fresh = fresh;
    }

    /// The fresh rows of a layer enter its ring, over rows that nobody needs any more.
    pub(super) fn commit_fresh_rows(&mut self, at: Site) {
        let bytes = self.memory.geometry.latent_bytes;
        let ring = self.memory.geometry.ring_rows;
        for run in self.plan.runs() {
            // Of a long run only the last rows stay.
            for row in run.rows.clone().skip(run.rows.len().saturating_sub(ring)) {
                let place = self
                    .memory
                    .ring_range(run.slot, at.layer, self.plan.rows()[row].pos);
                self.memory.rings[place].copy_from_slice(&self.fresh[row * bytes..][..bytes]);
            }
        }
    }

    /// Keeps track of which positions the draft block's ring holds.
    fn note_draft(&mut self) {
        for run in self.plan.runs() {
            let held = &mut self.memory.slots[run.slot as usize].draft;
            let joins = held.start <= run.first && run.first <= held.end;
            *held = if joins {
                held.start..run.end()
            } else {
                run.first..run.end()
            };
        }
    }
}
