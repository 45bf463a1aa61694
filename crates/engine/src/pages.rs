//! Who owns which page.
//!
//! A backend holds the bytes of pages and knows them by number; here stands who may write one. The
//! rules:
//!
//! * A session sees a page through its [`Table`], one entry for every [`PAGE_TOKENS`] tokens.
//! * Sessions with the same beginning see the same pages. A page is written only by a session that
//!   alone sees it: before that, [`Pages::open`] gives it a copy of its own. Full pages are never
//!   written, so in practice one page a fork is copied, the open one.
//! * A page may be kept for sessions to come as well, by a frontier that needs the first of its
//!   rows. It stays as it is up to there; a session that alone sees it may go on behind them. When
//!   no session sees it, whoever keeps it can be asked to let go.
//! * A generation is admitted with a [`Promise`] for every page it may come to need, so that it
//!   never runs out half way.
//!
//! Nothing here allocates while tokens are made: tables are given room when a promise is made.

use ds4_model::kv::PAGE_TOKENS;
use thiserror::Error;

/// A session that does not fit.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "needs {needed} bytes of KV pages; {free} of {total} are free ({} missing)",
    needed.saturating_sub(*free)
)]
pub struct Admission {
    /// Bytes it may come to need, besides those it has.
    pub needed: u64,
    /// Bytes of pages that no session holds and nobody was promised.
    pub free: u64,
    /// Bytes of all pages.
    pub total: u64,
}

/// The pages of one session, in order. Made and changed by [`Pages`] alone; must be handed back
/// with [`Pages::close`].
#[derive(Debug, Default)]
pub struct Table(Vec<u32>);

impl Table {
    /// Page numbers, as a backend wants them.
    pub fn pages(&self) -> &[u32] {
        &self.0
    }
}

/// Pages set aside for a generation. Must be handed back with [`Pages::release`].
#[derive(Debug, Default)]
#[must_use = "pages that are never released are lost"]
pub struct Promise(usize);

/// What a session holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// Pages that no other session sees.
    pub own: u64,
    /// Pages that others see as well.
    pub shared: u64,
}

/// What is kept of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Kept {
    /// Frontiers that need it.
    by: u32,
    /// Tokens whose rows the deepest of them needs. Too many, once that one let go.
    tokens: u32,
}

/// All pages of a backend.
#[derive(Debug)]
pub struct Pages {
    /// How many tables name each page.
    seen_by: Vec<u32>,
    /// What frontiers need of each page.
    kept: Vec<Kept>,
    /// Pages in no table and kept by nobody, the next one to be taken last.
    free: Vec<u32>,
    /// Pages in no table that are kept.
    idle: usize,
    promised: usize,
    page_bytes: u64,
}

impl Pages {
    /// `count` free pages of `page_bytes` bytes.
    pub fn new(count: usize, page_bytes: usize) -> Self {
        Self {
            seen_by: vec![0; count],
            kept: vec![Kept::default(); count],
            idle: 0,
            free: (0..count as u32).rev().collect(),
            promised: 0,
            page_bytes: page_bytes as u64,
        }
    }

    /// Bytes that are neither held by a session nor promised. Some may be kept and have to be let
    /// go of first.
    pub fn free_bytes(&self) -> u64 {
        (self.unpromised() + self.idle) as u64 * self.page_bytes
    }

    /// Bytes that are kept, and held by no session.
    pub fn idle_bytes(&self) -> u64 {
        self.idle as u64 * self.page_bytes
    }

    /// Pages that can be promised at once.
    pub fn unpromised(&self) -> usize {
        self.free.len() - self.promised
    }

    /// Pages that could be, if those who keep them let go.
    pub fn idle(&self) -> usize {
        self.idle
    }

    /// Bytes of all pages.
    pub fn total_bytes(&self) -> u64 {
        self.seen_by.len() as u64 * self.page_bytes
    }

    /// Promised and not yet taken: bytes that come back by themselves.
    pub fn promised_bytes(&self) -> u64 {
        self.promised as u64 * self.page_bytes
    }

    /// What a session holds.
    pub fn charge(&self, table: &Table) -> Charge {
        let mut charge = Charge::default();
        for &page in &table.0 {
            match self.seen_by[page as usize] {
                1 => charge.own += self.page_bytes,
                _ => charge.shared += self.page_bytes,
            }
        }
        charge
    }

    /// Promises all pages that writing positions `from..to` will take, and gives the table room for
    /// them.
    ///
    /// # Errors
    /// If they are not there, with both numbers.
    pub fn promise(&mut self, table: &mut Table, from: u32, to: u32) -> Result<Promise, Admission> {
        let needed = self.missing(table, from, to);
        if needed > self.unpromised() {
            return Err(Admission {
                needed: needed as u64 * self.page_bytes,
                free: self.free_bytes(),
                total: self.total_bytes(),
            });
        }
        let entries = (to as usize).div_ceil(PAGE_TOKENS);
        table.0.reserve(entries.saturating_sub(table.0.len()));
        self.promised += needed;
        Ok(Promise(needed))
    }

    /// Promises `more` pages besides: a session that is forked while it is written will copy its
    /// open page.
    ///
    /// # Errors
    /// If they are not there, with both numbers.
    pub fn raise(&mut self, promise: &mut Promise, more: usize) -> Result<(), Admission> {
        if more > self.unpromised() {
            return Err(Admission {
                needed: more as u64 * self.page_bytes,
                free: self.free_bytes(),
                total: self.total_bytes(),
            });
        }
        self.promised += more;
        promise.0 += more;
        Ok(())
    }

