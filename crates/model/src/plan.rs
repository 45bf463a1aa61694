//! The rows of one step.
//!
//! A row is one token of one session: its slot, its position, its id. A plan may hold a prefill chunk, decode rows of
//! many sessions, or both; the forward pass is the same code with other row counts. Rows of one slot stand together, in
//! order of position: such a stretch is a [`Run`].

use std::ops::Range;

use thiserror::Error;

/// One token of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which session's memory.
    pub slot: u32,
    /// Position in that session, from 0.
    pub pos: u32,
    /// Token id.
    pub token: u32,
}

/// Consecutive positions of one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The slot.
    pub slot: u32,
    /// Position of the first row.
    pub first: u32,
    /// Its rows in the plan.
    pub rows: Range<usize>,
}

impl Run {
    /// Position after the last row.
    pub fn end(&self) -> u32 {
        self.first + self.rows.len() as u32
    }
}

/// Why a plan was refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// A slot was named in two runs.
    #[error("slot {slot} has two runs in one plan; its rows must stand together")]
    SlotTwice {
        /// The slot.
        slot: u32,
    },
    /// A run without rows.
    #[error("an empty run for slot {slot}")]
    Empty {
        /// The slot.
        slot: u32,
    },
}

/// The rows of one step, and which of them want logits.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    rows: Vec<Row>,
    runs: Vec<Run>,
    outputs: Vec<u32>,
}

impl Clone for Plan {
    fn clone(&self) -> Self {
        let mut plan = Self::new();
        plan.clone_from(self);
        plan
    }

    /// Keeps the memory, unlike a derived one: a backend takes a plan every step and must not
    /// allocate.
    fn clone_from(&mut self, plan: &Self) {
        self.rows.clone_from(&plan.rows);
        self.runs.clone_from(&plan.runs);
        self.outputs.clone_from(&plan.outputs);
    }
}

/// Which rows of a run want logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// None: an inner slice of a prefill.
    None,
    /// The last row: decode, or the end of a prompt.
    Last,
    /// Every row: verification of drafts, perplexity.
    All,
}

impl Plan {
    /// A plan without rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.runs.clear();
        self.outputs.clear();
    }

    /// Adds `tokens` of `slot` from position `first` on.
    pub fn push(
        &mut self,
        slot: u32,
        first: u32,
        tokens: &[u32],
        outputs: Outputs,
    ) -> Result<(), PlanError> {
        if tokens.is_empty() {
            return Err(PlanError::Empty { slot });
        }
        if self.runs.iter().any(|run| run.slot == slot) {
            return Err(PlanError::SlotTwice { slot });
        }
        let start = self.rows.len();
        self.rows.extend(
            tokens
                .iter()
                .zip(first..)
                .map(|(&token, pos)| Row { slot, pos, token }),
        );
        let rows = start..self.rows.len();
        match outputs {
            Outputs::None => {}
            Outputs::Last => self.outputs.push(rows.end as u32 - 1),
            Outputs::All => self.outputs.extend(rows.clone().map(|row| row as u32)),
        }
        self.runs.push(Run { slot, first, rows });
        Ok(())
    }

    /// All rows, run after run.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The runs, in order of their rows.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Rows whose logits are wanted, ascending.
    pub fn outputs(&self) -> &[u32] {
        &self.outputs
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Has the plan no rows?
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{Outputs, Plan, PlanError};

    #[test]
    fn runs_outputs_and_positions_line_up() {
        let mut plan = Plan::new();
        plan.push(3, 10, &[7, 8, 9], Outputs::Last).unwrap();
        plan.push(0, 0, &[1], Outputs::All).unwrap();
        assert_eq!(plan.outputs(), [2, 3]);
        assert_eq!(plan.rows()[2].pos, 12);
        assert_eq!(plan.runs()[1].rows, 3..4);
        assert_eq!(
            plan.push(3, 0, &[1], Outputs::None),
            Err(PlanError::SlotTwice { slot: 3 })
        );
        assert_eq!(
            plan.push(4, 0, &[], Outputs::None),
            Err(PlanError::Empty { slot: 4 })
        );
    }
}
