//! The mixture of experts: which experts each row goes to, and what they make of it.

use ds4_model::weights::{Ffn, Router};

use crate::experts::Work;
use crate::route::{Choice, choose};
use crate::{Buffer, Cpu, Picks, Tensor};

impl Cpu {
    /// Every row's experts and their weights.
    pub(super) fn choose_experts(
        &mut self,
        picks: &mut Picks,
        logits: &Buffer,
        router: &Router<Tensor>,
    ) {
        let k = picks.width;
        let candidates = &mut self.candidates[0];
        for (number, row) in self.plan.rows().iter().enumerate() {
            let ids = &mut picks.ids[number * k..][..k];
            let weights = &mut picks.weights[number * k..][..k];
            let choice = match router {
                Router::Hash(table) => Choice::Fixed(table.ids(row.token as usize)),
                Router::TopK(bias) => Choice::Biased(bias.floats()),
            };
            choose(
                logits.row(number),
                choice,
                &self.shape,
                candidates,
                ids,
                weights,
            );
            picks.counts[number] = k as u32;
        }
    }

    /// The shared expert and the chosen ones.
    pub(super) fn run_experts(
        &mut self,
        y: &mut Buffer,
        x: &Buffer,
        picks: &Picks,
        routed: &Ffn<Tensor>,
        shared: &Ffn<Tensor>,
    ) {
        let n = self.plan.len();
        let always = self.shape.experts as u32;
        let pairs = (0..n).flat_map(|row| {
            let chosen = picks.ids(row).iter().zip(picks.weights(row));
            let chosen = chosen.map(move |(id, weight)| (row as u32, *id, *weight));
            chosen.chain([(row as u32, always, 1.0)])
        });
        self.groups.gather(self.shape.experts + 1, pairs);
        let rows = self.groups.len() * self.shape.expert_width;
        if self.hidden.len() < rows {
            self.hidden.resize(rows, 0.0);
        }
        let work = Work {
            pool: &self.pool,
            kernels: &self.kernels,
            groups: &self.groups,
            shape: &self.shape,
            routed,
            shared,
        };
        let (hidden, x) = (&mut self.hidden[..rows], &x.data[..n * x.width]);
        work.gate_up(hidden, x, &mut self.sides, &mut self.locals);
        work.down(
            &mut y.data[..x.len()],
            hidden,
            &mut self.sides,
            &mut self.locals,
        );
    }
}
