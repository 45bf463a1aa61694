//! What is computed already, whoever asked for it: frontiers of all shared sessions, kept for
//! those to come.
//!
//! A shared session puts every frontier that it keeps here as well; pages and frontiers have one
//! owner more and no copy is made. When the session is closed they stay, and a session whose prompt
//! begins with the same tokens takes them up: full pages as they are, the open one as a copy.
//!
//! Sessions come first. A kept page that no session sees is given up as soon as one needs room, the
//! frontier that saves the least prefill per byte before the others; what a session works on is its
//! own and cannot be taken from it.

use std::time::Instant;

use ds4_model::kv::PAGE_TOKENS;
use ds4_store::{Buffer, Freed, Kind, Lost, Name, New, Scope, Shared, Tree};

use crate::engine::Options;
use crate::error::EngineError;
use crate::frontier::Reason;
use crate::machine::{Machine, MachineError};
use crate::pages::{Pages, Promise, Table};
use crate::saver::{Job, Saver};
use crate::tiers::Tiers;
use crate::timeline::Timeline;

/// A frontier kept for sessions to come.
struct Held {
    bytes: Buffer,
    /// The page that is not full at this position.
    open: Option<u32>,
}

/// A place to go on from.
#[derive(Debug)]
pub(crate) struct Start {
    /// Tokens computed there.
    pub(crate) at: u32,
    /// Their pages, the open one for the session alone.
    pub(crate) table: Table,
    pub(crate) frontier: Buffer,
}

pub(crate) struct Prefixes {
    tree: Tree<u32, Held>,
    /// Most bytes of frontiers.
    budget: u64,
    page_bytes: u64,
    began: Instant,
    /// The way to the tiers below, if there are any.
    saver: Option<Saver>,
}

impl Prefixes {
    /// Nothing yet.
    pub(crate) fn new(machine: &dyn Machine, options: &Options, tiers: Option<Tiers>) -> Self {
        Self {
            tree: Tree::new(PAGE_TOKENS),
            budget: options.kept_bytes,
            page_bytes: machine.geometry().page_bytes as u64,
            began: Instant::now(),
            saver: tiers.map(Saver::new),
        }
    }

    /// The first of these pages that are in the device.
    pub(crate) fn resident(&self, names: &[Name]) -> Vec<u32> {
        self.tree.known(names).into_iter().copied().collect()
    }

    /// Copies a little of what is to be written. Could more be copied at once?
    pub(crate) fn save(&mut self, pages: &mut Pages, machine: &mut dyn Machine) -> bool {
        let saver = self.saver.as_mut();
        saver.is_some_and(|saver| saver.pump(pages, machine))
    }

    /// Writes everything that is to be written.
    pub(crate) fn save_all(&mut self, pages: &mut Pages, machine: &mut dyn Machine) {
        if let Some(saver) = &mut self.saver {
            saver.drain(pages, machine);
        }
    }

    /// The deepest place on the path of `prompt` that leaves a token to be computed, if it is
    /// deeper than `than`. None if there is no page for it either.
    pub(crate) fn start(
        &mut self,
        scope: &Scope,
        prompt: &[u32],
        than: u32,
        pages: &mut Pages,
        machine: &mut dyn Machine,
    ) -> Result<Option<Start>, MachineError> {
        let known = prompt.split_last().map_or(prompt, |(_, known)| known);
        let found = self.tree.find(scope, known);
        let Some(found) = found.filter(|found| found.at > than as usize) else {
            return Ok(None);
        };
        let (name, at) = (found.name, found.at as u32);
        let frontier = found.frontier.bytes.clone();
        let full = found.pages.into_iter().copied();
        // Once in a table, nothing takes them away.
        let mut table = pages.share(full.chain(found.frontier.open).collect());
        // Whoever wrote the open page may be going on in it.
        let to = at.next_multiple_of(PAGE_TOKENS as u32);
        self.make_room(pages, pages.missing(&table, at, to));
        let copy = |from, to| machine.copy_page(from, to).map_err(EngineError::from);
        let opened = pages.open(&mut table, at, to, &mut Promise::default(), copy);
        match opened {
            Ok(_) => {
                self.tree.touch(name, self.now());
                Ok(Some(Start {
                    at,
                    table,
                    frontier,
                }))
            }
            Err(error) => {
                pages.close(table);
                match error {
                    EngineError::Machine(error) => Err(error),
                    _ => Ok(None),
                }
            }
        }
    }

