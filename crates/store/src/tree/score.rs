//! What is worth keeping.
//!
//! A frontier is worth the tokens that nobody has to compute again because of it: those since the
//! next frontier above. It costs its own bytes and the pages that only it needs; pages that others
//! need too are free. It is used as often as it was lately: every use counts one, and half as much
//! every [`HALF_LIFE`].

use super::{Freed, Node, Tree, longest_prefix};
use crate::name::Name;

/// Seconds after which a use counts half: a lunch break does not cost a conversation its prefix,
/// yesterday's is worth next to nothing beside today's.
const HALF_LIFE: f64 = 1800.0;

/// Uses, fading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heat {
    uses: f64,
    last: f64,
}

impl Heat {
    pub(super) fn new(now: f64) -> Self {
        Self {
            uses: 1.0,
            last: now,
        }
    }

    pub(super) fn touch(&mut self, now: f64) {
        self.uses = self.at(now) + 1.0;
        self.last = now;
    }

    /// Takes the uses of a frontier that this one replaces.
    pub(super) fn inherit(&mut self, other: Self, now: f64) {
        self.uses = self.at(now) + other.at(now);
        self.last = now;
    }

    fn at(self, now: f64) -> f64 {
        self.uses * ((self.last - now).min(0.0) / HALF_LIFE).exp2()
    }
}

impl<P, F> Tree<P, F> {
    /// Lets go of the frontier that saves the least, among those for which `frees` says yes: of
    /// the frontier, or of a page that would go with it. None if there is no such.
    ///
    /// Those that somebody reads stay. Those of a tenant who holds less than his share stay as long
    /// as there are others to choose from.
    ///
    /// It is for memory that others may hold as well: a page that a session works on is not freed
    /// by the tree's letting go of it.
    pub fn evict(
        &mut self,
        now: f64,
        frees: impl Fn(Lost<'_, P, F>) -> bool,
    ) -> Option<Freed<P, F>> {
        self.evict_shared(now, |_| None, frees)
    }

    /// The same, where frontiers may hold something in common, which is free when the last of them
    /// goes: neighbours of which `shares` says the same are kept together or let go of together.
    pub fn evict_shared(
        &mut self,
        now: f64,
        shares: impl Fn(&F) -> Option<Shared>,
        frees: impl Fn(Lost<'_, P, F>) -> bool,
    ) -> Option<Freed<P, F>> {
        let names = {
            let may_lose = self.shares.losers(now);
            let mut worst = None;
            let choose = |root, choice: Choice| {
                // Names break ties, so that the order of a hash table decides nothing.
                let worth = choice.saved / choice.bytes as f64;
                let rank = (!may_lose(root), worth, choice.names);
                if worst.as_ref().is_none_or(|worst| rank < *worst) {
                    worst = Some(rank);
                }
            };
            self.for_each_choice(now, choose, shares, frees);
            worst?.2
        };
        let mut freed = Freed::default();
        for name in names {
            self.remove_into(name, &mut freed);
        }
        Some(freed)
    }

    /// Everything that may go.
    fn for_each_choice(
        &self,
        now: f64,
        mut each: impl FnMut(Name, Choice),
        shares: impl Fn(&F) -> Option<Shared>,
        frees: impl Fn(Lost<'_, P, F>) -> bool,
    ) {
        let roots = self.nodes.iter().filter(|(_, node)| node.before.is_none());
        // Nodes to look at, each with the position of the deepest frontier above it.
        let mut nodes: Vec<(Name, usize)> = roots.map(|(&name, _)| (name, 0)).collect();
        let mut choices: Vec<(Option<Shared>, Choice)> = Vec::new();
        while let Some((at, above)) = nodes.pop() {
            let node = &self.nodes[&at];
            let begin = node.depth * self.page_tokens;
            let before = |tokens: &[u32]| match longest_prefix(&node.tails, tokens) {
                Some((tail, _)) => begin + tail.len(),
                None => above,
            };
            for (tail, &name) in &node.tails {
                let kept = &self.frontiers[&name];
                let above = tail.split_last().map_or(above, |(_, tail)| before(tail));
                let shared = shares(&kept.frontier);
                let others = choices
                    .iter_mut()
                    .find(|(other, _)| shared.is_some() && *other == shared);
                let choice = match others {
                    Some((_, choice)) => {
                        // It is counted with the first.
                        choice.bytes -= shared.map_or(0, |shared| shared.bytes);
                        choice
                    }
                    None => {
                        choices.push((shared, Choice::default()));
                        &mut choices.last_mut().expect("it was pushed").1
                    }
                };
                choice.names.push(name);
                choice.saved += (kept.at - above) as f64 * kept.heat.at(now);
                choice.bytes += kept.bytes;
                choice.is_pinned |= kept.pins > 0;
            }
            for (_, mut choice) in choices.drain(..) {
                if self.frees(node, &mut choice, &frees) && !choice.is_pinned {
                    each(node.root, choice);
                }
            }
            for name in &node.after {
                let tokens = self.tail(&self.nodes[name].tokens);
                nodes.push((*name, before(tokens)));
            }
        }
    }

    /// Whether `frees` says yes of anything that goes with these frontiers of a node. Pages that
    /// only they need are theirs.
    fn frees<'t>(
        &'t self,
        mut node: &'t Node<P>,
        choice: &mut Choice,
        frees: impl Fn(Lost<'_, P, F>) -> bool,
    ) -> bool {
        let count = choice.names.len();
        let one = &self.frontiers[&choice.names[0]].frontier;
        let mut is_freeing = frees(Lost::Frontiers(one, count));
        choice.bytes = choice.bytes.max(1);
        let mut hanging = node.after.len() + node.tails.len() - count;
        while hanging == 0 {
            let (Some(page), Some(before)) = (&node.page, node.before) else {
                break;
            };
            choice.bytes += node.bytes;
            is_freeing |= frees(Lost::Page(page));
            node = &self.nodes[&before];
            hanging = node.after.len() + node.tails.len() - 1;
        }
        is_freeing
    }
}

/// Frontiers of one node that go together.
#[derive(Default)]
struct Choice {
    names: Vec<Name>,
    /// Tokens that would have to be computed again, by use.
    saved: f64,
    bytes: u64,
    is_pinned: bool,
}

/// Something that several frontiers hold: what, and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Tells it from others.
    pub id: u32,
    /// Counted with each of them.
    pub bytes: u64,
}

/// Something that would go with frontiers.
#[derive(Debug)]
pub enum Lost<'a, P, F> {
    /// A page that only they need.
    Page(&'a P),
    /// One of them, and how many there are.
    Frontiers(&'a F, usize),
}
