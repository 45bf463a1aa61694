//! The prefix tree: from a list of tokens to the deepest frontier on its path.
//!
//! A node is a full page, named by the chain of pages it ends; frontiers hang at nodes by the
//! tokens that follow the last full page. What pages and frontiers *are* the tree does not know:
//! page numbers of a device in one tier, places in a file in another.
//!
//! * **A page is there as long as a frontier needs it.** Nobody can start in the middle of pages,
//!   so those below the last frontier of a branch go with it.
//! * **A turn replaces the one before it.** The end of an answer is where the next question goes
//!   on; once that was done, and nobody forked in between, the first is of no use. The new one
//!   counts its uses as its own: a conversation that goes on is worth more than a question that
//!   was asked once.
//! * **What saves the most prefill per byte stays**, where use fades with time; see
//!   [`Tree::evict`]. Nobody is pushed below his share by others.

mod score;
mod shares;

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::ops::Bound::{Included, Unbounded};

use crate::name::{Chain, Name, NameMap, Scope};
pub use score::{Lost, Shared};
use shares::Shares;

/// Why a frontier is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Some distance from the one before it.
    Distance,
    /// The end of an answer. The next one replaces it, unless the conversation forked there.
    Turn,
    /// A place where conversations are known to fork: the end of a system prompt, of a question.
    Cut,
}

/// A frontier to be kept.
#[derive(Clone, Copy, Debug)]
pub struct New<F> {
    /// What it is.
    pub frontier: F,
    /// Why.
    pub kind: Kind,
    /// Its bytes, those of a page that is not full included.
    pub bytes: u64,
    /// Bytes of each full page that comes with it.
    pub page_bytes: u64,
    /// When, in seconds since some fixed moment.
    pub now: f64,
}

/// The deepest frontier on a path, and the full pages before it.
#[derive(Debug)]
pub struct Found<'a, P, F> {
    /// Its name.
    pub name: Name,
    /// Tokens before it.
    pub at: usize,
    /// The full pages before it, in order.
    pub pages: Vec<&'a P>,
    /// The frontier.
    pub frontier: &'a F,
}

/// A page that the tree let go of.
#[derive(Debug, PartialEq, Eq)]
pub struct FreedPage<P> {
    /// Its name.
    pub name: Name,
    /// The page before it, or the root.
    pub before: Name,
    /// Its tokens.
    pub tokens: Box<[u32]>,
    /// What it is.
    pub page: P,
}

/// What the tree let go of.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what the tree holds has to be given back"]
pub struct Freed<P, F> {
    /// Pages that no frontier needs any more.
    pub pages: Vec<FreedPage<P>>,
    /// Frontiers.
    pub frontiers: Vec<(Name, F)>,
}

impl<P, F> Default for Freed<P, F> {
    fn default() -> Self {
        Self {
            pages: Vec::new(),
            frontiers: Vec::new(),
        }
    }
}

/// Where a frontier hangs.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Where its path begins: the name of no tokens.
    pub root: Name,
    /// The full pages before it.
    pub pages: &'a [Name],
    /// The tokens after those.
    pub tail: &'a [u32],
}

impl Place<'_> {
    /// The last full page, or the root.
    fn node(&self) -> Name {
        self.pages.last().copied().unwrap_or(self.root)
    }
}

struct Node<P> {
    /// Where its path begins.
    root: Name,
    /// The node above; none at the root of a scope.
    before: Option<Name>,
    /// Full pages up to this one.
    depth: usize,
    /// Tokens of its page.
    tokens: Box<[u32]>,
    page: Option<P>,
    bytes: u64,
    after: Vec<Name>,
    tails: Tails,
}

/// Frontiers of a node by the tokens that follow its page.
type Tails = BTreeMap<Box<[u32]>, Name>;

struct Kept<F> {
    node: Name,
    tail: Box<[u32]>,
    at: usize,
    kind: Kind,
    bytes: u64,
    frontier: F,
    heat: score::Heat,
    /// How many are reading it.
    pins: u32,
}

/// A tree over pages `P` and frontiers `F`.
pub struct Tree<P, F> {
    page_tokens: usize,
    nodes: NameMap<Node<P>>,
    frontiers: NameMap<Kept<F>>,
    frontier_bytes: u64,
    shares: Shares,
}

impl<P, F> Tree<P, F> {
    /// An empty tree over pages of `page_tokens` tokens.
    pub fn new(page_tokens: usize) -> Self {
        assert!(page_tokens > 0, "a page holds tokens");
        Self {
            page_tokens,
            nodes: NameMap::default(),
            frontiers: NameMap::default(),
            frontier_bytes: 0,
            shares: Shares::default(),
        }
    }