    /// Keeps the frontier where a session stands, if it is a shared one and has it at hand.
    pub(crate) fn publish(&mut self, timeline: &mut Timeline, reason: Reason, pages: &mut Pages) {
        let now = self.now();
        let Some((chain, tokens, table, bytes)) = timeline.publication() else {
            return;
        };
        let rest = (tokens.len() % PAGE_TOKENS) as u32;
        let open = (rest > 0).then(|| table[tokens.len() / PAGE_TOKENS]);
        if let Some(page) = open {
            pages.keep(page, rest);
        }
        let kind = match reason {
            Reason::Distance => Kind::Distance,
            Reason::Turn => Kind::Turn,
            Reason::Cut => Kind::Cut,
        };
        let new = New {
            kind,
            bytes: bytes.len() as u64 + if open.is_some() { self.page_bytes } else { 0 },
            page_bytes: self.page_bytes,
            frontier: Held {
                bytes: bytes.clone(),
                open,
            },
            now,
        };
        let keep = |at: usize| {
            pages.keep(table[at], PAGE_TOKENS as u32);
            table[at]
        };
        let freed = self.tree.insert(chain, tokens, new, keep);
        if let Some(saver) = &mut self.saver {
            let scope = *chain.scope();
            let names = chain.names(tokens).to_vec();
            let last = names.last().copied().unwrap_or_else(|| scope.root());
            let full = names.len();
            let job = Job {
                name: scope.next(last, &tokens[full * PAGE_TOKENS..]),
                root: scope.root(),
                full: table[..full].iter().copied().map(Some).collect(),
                names,
                tokens: tokens.to_vec(),
                done: 0,
                open,
                kind,
                frontier: bytes,
            };
            for &(name, _) in freed.frontiers.iter().filter(|(name, _)| *name != job.name) {
                saver.cancel(name, pages);
            }
            saver.add(job, self.page_bytes, pages);
        }
        give_back(freed, pages);
        while self.frontier_bytes() > self.budget {
            let Some(freed) = self.tree.evict(now, |_| true) else {
                return;
            };
            give_back(freed, pages);
        }
    }

    /// Gives up what is worth least until `count` pages can be promised. Gives up nothing if all
    /// of it would not be enough.
    pub(crate) fn make_room(&mut self, pages: &mut Pages, count: usize) {
        if count > pages.unpromised() + pages.idle() {
            return;
        }
        let now = self.now();
        while pages.unpromised() < count {
            // A short conversation is one page with several frontiers: none of them frees it alone,
            // and a long one would be the only one to give up anything.
            let bytes = self.page_bytes;
            let shares = |held: &Held| held.open.map(|id| Shared { id, bytes });
            let frees = |lost: Lost<'_, u32, Held>| match lost {
                Lost::Page(&page) => pages.is_idle(page, 1),
                Lost::Frontiers(held, count) => {
                    let open = held.open;
                    open.is_some_and(|page| pages.is_idle(page, count as u32))
                }
            };
            if let Some(freed) = self.tree.evict_shared(now, shares, frees) {
                give_back(freed, pages);
                continue;
            }
            // Nothing is kept by the tree alone: what waits to be written is, or one page is kept
            // by several frontiers.
            let saver = self.saver.as_mut();
            if saver.is_some_and(|saver| saver.give_up_one(pages)) {
                continue;
            }
            let Some(freed) = self.tree.evict(now, |_| true) else {
                return;
            };
            give_back(freed, pages);
        }
    }

    /// Bytes of all frontiers, open pages included.
    pub(crate) fn frontier_bytes(&self) -> u64 {
        self.tree.frontier_bytes()
    }

    /// How many frontiers there are.
    pub(crate) fn len(&self) -> usize {
        self.tree.len()
    }

    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

fn give_back(freed: Freed<u32, Held>, pages: &mut Pages) {
    for freed in freed.pages {
        pages.let_go(freed.page);
    }
    for (_, held) in freed.frontiers {
        if let Some(page) = held.open {
            pages.let_go(page);
        }
    }
}
