//! What every backend refuses alike: plans and pages it has no room for. All of it is misuse by the engine.

use thiserror::Error;

use crate::kv::PAGE_TOKENS;
use crate::plan::Plan;

/// A step or a piece of memory that does not fit.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Misuse {
    /// A plan with more rows than buffers were made for.
    #[error(
        "a step of {rows} rows, {outputs} with logits; there is room for {max_rows} and {max_outputs}"
    )]
    PlanTooLarge {
        /// Rows of the plan.
        rows: usize,
        /// Rows that want logits.
        outputs: usize,
        /// Rows there is room for.
        max_rows: usize,
        /// Rows with logits there is room for.
        max_outputs: usize,
    },
    /// A slot that does not exist.
    #[error("slot {slot} of {slots}")]
    Slot {
        /// The slot.
        slot: u32,
        /// How many there are.
        slots: usize,
    },
    /// A page that does not exist.
    #[error("page {page} of {pages}")]
    Page {
        /// The page.
        page: u32,
        /// How many there are.
        pages: usize,
    },
    /// A run that goes beyond its slot's pages.
    #[error("slot {slot} has pages for {have} tokens and was to compute up to token {need}")]
    NoPages {
        /// The slot.
        slot: u32,
        /// Tokens its pages hold.
        have: usize,
        /// Tokens the plan needs.
        need: usize,
    },
    /// A token outside of the vocabulary.
    #[error("token {token} in a vocabulary of {vocab}")]
    Token {
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// Bytes of a page or frontier of another size than this model's.
    #[error("a {what} of {found} bytes where this model's has {expected}")]
    Size {
        /// Page or frontier.
        what: &'static str,
        /// Bytes given.
        found: usize,
        /// Bytes of this model's.
        expected: usize,
    },
}

impl Misuse {
    /// The slot as an index, if there is one of this number among `slots`.
    pub fn slot(slot: u32, slots: usize) -> Result<usize, Self> {
        if (slot as usize) < slots {
            Ok(slot as usize)
        } else {
            Err(Self::Slot { slot, slots })
        }
    }

    /// The page as an index, if there is one of this number among `pages`.
    pub fn page(page: u32, pages: usize) -> Result<usize, Self> {
        if (page as usize) < pages {
            Ok(page as usize)
        } else {
            Err(Self::Page { page, pages })
        }
    }

    /// Refuses bytes of another size than this model's.
    pub fn size(what: &'static str, found: usize, expected: usize) -> Result<(), Self> {
        if found == expected {
            Ok(())
        } else {
            Err(Self::Size {
                what,
                found,
                expected,
            })
        }
    }

    /// Refuses a plan that buffers of (rows, rows with logits), pages or vocabulary have no room
    /// for; `pages` tells how many pages a slot has.
    pub fn plan(
        plan: &Plan,
        (max_rows, max_outputs): (usize, usize),
        vocab: usize,
        pages: impl Fn(u32) -> Result<usize, Self>,
    ) -> Result<(), Self> {
        let (rows, outputs) = (plan.len(), plan.outputs().len());
        if rows > max_rows || outputs > max_outputs {
            return Err(Self::PlanTooLarge {
                rows,
                outputs,
                max_rows,
                max_outputs,
            });
        }
        for run in plan.runs() {
            let have = pages(run.slot)? * PAGE_TOKENS;
            let need = run.end() as usize;
            if need > have {
                return Err(Self::NoPages {
                    slot: run.slot,
                    have,
                    need,
                });
            }
        }
        match plan.rows().iter().find(|row| row.token as usize >= vocab) {
            Some(row) => Err(Self::Token {
                token: row.token,
                vocab,
            }),
            None => Ok(()),
        }
    }
}