    /// The deepest frontier on the path of `tokens`, at most all of them.
    pub fn find(&self, scope: &Scope, tokens: &[u32]) -> Option<Found<'_, P, F>> {
        let mut name = scope.root();
        let mut path = vec![self.nodes.get(&name)?];
        for page in tokens.chunks_exact(self.page_tokens) {
            name = scope.next(name, page);
            match self.nodes.get(&name) {
                Some(node) => path.push(node),
                None => break,
            }
        }
        while let Some(node) = path.last() {
            let begin = node.depth * self.page_tokens;
            if let Some((_, name)) = longest_prefix(&node.tails, self.tail(&tokens[begin..])) {
                let kept = &self.frontiers[&name];
                return Some(Found {
                    name,
                    at: kept.at,
                    pages: path.iter().filter_map(|node| node.page.as_ref()).collect(),
                    frontier: &kept.frontier,
                });
            }
            path.pop();
        }
        None
    }

    /// Keeps a frontier at the end of `tokens`, whose pages `chain` names. `page(i)` is called for
    /// every full page that is not in the tree yet. What is superseded comes back; so does the
    /// frontier, if there is one in its place already.
    pub fn insert(
        &mut self,
        chain: &mut Chain,
        tokens: &[u32],
        new: New<F>,
        mut page: impl FnMut(usize) -> P,
    ) -> Freed<P, F> {
        let scope = *chain.scope();
        let names = chain.names(tokens);
        let size = self.page_tokens;
        let place = Place {
            root: scope.root(),
            pages: names,
            tail: &tokens[names.len() * size..],
        };
        let name = scope.next(place.node(), place.tail);
        self.hang(name, place, new, |at| {
            (tokens[at * size..][..size].into(), page(at))
        })
    }

    /// The same for what has a name already. `page(i)` gives the tokens of a page as well.
    pub fn hang(
        &mut self,
        name: Name,
        place: Place<'_>,
        new: New<F>,
        mut page: impl FnMut(usize) -> (Box<[u32]>, P),
    ) -> Freed<P, F> {
        let mut freed = Freed::default();
        if let Some(kept) = self.frontiers.get_mut(&name) {
            kept.kind = kept.kind.max(new.kind);
            kept.heat.touch(new.now);
            freed.frontiers.push((name, new.frontier));
            return freed;
        }
        let mut before = place.root;
        self.nodes.entry(before).or_insert_with(|| Node {
            root: before,
            before: None,
            depth: 0,
            tokens: Box::default(),
            page: None,
            bytes: 0,
            after: Vec::new(),
            tails: Tails::new(),
        });
        for (at, &name) in place.pages.iter().enumerate() {
            if let Entry::Vacant(vacant) = self.nodes.entry(name) {
                let (tokens, page) = page(at);
                vacant.insert(Node {
                    root: place.root,
                    before: Some(before),
                    depth: at + 1,
                    tokens,
                    page: Some(page),
                    bytes: new.page_bytes,
                    after: Vec::new(),
                    tails: Tails::new(),
                });
                self.node_mut(before).after.push(name);
                self.shares.add(place.root, new.page_bytes, new.now);
            }
            before = name;
        }
        let tail = Box::<[u32]>::from(place.tail);
        self.node_mut(before).tails.insert(tail.clone(), name);
        self.frontier_bytes += new.bytes;
        self.shares.add(place.root, new.bytes, new.now);
        let kept = Kept {
            node: before,
            at: place.pages.len() * self.page_tokens + tail.len(),
            tail,
            kind: new.kind,
            bytes: new.bytes,
            frontier: new.frontier,
            heat: score::Heat::new(new.now),
            pins: 0,
        };
        self.frontiers.insert(name, kept);
        for old in self.superseded(name) {
            let heat = self.frontiers.get(&old).map(|kept| kept.heat);
            if let (Some(kept), Some(heat)) = (self.frontiers.get_mut(&name), heat) {
                kept.heat.inherit(heat, new.now);
            }
            self.remove_into(old, &mut freed);
        }
        freed
    }

    /// Somebody goes on from this frontier.
    pub fn touch(&mut self, name: Name, now: f64) {
        if let Some(kept) = self.frontiers.get_mut(&name) {
            kept.heat.touch(now);
            self.shares.add(self.nodes[&kept.node].root, 0, now);
        }
    }

    /// Somebody is reading this frontier and its pages: it is not evicted until he says
    /// [`Self::unpin`].
    pub fn pin(&mut self, name: Name) {
        if let Some(kept) = self.frontiers.get_mut(&name) {
            kept.pins += 1;
        }
    }

    /// The opposite.
    pub fn unpin(&mut self, name: Name) {
        if let Some(kept) = self.frontiers.get_mut(&name) {
            // One that was replaced and came back meanwhile has none.
            kept.pins = kept.pins.saturating_sub(1);
        }
    }

    /// Lets go of a frontier, if it is there, and of the pages that only it needs.
    pub fn remove(&mut self, name: Name) -> Freed<P, F> {
        let mut freed = Freed::default();
        self.remove_into(name, &mut freed);
        freed
    }

    /// Lets go of a page, if it is there, and so of all that hangs below it.
    pub fn cut(&mut self, page: Name) -> Freed<P, F> {
        let (mut freed, mut names) = (Freed::default(), Vec::new());
        let mut below = vec![page];
        while let Some(node) = below.pop().and_then(|name| self.nodes.get(&name)) {
            names.extend(node.tails.values());
            below.extend(&node.after);
        }
        for name in names {
            self.remove_into(name, &mut freed);
        }
        freed
    }

    /// The frontier of this name.
    pub fn get(&self, name: Name) -> Option<&F> {
        self.frontiers.get(&name).map(|kept| &kept.frontier)
    }

    /// The names of all frontiers.
    pub fn names(&self) -> impl Iterator<Item = Name> {
        self.frontiers.keys().copied()
    }

    /// The names of all pages.
    pub fn page_names(&self) -> impl Iterator<Item = Name> {
        let pages = self.nodes.iter().filter(|(_, node)| node.page.is_some());
        pages.map(|(&name, _)| name)
    }

    /// Is there a page of this name?
    pub fn has_page(&self, name: Name) -> bool {
        self.nodes
            .get(&name)
            .is_some_and(|node| node.page.is_some())
    }

    /// The pages up to this one, in order, if it is there.
    pub fn path(&self, page: Name) -> Option<Vec<Name>> {
        let mut path = Vec::new();
        let mut at = Some(page);
        while let Some(name) = at {
            let node = self.nodes.get(&name)?;
            if node.page.is_some() {
                path.push(name);
            }
            at = node.before;
        }
        path.reverse();
        Some(path)
    }

    /// The first of `names` that are pages of the tree.
    pub fn known(&self, names: &[Name]) -> Vec<&P> {
        let pages = names.iter().map_while(|name| self.nodes.get(name));
        pages.filter_map(|node| node.page.as_ref()).collect()
    }

    /// How many frontiers there are.
    pub fn len(&self) -> usize {
        self.frontiers.len()
    }

    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.frontiers.is_empty()
    }

    /// How many pages there are, each counted once however many paths it is on.
    pub fn pages(&self) -> usize {
        let pages = self.nodes.values().filter(|node| node.page.is_some());
        pages.count()
    }

    /// Bytes of all frontiers.
    pub fn frontier_bytes(&self) -> u64 {
        self.frontier_bytes
    }

    /// Frontiers that the one called `name` makes superfluous: ends of turns above it, as far up
    /// as nobody went another way.
    fn superseded(&self, name: Name) -> Vec<Name> {
        let new = &self.frontiers[&name];
        let mut found = Vec::new();
        let mut path = &new.tail[..];
        let (mut at, mut below) = (new.node, 0);
        loop {
            let node = &self.nodes[&at];
            let forked =
                node.after.len() > below || node.tails.keys().any(|tail| !path.starts_with(tail));
            if forked {
                return found;
            }
            let replaced = node
                .tails
                .values()
                .filter(|&&other| other != name && self.frontiers[&other].kind == Kind::Turn);
            found.extend(replaced);
            let Some(before) = node.before else {
                return found;
            };
            (at, below, path) = (before, 1, &node.tokens);
        }
    }

    fn remove_into(&mut self, name: Name, freed: &mut Freed<P, F>) {
        let Some(kept) = self.frontiers.remove(&name) else {
            return;
        };
        self.frontier_bytes -= kept.bytes;
        self.shares.take(self.nodes[&kept.node].root, kept.bytes);
        freed.frontiers.push((name, kept.frontier));
        self.node_mut(kept.node).tails.remove(&kept.tail);
        let mut at = kept.node;
        while self.nodes[&at].is_bare() {
            let Some(node) = self.nodes.remove(&at) else {
                return;
            };
            self.shares.take(node.root, node.bytes);
            let (Some(before), Some(page)) = (node.before, node.page) else {
                return;
            };
            freed.pages.push(FreedPage {
                name: at,
                before,
                tokens: node.tokens,
                page,
            });
            self.node_mut(before).after.retain(|&name| name != at);
            at = before;
        }
    }

    /// The part of what follows a page that a tail can be compared with.
    fn tail<'t>(&self, tokens: &'t [u32]) -> &'t [u32] {
        &tokens[..tokens.len().min(self.page_tokens - 1)]
    }

    fn node_mut(&mut self, name: Name) -> &mut Node<P> {
        let node = self.nodes.get_mut(&name);
        node.expect("a node is there as long as something names it")
    }
}

impl<P> Node<P> {
    /// Does nothing hang here?
    fn is_bare(&self) -> bool {
        self.after.is_empty() && self.tails.is_empty()
    }
}

/// The longest tail that `tokens` begin with.
fn longest_prefix<'t>(tails: &'t Tails, mut tokens: &[u32]) -> Option<(&'t [u32], Name)> {
    loop {
        // The greatest tail that is not greater. If it is no prefix, no prefix is longer than
        // what they share: it would lie between the two.
        let up_to = tails.range::<[u32], _>((Unbounded, Included(tokens)));
        let (tail, name) = up_to.last()?;
        let same = tail.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        if same == tail.len() {
            return Some((tail, *name));
        }
        tokens = &tokens[..same];
    }
}
