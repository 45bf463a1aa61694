//! Who owns which page.
//!
//! A backend holds the bytes of pages and knows them by number; here stands who may write one. The
//! rules:
//!
//! * A session sees a page through its [`Table`], one entry for every [`PAGE_TOKENS`] tokens.
//! * Sessions with the same beginning see the same pages. A page is written only by a session that
//!   alone sees it: before that, [`Pages::open`] gives it a copy of its own. Full pages are never
//!   written, so in practice one page a fork is copied, the open one.
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
    /// Bytes of pages that nobody holds and nobody was promised.
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

/// All pages of a backend.
#[derive(Debug)]
pub struct Pages {
    /// How many tables name each page.
    seen_by: Vec<u32>,
    /// Pages in no table, the next one to be taken last.
    free: Vec<u32>,
    promised: usize,
    page_bytes: u64,
}

impl Pages {
    /// `count` free pages of `page_bytes` bytes.
    pub fn new(count: usize, page_bytes: usize) -> Self {
        Self {
            seen_by: vec![0; count],
            free: (0..count as u32).rev().collect(),
            promised: 0,
            page_bytes: page_bytes as u64,
        }
    }

    /// Bytes that are neither held nor promised.
    pub fn free_bytes(&self) -> u64 {
        (self.free.len() - self.promised) as u64 * self.page_bytes
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
        if needed > self.free.len() - self.promised {
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
        if more > self.free.len() - self.promised {
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
                Some(page) if self.seen_by[page as usize] == 1 => {}
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
        for &page in pages {
            self.seen_by[page as usize] += 1;
        }
        Table(pages.to_vec())
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
    fn missing(&self, table: &Table, from: u32, to: u32) -> usize {
        let is_own = |at: &usize| {
            let page = table.0.get(*at);
            page.is_some_and(|&page| self.seen_by[page as usize] == 1)
        };
        touched(from, to).filter(|at| !is_own(at)).count()
    }

    fn take(&mut self, promise: &mut Promise) -> Result<u32, Admission> {
        let none_left = Admission {
            needed: self.page_bytes,
            free: 0,
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
        if *seen_by == 0 {
            // Within the capacity it was made with: a page is free at most once.
            self.free.push(page);
        }
    }
}

/// Entries of a table that positions `from..to` fall on.
fn touched(from: u32, to: u32) -> std::ops::Range<usize> {
    from as usize / PAGE_TOKENS..(to as usize).div_ceil(PAGE_TOKENS)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::{Admission, PAGE_TOKENS, Pages, Promise, Table};

    const TOKENS: u32 = PAGE_TOKENS as u32;

    #[test]
    fn a_session_that_does_not_fit_is_told_both_numbers() {
        let mut pages = Pages::new(3, 100);
        let mut table = Table::default();
        let promise = pages.promise(&mut table, 0, TOKENS + 1).unwrap();
        let refused = pages
            .promise(&mut Table::default(), 0, 2 * TOKENS)
            .unwrap_err();
        let expected = Admission {
            needed: 200,
            free: 100,
            total: 300,
        };
        assert_eq!(refused, expected);
        assert!(refused.to_string().contains("100 missing"));
        pages.release(promise);
        assert_eq!(pages.free_bytes(), 300);
    }

    #[test]
    fn a_fork_copies_the_open_page_and_nothing_else() {
        let mut pages = Pages::new(8, 1);
        let mut table = Table::default();
        let mut none = Promise::default();
        let never = |_, _| -> Result<(), Admission> { panic!("nothing to copy") };
        pages
            .open(&mut table, 0, 2 * TOKENS + 7, &mut none, never)
            .unwrap();
        let mut other = pages.fork(&table, 2 * TOKENS + 7);
        assert_eq!(pages.charge(&table).shared, 3);
        let mut copies = Vec::new();
        let copy = |from, to| -> Result<(), Admission> {
            copies.push((from, to));
            Ok(())
        };
        pages
            .open(&mut other, 2 * TOKENS + 7, 4 * TOKENS, &mut none, copy)
            .unwrap();
        assert_eq!(copies, [(2, 3)]);
        assert_eq!(other.pages(), [0, 1, 3, 4]);
        // The first one is now the only one that sees its open page.
        assert!(
            !pages
                .open(&mut table, 2 * TOKENS + 7, 3 * TOKENS, &mut none, never)
                .unwrap()
        );
        pages.close(table);
        pages.close(other);
        assert_eq!(pages.free_bytes(), 8);
    }

    #[test]
    fn a_page_without_earlier_rows_is_replaced_and_not_copied() {
        let mut pages = Pages::new(4, 1);
        let mut table = Table::default();
        let mut none = Promise::default();
        let never = |_, _| -> Result<(), Admission> { panic!("nothing to copy") };
        pages
            .open(&mut table, 0, 2 * TOKENS, &mut none, never)
            .unwrap();
        let other = pages.fork(&table, 2 * TOKENS);
        assert!(
            pages
                .open(&mut table, TOKENS, TOKENS + 1, &mut none, never)
                .unwrap()
        );
        assert_eq!((table.pages(), other.pages()), (&[0, 2][..], &[0, 1][..]));
    }

    /// One thing that can happen to one of a few sessions.
    #[derive(Clone, Debug)]
    enum Act {
        Write(usize, u32),
        Fork(usize, usize),
        Rewind(usize, u32),
        Promise(usize, u32),
    }

    fn act() -> impl Strategy<Value = Act> {
        let (who, much) = (0..4usize, 0..3 * TOKENS);
        prop_oneof![
            (who.clone(), much.clone()).prop_map(|(a, n)| Act::Write(a, n)),
            (who.clone(), who.clone()).prop_map(|(a, b)| Act::Fork(a, b)),
            (who.clone(), much.clone()).prop_map(|(a, n)| Act::Rewind(a, n)),
            (who, much).prop_map(|(a, n)| Act::Promise(a, n)),
        ]
    }

    proptest! {
        /// Sessions write what they please in their pages. Each reads back what it wrote, whatever
        /// the others did, and every page is free or seen by exactly those that name it.
        #[test]
        fn nobody_sees_what_others_write(acts in prop::collection::vec(act(), 1..60)) {
            let mut pages = Pages::new(10, 1);
            let mut tables: [Table; 4] = Default::default();
            let mut promises: [Promise; 4] = Default::default();
            // What is stored: by page and token in it. What should be read: by session and
            // position.
            let mut stored = HashMap::<(u32, u32), u32>::new();
            let mut wanted: [Vec<u32>; 4] = Default::default();
            let mut clock = 0;
            for act in acts {
                match act {
                    Act::Promise(a, n) => {
                        let from = wanted[a].len() as u32;
                        let fits = pages.promise(&mut tables[a], from, from + n);
                        if let Ok(new) = fits {
                            pages.release(std::mem::replace(&mut promises[a], new));
                        }
                    }
                    Act::Write(a, n) => {
                        let from = wanted[a].len() as u32;
                        let copy = |from, to| {
                            for at in 0..TOKENS {
                                if let Some(&value) = stored.get(&(from, at)) {
                                    stored.insert((to, at), value);
                                }
                            }
                            Ok::<(), Admission>(())
                        };
                        let (table, promise) = (&mut tables[a], &mut promises[a]);
                        let opened = pages.open(table, from, from + n, promise, copy);
                        if opened.is_err() {
                            pages.truncate(&mut tables[a], from);
                            continue;
                        }
                        for pos in from..from + n {
                            clock += 1;
                            let page = tables[a].pages()[(pos / TOKENS) as usize];
                            stored.insert((page, pos % TOKENS), clock);
                            wanted[a].push(clock);
                        }
                    }
                    Act::Fork(a, b) if a != b => {
                        let fork = pages.fork(&tables[a], wanted[a].len() as u32);
                        pages.close(std::mem::replace(&mut tables[b], fork));
                        wanted[b] = wanted[a].clone();
                    }
                    Act::Fork(..) => {}
                    Act::Rewind(a, n) => {
                        wanted[a].truncate(n as usize);
                        pages.truncate(&mut tables[a], n.min(wanted[a].len() as u32));
                    }
                }
                let mut seen_by = [0; 10];
                for (table, wanted) in tables.iter().zip(&wanted) {
                    table.pages().iter().for_each(|&page| seen_by[page as usize] += 1);
                    for (pos, value) in (0u32..).zip(wanted).step_by(37) {
                        let page = table.pages()[(pos / TOKENS) as usize];
                        prop_assert_eq!(stored.get(&(page, pos % TOKENS)), Some(value));
                    }
                }
                prop_assert_eq!(&pages.seen_by[..], &seen_by[..]);
                let free = seen_by.iter().filter(|&&n| n == 0).count();
                prop_assert_eq!(pages.free.len(), free);
                prop_assert_eq!(pages.promised, promises.iter().map(|p| p.0).sum::<usize>());
                prop_assert!(pages.promised <= free);
            }
        }
    }
}
