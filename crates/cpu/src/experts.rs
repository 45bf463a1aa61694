//! Mixture of experts: tokens gathered by expert, each weight row read once for all its tokens.

use ds4_model::Shape;
use ds4_model::weights::Ffn;

use crate::hyper::sigmoid;
use crate::pool::Pool;
use crate::product::dot;
use crate::share::Shared;
use crate::tensor::Tensor;

/// Which (token, place among its picks) pairs each expert serves. The shared expert is one more expert, for all tokens.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// Start of each expert's members; one more entry than experts.
    starts: Vec<u32>,
    /// `(token, row of the hidden buffer, routing weight)`, expert after expert.
    members: Vec<(u32, u32, f32)>,
    /// Experts with members.
    busy: Vec<u32>,
    cursor: Vec<u32>,
}

impl Groups {
    /// Gathers `picks` = (token, expert, weight) in order of token.
    pub(crate) fn gather(
        &mut self,
        experts: usize,
        picks: impl Iterator<Item = (u32, u32, f32)> + Clone,
    ) {
        self.starts.clear();
        self.starts.resize(experts + 1, 0);
        for (_, expert, _) in picks.clone() {
            self.starts[expert as usize + 1] += 1;
        }
        for expert in 0..experts {
            self.starts[expert + 1] += self.starts[expert];
        }
        self.cursor.clear();
        self.cursor.extend_from_slice(&self.starts[..experts]);
        self.members.clear();
        self.members
            .resize(self.starts[experts] as usize, (0, 0, 0.0));
        for (token, expert, weight) in picks {
            let place = &mut self.cursor[expert as usize];
            // The place in the list is also the row of the hidden buffer.
            self.members[*place as usize] = (token, *place, weight);
            *place += 1;
        }
        let starts = &self.starts;
        self.busy.clear();
        self.busy
            .extend((0..experts as u32).filter(|&e| starts[e as usize] < starts[e as usize + 1]));
    }

    fn members(&self, expert: u32) -> &[(u32, u32, f32)] {
        &self.members
            [self.starts[expert as usize] as usize..self.starts[expert as usize + 1] as usize]
    }

    /// Rows of the hidden buffer in use.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }
}

/// Everything the two phases need.
pub(crate) struct Work<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) groups: &'a Groups,
    pub(crate) shape: &'a Shape,
    pub(crate) routed: &'a Ffn<Tensor>,
    pub(crate) shared: &'a Ffn<Tensor>,
    /// The experts' input, `(n, E)`.
    pub(crate) x: &'a [f32],
}

impl Work<'_> {
    /// The weight and first row of expert `e`; the last one is the shared expert.
    fn expert<'t>(&self, e: u32, routed: &'t Tensor, shared: &'t Tensor) -> (&'t Tensor, usize) {
        if e as usize == self.shape.experts {
            (shared, 0)
        } else {
            (routed, e as usize * routed.rows)
        }
    }

    /// First phase: `hidden = weight * silu(gate) * up` for every (token, expert) pair.
    pub(crate) fn gate_up(&self, hidden: &mut [f32], locals: &mut [Vec<f32>]) {
        let (e, f) = (self.shape.hidden, self.shape.expert_width);
        let limit = self.shape.swiglu_limit;
        let chunk = 32.min(f);
        let per_expert = f.div_ceil(chunk);
        let hidden = Shared::new(hidden);
        let locals = Shared::new(locals);
        self.pool
            .run(self.groups.busy.len() * per_expert, |worker, task| {
                // SAFETY: worker numbers are not shared by calls that run at the same time.
                let local = unsafe { &mut locals.part(worker..worker + 1)[0] };
                local.resize(2 * e, 0.0);
                let (gate_row, up_row) = local.split_at_mut(e);
                let expert = self.groups.busy[task / per_expert];
                let (gate, at) = self.expert(expert, &self.routed.gate, &self.shared.gate);
                let (up, _) = self.expert(expert, &self.routed.up, &self.shared.up);
                let first = task % per_expert * chunk;
                for row in first..(first + chunk).min(f) {
                    gate.decode_row(at + row, gate_row);
                    up.decode_row(at + row, up_row);
                    for &(token, place, weight) in self.groups.members(expert) {
                        let x = &self.x[token as usize * e..][..e];
                        let h = swiglu(dot(gate_row, x), dot(up_row, x), limit) * weight;
                        // SAFETY: each (pair, row) belongs to one task.
                        unsafe { hidden.set(place as usize * f + row, h) };
                    }
                }
            });
    }

    /// Second phase: `y = sum of down(hidden)`, in order of experts, the shared one last.
    pub(crate) fn down(&self, y: &mut [f32], hidden: &[f32], locals: &mut [Vec<f32>]) {
        let (e, f) = (self.shape.hidden, self.shape.expert_width);
        y.fill(0.0);
        let chunk = 16.min(e);
        let y = Shared::new(y);
        let locals = Shared::new(locals);
        self.pool.run(e.div_ceil(chunk), |worker, task| {
            // SAFETY: worker numbers are not shared by calls that run at the same time.
            let local = unsafe { &mut locals.part(worker..worker + 1)[0] };
            local.resize(f, 0.0);
            for row in task * chunk..(task * chunk + chunk).min(e) {
                for &expert in &self.groups.busy {
                    let (down, at) = self.expert(expert, &self.routed.down, &self.shared.down);
                    down.decode_row(at + row, local);
                    for &(token, place, _) in self.groups.members(expert) {
                        let more = dot(local, &hidden[place as usize * f..][..f]);
                        let at = token as usize * e + row;
                        // SAFETY: each row of the output belongs to one task.
                        let before = unsafe { y.get(at) };
                        // SAFETY: as above.
                        unsafe { y.set(at, before + more) };
                    }
                }
            }
        });
    }
}

/// `silu(min(gate, limit)) * clamp(up, -limit, limit)`.
pub(crate) fn swiglu(gate: f32, up: f32, limit: f32) -> f32 {
    let gate = gate.min(limit);
    gate * sigmoid(gate) * up.clamp(-limit, limit)
}