    /// Gives back what was promised and not taken.
    pub fn release(&mut self, promise: Promise) {
        self.promised -= promise.0;
    }

    /// Makes the pages of positions `from..to` exist and belong to this table alone; `copy(from,
    /// to)` is called for a page that others see and that holds rows of earlier positions. Says
    /// whether the table changed.
    ///
    /// Pages come out of the promise while it lasts; it runs short only if somebody forked the
    /// session meanwhile.
    ///
    /// # Errors
    /// If there is no page left, or the copy failed. What was done until then stays sound.
    pub fn open<E: From<Admission>>(
        &mut self,
        table: &mut Table,
        from: u32,
        to: u32,
        promise: &mut Promise,
        mut copy: impl FnMut(u32, u32) -> Result<(), E>,
    ) -> Result<bool, E> {
        let mut changed = false;
        for at in touched(from, to) {
            match table.0.get(at).copied() {
                Some(page) if self.is_own(page, at, from) => {}
                Some(page) => {
                    let own = self.take(promise)?;
                    if at * PAGE_TOKENS < from as usize
                        && let Err(error) = copy(page, own)
                    {
                        self.drop_one(own);
                        return Err(error);
                    }
                    self.drop_one(page);
                    table.0[at] = own;
                    changed = true;
                }
                None => {
                    debug_assert_eq!(at, table.0.len(), "tables have no holes");
                    table.0.push(self.take(promise)?);
                    changed = true;
                }
            }
        }
        Ok(changed)
    }

    /// A second table over the first `tokens` tokens.
    pub fn fork(&mut self, table: &Table, tokens: u32) -> Table {
        let pages = &table.0[..(tokens as usize).div_ceil(PAGE_TOKENS)];
        self.share(pages.to_vec())
    }

    /// Keeps a page with the rows of its first `tokens` tokens, for sessions to come.
    pub fn keep(&mut self, page: u32, tokens: u32) {
        let kept = &mut self.kept[page as usize];
        kept.by += 1;
        kept.tokens = kept.tokens.max(tokens);
    }

    /// The opposite of [`Self::keep`].
    pub fn let_go(&mut self, page: u32) {
        let kept = &mut self.kept[page as usize];
        kept.by -= 1;
        if kept.by == 0 {
            kept.tokens = 0;
            if self.seen_by[page as usize] == 0 {
                self.idle -= 1;
                self.free.push(page);
            }
        }
    }

    /// Is this page there for so many keepers alone, so that it is free once they let go?
    pub fn is_idle(&self, page: u32, keepers: u32) -> bool {
        self.seen_by[page as usize] == 0 && self.kept[page as usize].by == keepers
    }

    /// A table over pages that others see or keep.
    pub fn share(&mut self, pages: Vec<u32>) -> Table {
        for &page in &pages {
            let seen_by = &mut self.seen_by[page as usize];
            self.idle -= usize::from(*seen_by == 0);
            *seen_by += 1;
        }
        Table(pages)
    }

    /// Forgets everything from token `tokens` on.
    pub fn truncate(&mut self, table: &mut Table, tokens: u32) {
        let keep = (tokens as usize).div_ceil(PAGE_TOKENS);
        while table.0.len() > keep {
            if let Some(page) = table.0.pop() {
                self.drop_one(page);
            }
        }
    }

    /// Hands a table back.
    pub fn close(&mut self, mut table: Table) {
        self.truncate(&mut table, 0);
    }

    /// How many pages [`Self::open`] would take.
    pub fn missing(&self, table: &Table, from: u32, to: u32) -> usize {
        let is_own = |&at: &usize| {
            let page = table.0.get(at);
            page.is_some_and(|&page| self.is_own(page, at, from))
        };
        touched(from, to).filter(|at| !is_own(at)).count()
    }

    /// May the one that sees `page` as entry `at` of its table write positions from `from` on in
    /// it?
    fn is_own(&self, page: u32, at: usize, from: u32) -> bool {
        let begin = (from as usize).saturating_sub(at * PAGE_TOKENS);
        let page = page as usize;
        self.seen_by[page] == 1 && self.kept[page].tokens as usize <= begin
    }

    fn take(&mut self, promise: &mut Promise) -> Result<u32, Admission> {
        let none_left = Admission {
            needed: self.page_bytes,
            free: self.free_bytes(),
            total: self.total_bytes(),
        };
        if promise.0 > 0 {
            promise.0 -= 1;
            self.promised -= 1;
        } else if self.free.len() == self.promised {
            return Err(none_left);
        }
        let page = self.free.pop().ok_or(none_left)?;
        self.seen_by[page as usize] = 1;
        Ok(page)
    }

    fn drop_one(&mut self, page: u32) {
        let seen_by = &mut self.seen_by[page as usize];
        *seen_by -= 1;
        if *seen_by > 0 {
            return;
        }
        match self.kept[page as usize].by {
            // Within the capacity it was made with: a page is free at most once.
            0 => self.free.push(page),
            _ => self.idle += 1,
        }
    }
}

/// Entries of a table that positions `from..to` fall on.
fn touched(from: u32, to: u32) -> std::ops::Range<usize> {
    from as usize / PAGE_TOKENS..(to as usize).div_ceil(PAGE_TOKENS)
}

#[cfg(test)]
mod tests;
