//! The CPU backend with one operation done wrong.

#![allow(clippy::unwrap_used, reason = "for tests")]

use ds4_cpu::{Buffer, Cpu, Error};
use ds4_model::kv::PAGE_TOKENS;
use ds4_model::probe::{Call, Output, Probe, Probed};
use ds4_model::{Backend, Frequencies, Ops, Plan, Ratio, RopeTable, Seen, Shape, Site, rope};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slip {
    None,
    NoUnrope,
    SplitPairs,
    QueryTable,
    LatentTable,
    NoHeadNorm,
    WindowOnly,
    AllRows,
    NoCommit,
    LastRowHidden,
    IndexWeightsPositive,
    IndexNorm,
    EvenWeights,
    OneExpertLess,
    PostHalved,
    PoolsLost,
}

pub(crate) type Mistaken = Probed<Cpu, Slipping>;

/// The backend with a slip.
pub(crate) fn mistaken(inner: Cpu, slip: Slip) -> Mistaken {
    let shape = inner.shape().clone();
    let frequencies = Frequencies::new(&shape.rope, shape.rotary);
    let plan = Plan::new();
    Probed::new(
        inner,
        Slipping {
            slip,
            shape,
            plan,
            frequencies,
        },
    )
}

pub(crate) struct Slipping {
    slip: Slip,
    shape: Shape,
    plan: Plan,
    frequencies: Frequencies,
}

impl Slipping {
    fn angles(&self, table: RopeTable, row: usize) -> Vec<(f32, f32)> {
        let mut angles = vec![(1.0, 0.0); self.shape.rotary / 2];
        self.frequencies
            .angles(table, self.plan.rows()[row].pos, &mut angles);
        angles
    }

    fn values(&self, buffer: &Buffer) -> Vec<f32> {
        let rows = 0..self.plan.len();
        rows.flat_map(|row| buffer.row(row).to_vec()).collect()
    }

    /// Changes every stretch of `width` values of every row.
    fn each(
        &self,
        buffer: &mut Buffer,
        width: usize,
        mut change: impl FnMut(usize, usize, &mut [f32]),
    ) {
        let mut values = self.values(buffer);
        let parts = values.len() / self.plan.len() / width;
        for (number, part) in values.chunks_exact_mut(width).enumerate() {
            change(number / parts, number, part);
        }
        buffer.fill(&values);
    }

    /// What goes wrong with the operands. Some operations are left out.
    fn before(&self, call: &mut Call<'_, Cpu>) {
        match (self.slip, call) {
            (Slip::QueryTable, Call::QueryHeads { at, .. })
            | (Slip::LatentTable, Call::LatentKv { at, .. }) => *at = elsewhere(*at),
            (Slip::WindowOnly, Call::Attend { seen, .. }) => *seen = Seen::Window,
            (Slip::AllRows, Call::Attend { seen, .. }) if matches!(seen, Seen::Picked(_)) => {
                *seen = Seen::All;
            }
            (Slip::IndexNorm, Call::IndexHeads { q, .. }) => {
                self.each(q, self.shape.index_width, |_, _, head| {
                    let size = rms(head);
                    head.iter_mut().for_each(|v| *v /= size);
                });
            }
            _ => {}
        }
    }

    /// What goes wrong with results. `before` is what stood where they were written.
    fn after(&self, call: &mut Call<'_, Cpu>, before: &[f32]) {
        let (d, slip) = (self.shape.head_width, self.slip);
        match (slip, call) {
            (Slip::PostHalved, Call::HyperEnter { mix, .. }) => {
                let width = mix.row(0).len();
                self.each(mix, width, |_, _, mix| {
                    mix[..4].iter_mut().for_each(|post| *post /= 2.0);
                });
            }
            (Slip::NoHeadNorm, Call::QueryHeads { q, .. }) => {
                self.each(q, d, |_, number, head| {
                    let size = rms(&before[number * d..][..d]);
                    head.iter_mut().for_each(|v| *v *= size);
                });
            }
            (Slip::SplitPairs, Call::QueryHeads { q, at }) => self.each(q, d, |row, _, head| {
                let angles = self.angles(at.rope(), row);
                rope::unrotate(head, &angles);
                rotate_halves(head, &angles);
            }),
            (Slip::LastRowHidden, Call::IndexSelect { picks, .. }) => {
                for (row, token) in self.plan.rows().iter().enumerate() {
                    let own = (token.pos + 1) / 4;
                    let ends_window = (token.pos + 1) % 4 == 0;
                    let mut kept = picks.ids(row).to_vec();
                    kept.retain(|id| !ends_window || id + 1 != own);
                    let weights = vec![0.0; kept.len()];
                    picks.set(row, &kept, &weights);
                }
            }
            (Slip::NoUnrope, Call::Attend { heads, at, .. }) => {
                self.each(heads, d, |row, _, head| {
                    rope::rotate(head, &self.angles(at.rope(), row));
                });
            }
            (Slip::EvenWeights | Slip::OneExpertLess, Call::Route { picks, .. }) => {
                for row in 0..self.plan.len() {
                    let ids = picks.ids(row).to_vec();
                    let mut weights = picks.weights(row).to_vec();
                    if slip == Slip::OneExpertLess {
                        weights[0] = 0.0;
                    } else {
                        let even = weights.iter().sum::<f32>() / weights.len() as f32;
                        weights.fill(even);
                    }
                    picks.set(row, &ids, &weights);
                }
            }
            _ => {}
        }
    }
}

impl Probe<Cpu> for Slipping {
    fn begin(&mut self, cpu: &mut Cpu, plan: &Plan) -> Result<(), Error> {
        self.plan.clone_from(plan);
        let run = &plan.runs()[0];
        if self.slip == Slip::PoolsLost && run.first > 0 {
            // The rig hands out pages in order.
            let pages = run.end().div_ceil(PAGE_TOKENS as u32);
            cpu.clear_slot(run.slot)?;
            cpu.set_pages(run.slot, &(0..pages).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    fn operation(&mut self, cpu: &mut Cpu, call: &mut Call<'_, Cpu>) -> Result<(), Error> {
        if self.slip == Slip::NoCommit && matches!(call, Call::WindowCommit { .. }) {
            return Ok(());
        }
        if let (
            Slip::IndexWeightsPositive,
            Call::IndexSelect {
                picks,
                q,
                head_weights,
                at,
            },
        ) = (self.slip, &mut *call)
        {
            let mut weights = head_weights.clone();
            self.each(&mut weights, 1, |_, _, w| w[0] = w[0].abs());
            return cpu.index_select(picks, q, &weights, *at);
        }
        self.before(call);
        let before = match call.output() {
            Output::Rows(rows) => self.values(rows),
            _ => Vec::new(),
        };
        call.run(cpu)?;
        self.after(call, &before);
        Ok(())
    }
}

/// The other rotary table.
fn elsewhere(at: Site) -> Site {
    let ratio = match at.ratio {
        Ratio::None => Ratio::Four,
        Ratio::Four | Ratio::OneTwentyEight => Ratio::None,
    };
    Site { ratio, ..at }
}

fn rms(x: &[f32]) -> f32 {
    (x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32).sqrt()
}

/// The pairing of other models: channel k with channel k + half.
fn rotate_halves(head: &mut [f32], angles: &[(f32, f32)]) {
    let start = head.len() - 2 * angles.len();
    let (low, high) = head[start..].split_at_mut(angles.len());
    for ((a, b), (cos, sin)) in low.iter_mut().zip(high).zip(angles) {
        (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
    }
}
