//! What the engine knows of one session: its tokens, and how much of them the model has seen.
//!
//! `tokens[..computed]` are in memory: their rows in the pages of `table`, the rest of the state in
//! a slot, or, when the session is not seated, in the frontier kept at `computed`.
//! `tokens[computed..]` wait to be computed: a whole prompt during prefill, one token during
//! decoding. There is no other difference between the two.

use ds4_store::{Buffer, Chain, Scope};

use crate::engine::Rewind;
use crate::frontier::{Frontiers, Reason};
use crate::machine::{Machine, MachineError};
use crate::pages::{Pages, Promise, Table};
use crate::prefixes::Start;

use crate::error::EngineError;

#[derive(Debug)]
pub(crate) struct Timeline {
    tokens: Vec<u32>,
    computed: u32,
    table: Table,
    frontiers: Frontiers,
    slot: Option<u32>,
    /// Names of its pages, if sessions to come may have them.
    chain: Option<Chain>,
}

/// What others may go on from: names, tokens, pages and frontier.
type Publication<'t> = (&'t mut Chain, &'t [u32], &'t [u32], Buffer);

impl Timeline {
    /// An empty one. With a chain it is shared: others see what it computes.
    pub(crate) fn new(most_frontiers: usize, chain: Option<Chain>) -> Self {
        Self {
            chain,
            tokens: Vec::new(),
            computed: 0,
            table: Table::default(),
            frontiers: Frontiers::new(most_frontiers),
            slot: None,
        }
    }

    /// A timeline read from a snapshot: all of it computed, with a frontier at its end.
    pub(crate) fn restored(
        tokens: Vec<u32>,
        table: Table,
        frontier: Vec<u8>,
        most_frontiers: usize,
    ) -> Self {
        let computed = tokens.len() as u32;
        let mut frontiers = Frontiers::new(most_frontiers);
        if computed > 0 {
            frontiers.push(computed, Reason::Cut, frontier.into());
        }
        Self {
            tokens,
            computed,
            table,
            frontiers,
            slot: None,
            chain: None,
        }
    }

    /// Goes on from a place on the path of `tokens` that another session computed. What was here is
    /// forgotten.
    pub(crate) fn start_at(&mut self, start: Start, tokens: &[u32], pages: &mut Pages) {
        self.tokens.clear();
        self.cut_back(0, pages);
        self.frontiers.truncate(0);
        self.slot = None;
        self.tokens.extend_from_slice(&tokens[..start.at as usize]);
        self.computed = start.at;
        self.table = start.table;
        self.frontiers.push(start.at, Reason::Cut, start.frontier);
    }

    /// Whose prefixes it shares, if it shares.
    pub(crate) fn scope(&self) -> Option<&Scope> {
        self.chain.as_ref().map(Chain::scope)
    }

