//! Mixture of experts: tokens gathered by expert, each weight row read once for all its tokens.

use ds4_model::Shape;
use ds4_model::weights::Ffn;

use crate::dot::Activations;
use crate::hyper::sigmoid;
use crate::kernels::{Kernels, Local};
use crate::pool::Pool;
use crate::share::Shared;
use crate::tensor::Tensor;
use crate::tile::ROWS;

/// Which (token, place among its picks) pairs each expert serves. The shared expert is one more
/// expert, for all tokens.
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

/// Activations of the routed experts and of the shared one, whose weights may be in formats of
/// different forms.
#[derive(Debug, Default)]
pub(crate) struct Sides {
    routed: Activations,
    shared: Activations,
}

impl Sides {
    fn of(&self, is_shared: bool) -> &Activations {
        if is_shared {
            &self.shared
        } else {
            &self.routed
        }
    }
}

/// Everything the two phases need.
pub(crate) struct Work<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) kernels: &'a Kernels,
    pub(crate) groups: &'a Groups,
    pub(crate) shape: &'a Shape,
    pub(crate) routed: &'a Ffn<Tensor>,
    pub(crate) shared: &'a Ffn<Tensor>,
}

impl Work<'_> {
    /// The last expert is the shared one.
    fn is_shared(&self, expert: u32) -> bool {
        expert as usize == self.shape.experts
    }

    /// Whether an expert's products are tiles, for a step of `tokens` tokens: by the members it would
    /// have if all had the same number, so that no token depends on where others are sent.
    fn tiled(&self, e: u32, tokens: usize) -> bool {
        self.kernels.tiles(if self.is_shared(e) {
            tokens
        } else {
            tokens * self.shape.experts_used / self.shape.experts
        })
    }

    /// The weight and first row of an expert.
    fn weight<'t>(&self, e: u32, routed: &'t Tensor, shared: &'t Tensor) -> (&'t Tensor, usize) {
        if self.is_shared(e) {
            (shared, 0)
        } else {
            (routed, e as usize * routed.rows)
        }
    }

    /// First phase: `hidden = weight * silu(gate) * up` for every (token, expert) pair; `x` is `(n,
    /// E)`.
    pub(crate) fn gate_up(
        &self,
        hidden: &mut [f32],
        x: &[f32],
        sides: &mut Sides,
        locals: &mut [Local],
    ) {
        let (e, f) = (self.shape.hidden, self.shape.expert_width);
        let limit = self.shape.swiglu_limit;
        let rows_of_x = x.len() / e;
        let x_row = |row: usize| &x[row * e..(row + 1) * e];
        for (side, weight) in [
            (&mut sides.routed, &self.routed.gate),
            (&mut sides.shared, &self.shared.gate),
        ] {
            let partner = self.kernels.partner(weight.format);
            side.fill_on(self.pool, partner, e, rows_of_x, x_row);
        }
        let sides = &*sides;
        let per_expert = f.div_ceil(ROWS);
        let hidden = Shared::new(hidden);
        let locals = Shared::new(locals);
        self.pool
            .run(self.groups.busy.len() * per_expert, |worker, task| {
                // SAFETY: worker numbers are not shared by calls that run at the same time.
                let local = unsafe { &mut locals.part(worker..worker + 1)[0] };
                let expert = self.groups.busy[task / per_expert];
                let members = self.groups.members(expert);
                let token = |i: usize| members[i].0 as usize;
                let x = sides.of(self.is_shared(expert));
                let tiled = self.tiled(expert, rows_of_x);
                let (gate, at) = self.weight(expert, &self.routed.gate, &self.shared.gate);
                let (up, _) = self.weight(expert, &self.routed.up, &self.shared.up);
                let first = task % per_expert * ROWS;
                let rows = first..(first + ROWS).min(f);
                // Members of an expert stand together in the hidden buffer, in order.
                let place = |i: usize| {
                    let start = members[i].1 as usize * f;
                    // SAFETY: each (pair, row) belongs to one task.
                    unsafe { hidden.part(start + rows.start..start + rows.end) }
                };
                let at = at + rows.start..at + rows.end;
                let all = (members.len(), token);
                self.kernels
                    .strip(gate, at.clone(), local, x, all, tiled, |i, products| {
                        place(i).copy_from_slice(products);
                    });
                self.kernels
                    .strip(up, at, local, x, all, tiled, |i, products| {
                        for (h, up) in place(i).iter_mut().zip(products) {
                            *h = swiglu(*h, *up, limit) * members[i].2;
                        }
                    });
            });
    }

    /// Second phase: `y = sum of down(hidden)`, in order of experts, the shared one last.
    pub(crate) fn down(
        &self,
        y: &mut [f32],
        hidden: &[f32],
        sides: &mut Sides,
        locals: &mut [Local],
    ) {
        let (e, f) = (self.shape.hidden, self.shape.expert_width);
        let routed_rows = self.groups.starts[self.shape.experts] as usize;
        let (routed, shared) = hidden.split_at(routed_rows * f);
        let tokens = (y.len() / e) as u32;
        for (side, weight, hidden) in [
            (&mut sides.routed, &self.routed.down, routed),
            (&mut sides.shared, &self.shared.down, shared),
        ] {
            let partner = self.kernels.partner(weight.format);
            let row = |row: usize| &hidden[row * f..(row + 1) * f];
            side.fill_on(self.pool, partner, f, hidden.len() / f, row);
        }
        let sides = &*sides;
        let y = Shared::new(y);
        let locals = Shared::new(locals);
        self.pool.run(e.div_ceil(ROWS), |worker, task| {
            // SAFETY: worker numbers are not shared by calls that run at the same time.
            let local = unsafe { &mut locals.part(worker..worker + 1)[0] };
            let rows = task * ROWS..(task * ROWS + ROWS).min(e);
            let place = |token: u32| {
                let start = token as usize * e;
                // SAFETY: each row of the output belongs to one task.
                unsafe { y.part(start + rows.start..start + rows.end) }
            };
            for token in 0..tokens {
                place(token).fill(0.0);
            }
            for &expert in &self.groups.busy {
                let (down, at) = self.weight(expert, &self.routed.down, &self.shared.down);
                let members = self.groups.members(expert);
                let is_shared = self.is_shared(expert);
                let before = if is_shared { routed_rows } else { 0 };
                let all = (members.len(), |i: usize| members[i].1 as usize - before);
                let at = at + rows.start..at + rows.end;
                let h = sides.of(is_shared);
                let tiled = self.tiled(expert, tokens as usize);
                self.kernels
                    .strip(down, at, local, h, all, tiled, |i, products| {
                        for (y, more) in place(members[i].0).iter_mut().zip(products) {
                            *y += more;
                        }
                    });
            }
        });
    }
}

/// `silu(min(gate, limit)) * clamp(up, -limit, limit)`.
pub(crate) fn swiglu(gate: f32, up: f32, limit: f32) -> f32 {
    let gate = gate.min(limit);
    gate * sigmoid(gate) * up.clamp(-limit, limit)
}
