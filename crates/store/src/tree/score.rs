//! What is worth keeping.
//!
//! A frontier is worth the tokens that nobody has to compute again because of it: those since the
//! next frontier above. It costs its own bytes and the pages that only it needs; pages that others
//! need too are free. It is used as often as it was lately: every use counts one, and half as much
//! every [`HALF_LIFE`].

use super::{Freed, Kept, Tree, longest_prefix};
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
        let name = {
            let may_lose = self.shares.losers(now);
            let mut worst = None;
            let choose = |name, root, worth, is_freeing| {
                // Names break ties, so that the order of a hash table decides nothing.
                let rank = (!may_lose(root), worth, name);
                if is_freeing && worst.is_none_or(|worst| rank < worst) {
                    worst = Some(rank);
                }
            };
            self.for_each_worth(now, choose, frees);
            worst?.2
        };
        Some(self.remove(name))
    }

    fn for_each_worth(
        &self,
        now: f64,
        mut each: impl FnMut(Name, Name, f64, bool),
        frees: impl Fn(Lost<'_, P, F>) -> bool,
    ) {
        let roots = self.nodes.iter().filter(|(_, node)| node.before.is_none());
        // Nodes to look at, each with the position of the deepest frontier above it.
        let mut nodes: Vec<(Name, usize)> = roots.map(|(&name, _)| (name, 0)).collect();
        while let Some((at, above)) = nodes.pop() {
            let node = &self.nodes[&at];
            let begin = node.depth * self.page_tokens;
            let before = |tokens: &[u32]| match longest_prefix(&node.tails, tokens) {
                Some((tail, _)) => begin + tail.len(),
                None => above,
            };
            for (tail, name) in &node.tails {
                let kept = &self.frontiers[name];
                let above = tail.split_last().map_or(above, |(_, tail)| before(tail));
                let (bytes, is_freeing) = self.alone(kept, &frees);
                let saved = (kept.at - above) as f64 * kept.heat.at(now);
                let is_freeing = is_freeing && kept.pins == 0;
                each(*name, node.root, saved / bytes as f64, is_freeing);
            }
            for name in &node.after {
                let tokens = self.tail(&self.nodes[name].tokens);
                nodes.push((*name, before(tokens)));
            }
        }
    }

    /// Bytes that only this frontier needs, and whether `frees` says so of any of them.
    fn alone(&self, kept: &Kept<F>, frees: impl Fn(Lost<'_, P, F>) -> bool) -> (u64, bool) {
        let mut bytes = kept.bytes.max(1);
        let mut is_freeing = frees(Lost::Frontier(&kept.frontier));
        let mut node = &self.nodes[&kept.node];
        while node.after.len() + node.tails.len() == 1 {
            let (Some(page), Some(before)) = (&node.page, node.before) else {
                break;
            };
            bytes += node.bytes;
            is_freeing |= frees(Lost::Page(page));
            node = &self.nodes[&before];
        }
        (bytes, is_freeing)
    }
}

/// Something that would go with a frontier.
#[derive(Debug)]
pub enum Lost<'a, P, F> {
    /// A page that only this frontier needs.
    Page(&'a P),
    /// The frontier itself.
    Frontier(&'a F),
}