    /// What others may go on from, where it stands now.
    pub(crate) fn publication(&mut self) -> Option<Publication<'_>> {
        let bytes = self.frontiers.at(self.computed)?.clone();
        let tokens = &self.tokens[..self.computed as usize];
        Some((self.chain.as_mut()?, tokens, self.table.pages(), bytes))
    }

    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    pub(crate) fn computed(&self) -> u32 {
        self.computed
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    pub(crate) fn frontiers(&self) -> &Frontiers {
        &self.frontiers
    }

    pub(crate) fn slot(&self) -> Option<u32> {
        self.slot
    }

    /// Tokens that wait to be computed.
    pub(crate) fn pending(&self) -> &[u32] {
        &self.tokens[self.computed as usize..]
    }

    /// Adds tokens to be computed.
    pub(crate) fn extend(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
    }

    /// Makes room for `total` tokens, so that decoding allocates nothing.
    pub(crate) fn reserve(&mut self, total: usize) {
        self.tokens.reserve(total.saturating_sub(self.tokens.len()));
    }

    /// Forgets tokens that were never computed.
    pub(crate) fn drop_pending(&mut self) {
        self.tokens.truncate(self.computed as usize);
    }

    /// Tokens it shares with `prompt`, computed ones only.
    pub(crate) fn shared_with(&self, prompt: &[u32]) -> u32 {
        let known = &self.tokens[..self.computed as usize];
        let same = known.iter().zip(prompt).take_while(|(a, b)| a == b);
        same.count() as u32
    }

    /// Where going back to `to` would lead.
    pub(crate) fn reach(&self, to: u32) -> u32 {
        match to == self.computed && self.is_live() {
            true => to,
            false => self.frontiers.deepest(to),
        }
    }

    /// Goes back to `to`, or to the deepest kept frontier before it.
    pub(crate) fn rewind(&mut self, to: u32, pages: &mut Pages) -> Rewind {
        let to = to.min(self.computed);
        let at = self.reach(to);
        self.tokens.truncate(at as usize);
        if at != self.computed {
            self.frontiers.truncate(at);
            self.cut_back(at, pages);
            self.slot = None;
        }
        match at == to {
            true => Rewind::Exact { at },
            false => Rewind::Short { at, wanted: to },
        }
    }

    /// After a step that failed: the slot cannot be trusted, and the newest rows neither.
    pub(crate) fn fall_back(&mut self, pages: &mut Pages) {
        self.slot = None;
        let at = self.frontiers.last();
        self.tokens.truncate(at as usize);
        self.cut_back(at, pages);
    }

    fn cut_back(&mut self, at: u32, pages: &mut Pages) {
        pages.truncate(&mut self.table, at);
        self.computed = at;
        if let Some(chain) = &mut self.chain {
            chain.truncate(at as usize);
        }
    }

    /// Keeps the frontier at the position computed, if it is not kept yet.
    pub(crate) fn keep(
        &mut self,
        reason: Reason,
        machine: &mut dyn Machine,
    ) -> Result<(), MachineError> {
        let (at, Some(slot)) = (self.computed, self.slot) else {
            return Ok(());
        };
        if at == 0 {
            return Ok(());
        }
        if self.frontiers.at(at).is_some() {
            self.frontiers.promote(at, reason);
            return Ok(());
        }
        let bytes = machine.frontier(slot, at)?;
        self.frontiers.push(at, reason, bytes.into());
        Ok(())
    }

    /// Leaves its slot for another session.
    pub(crate) fn leave(&mut self, machine: &mut dyn Machine) -> Result<(), MachineError> {
        self.keep(Reason::Distance, machine)?;
        self.slot = None;
        Ok(())
    }

    /// Takes a slot.
    pub(crate) fn sit(&mut self, slot: u32, machine: &mut dyn Machine) -> Result<(), MachineError> {
        let frontier = self.frontiers.at(self.computed);
        debug_assert!(
            self.computed == 0 || frontier.is_some(),
            "a parked session has one"
        );
        let frontier = frontier.map(|bytes| &bytes[..]);
        machine.seat(slot, self.table.pages(), self.computed, frontier)?;
        self.slot = Some(slot);
        Ok(())
    }

    /// Makes the pages of the next `rows` tokens its own; the slot they go to.
    pub(crate) fn open(
        &mut self,
        rows: u32,
        pages: &mut Pages,
        promise: &mut Promise,
        machine: &mut dyn Machine,
    ) -> Result<u32, EngineError> {
        let slot = self
            .slot
            .expect("a session is seated before it is computed");
        let (from, to) = (self.computed, self.computed + rows);
        let copy = |from, to| machine.copy_page(from, to).map_err(EngineError::from);
        let changed = pages.open(&mut self.table, from, to, promise, copy)?;
        if changed {
            machine.set_pages(slot, self.table.pages())?;
        }
        Ok(slot)
    }

    /// The next `rows` tokens were computed.
    pub(crate) fn advance(&mut self, rows: u32) {
        self.computed += rows;
        debug_assert!(self.computed as usize <= self.tokens.len());
    }

    /// A second timeline that goes on from what is computed here. Nothing but the open page will
    /// ever be copied.
    pub(crate) fn fork(
        &mut self,
        pages: &mut Pages,
        machine: &mut dyn Machine,
    ) -> Result<Self, MachineError> {
        self.keep(Reason::Cut, machine)?;
        Ok(Self {
            tokens: self.tokens[..self.computed as usize].to_vec(),
            computed: self.computed,
            table: pages.fork(&self.table, self.computed),
            frontiers: self.frontiers.clone(),
            slot: None,
            chain: self.chain.clone(),
        })
    }

    /// Hands its pages back.
    pub(crate) fn close(self, pages: &mut Pages) {
        pages.close(self.table);
    }

    /// Is the state at `computed` at hand, without computing anything?
    fn is_live(&self) -> bool {
        self.slot.is_some() || self.computed == 0 || self.frontiers.at(self.computed).is_some()
    }
}
