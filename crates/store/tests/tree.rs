//! The prefix tree against a list that is searched from one end to the other.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are outside of test functions"
)]

use std::collections::{BTreeMap, BTreeSet};

use ds4_store::{Chain, Freed, FreedPage, Kind, Lost, Name, New, Scope, Shared, Tenant, Tree};
use proptest::prelude::*;

const PAGE: usize = 3;

fn scope(tenant: u8) -> Scope {
    Scope::new(&[1; 32], Tenant::of(&[tenant]))
}

/// A tree whose pages are numbers, and everything that should be in it.
struct Both {
    tree: Tree<u64, u64>,
    /// Frontiers by tenant and tokens.
    kept: BTreeMap<(u8, Vec<u32>), u64>,
    names: BTreeMap<Name, (u8, Vec<u32>)>,
    /// Pages that the tree holds.
    held: BTreeSet<u64>,
    next: u64,
}

impl Both {
    fn new() -> Self {
        Self {
            tree: Tree::new(PAGE),
            kept: BTreeMap::new(),
            names: BTreeMap::new(),
            held: BTreeSet::new(),
            next: 0,
        }
    }

    /// What came back was there, and is not any more.
    fn take(&mut self, freed: Freed<u64, u64>) -> Vec<Vec<u32>> {
        for FreedPage { page, .. } in freed.pages {
            assert!(self.held.remove(&page), "page {page} came back twice");
        }
        let mut gone = Vec::new();
        for (name, frontier) in freed.frontiers {
            let key = self.names[&name].clone();
            if self.kept.get(&key) == Some(&frontier) {
                self.kept.remove(&key);
                gone.push(key.1);
            }
        }
        gone
    }

    fn insert(&mut self, tenant: u8, tokens: &[u32], kind: Kind, now: f64) -> Vec<Vec<u32>> {
        let mut chain = Chain::new(scope(tenant), PAGE);
        self.next += 1;
        let new = New {
            frontier: self.next,
            kind,
            bytes: 5,
            page_bytes: 10,
            now,
        };
        let (next, held) = (&mut self.next, &mut self.held);
        let freed = self.tree.insert(&mut chain, tokens, new, |_| {
            *next += 1;
            held.insert(*next);
            *next
        });
        let full = chain.names(tokens).last().copied();
        let full = full.unwrap_or_else(|| scope(tenant).root());
        let name = scope(tenant).next(full, &tokens[tokens.len() / PAGE * PAGE..]);
        let key = (tenant, tokens.to_vec());
        self.names.insert(name, key.clone());
        self.kept.entry(key).or_insert(new.frontier);
        self.take(freed)
    }

    fn evict(&mut self, now: f64) -> Vec<Vec<u32>> {
        let freed = self.tree.evict(now, |_| true);
        freed.map_or(Vec::new(), |freed| self.take(freed))
    }

    /// Position and frontier, by looking at all of them.
    fn find(&self, tenant: u8, tokens: &[u32]) -> Option<(usize, u64)> {
        let on_path = self
            .kept
            .iter()
            .filter(|((its, kept), _)| *its == tenant && tokens.starts_with(kept));
        on_path
            .map(|((_, kept), &frontier)| (kept.len(), frontier))
            .max()
    }

    /// What a tenant holds, counted page by page.
    fn bytes_of(&self, tenant: u8) -> usize {
        let own = self.kept.keys().filter(|(its, _)| *its == tenant);
        let pages: BTreeSet<&[u32]> = own
            .clone()
            .flat_map(|(_, tokens)| (1..=tokens.len() / PAGE).map(|at| &tokens[..at * PAGE]))
            .collect();
        5 * own.count() + 10 * pages.len()
    }

    fn check(&self, tenant: u8, tokens: &[u32]) {
        let found = self.tree.find(&scope(tenant), tokens);
        let found = found.map(|found| {
            assert_eq!(found.pages.len(), found.at / PAGE);
            assert!(found.pages.iter().all(|page| self.held.contains(page)));
            (found.at, *found.frontier)
        });
        assert_eq!(found, self.find(tenant, tokens));
    }

    fn check_sizes(&self) {
        assert_eq!(self.tree.len(), self.kept.len());
        assert_eq!(self.tree.frontier_bytes(), 5 * self.kept.len() as u64);
        assert_eq!(self.tree.pages(), self.held.len());
        // Pages are those that some frontier needs, each once.
        let needed: BTreeSet<_> = self
            .kept
            .keys()
            .flat_map(|(tenant, tokens)| {
                (1..=tokens.len() / PAGE).map(move |pages| (*tenant, &tokens[..pages * PAGE]))
            })
            .collect();
        assert_eq!(needed.len(), self.held.len());
    }
}

#[derive(Clone, Debug)]
enum Act {
    Insert(u8, Vec<u32>, Kind),
    Find(u8, Vec<u32>),
    Evict,
    Cut(u8, Vec<u32>),
}

fn act() -> impl Strategy<Value = Act> {
    // Two tokens and two tenants: paths meet and part all the time.
    let tokens = prop::collection::vec(0..2u32, 0..14);
    let kind = prop_oneof![Just(Kind::Distance), Just(Kind::Turn), Just(Kind::Cut)];
    prop_oneof![
        4 => (0..2u8, tokens.clone(), kind).prop_map(|(a, b, c)| Act::Insert(a, b, c)),
        4 => (0..2u8, tokens.clone()).prop_map(|(a, b)| Act::Find(a, b)),
        1 => (0..2u8, tokens).prop_map(|(a, b)| Act::Cut(a, b)),
        1 => Just(Act::Evict),
    ]
}

proptest! {
    #[test]
    fn finds_what_a_search_of_everything_finds(
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut both = Both::new();
        for (now, act) in acts.into_iter().enumerate() {
            match act {
                Act::Insert(tenant, tokens, kind) => {
                    for gone in both.insert(tenant, &tokens, kind, now as f64) {
                        prop_assert!(gone.len() < tokens.len() && tokens.starts_with(&gone));
                    }
                    both.check(tenant, &tokens);
                }
                Act::Find(tenant, tokens) => both.check(tenant, &tokens),
                Act::Evict => {
                    both.evict(now as f64);
                }
                Act::Cut(tenant, tokens) => {
                    let mut chain = Chain::new(scope(tenant), PAGE);
                    let names = chain.names(&tokens).to_vec();
                    let known = both.tree.known(&names).len();
                    let Some(&last) = names[..known].last() else {
                        continue;
                    };
                    let freed = both.tree.cut(last);
                    both.take(freed);
                    prop_assert!(!both.tree.has_page(last));
                    let begin = &tokens[..known * PAGE];
                    let below = |key: &(u8, Vec<u32>)| key.0 == tenant && key.1.starts_with(begin);
                    prop_assert!(!both.kept.keys().any(below));
                }
            }
            both.check_sizes();
        }
        while !both.tree.is_empty() {
            both.evict(0.0);
        }
        both.check_sizes();
    }
}

proptest! {
    /// Three tenants ask one after the other, one of them most of the time, within a budget.
    #[test]
    fn nobody_is_pushed_below_an_equal_share(
        acts in prop::collection::vec((0..9u8, prop::collection::vec(0..3u32, 1..14)), 1..150),
    ) {
        let mut both = Both::new();
        let budget = 300;
        for (now, (tenant, tokens)) in acts.into_iter().enumerate() {
            let now = now as f64;
            both.insert(tenant.saturating_sub(6), &tokens, Kind::Cut, now);
            while (0..3).map(|tenant| both.bytes_of(tenant)).sum::<usize>() > budget {
                let before = [0, 1, 2].map(|tenant| both.bytes_of(tenant));
                let holding = before.iter().filter(|&&bytes| bytes > 0).count();
                both.evict(now);
                for (tenant, before) in before.iter().enumerate() {
                    if before * holding < budget {
                        prop_assert_eq!(both.bytes_of(tenant as u8), *before);
                    }
                }
            }
        }
    }
}

#[test]
fn a_share_is_not_kept_for_ever() {
    let mut both = Both::new();
    both.insert(0, &tokens(3), Kind::Cut, 0.0);
    for at in 1..4 {
        both.insert(1, &tokens(3 * at), Kind::Cut, 4000.0);
    }
    assert_eq!(both.evict(4000.0), [tokens(3)], "an hour is over");
    both.insert(0, &tokens(3), Kind::Cut, 4000.0);
    assert_ne!(both.evict(5000.0), [tokens(3)]);
}

#[test]
fn what_somebody_reads_stays() {
    let mut both = Both::new();
    both.insert(0, &[1, 1, 1, 1], Kind::Cut, 0.0);
    both.insert(0, &[2, 2, 2, 2], Kind::Cut, 9000.0);
    let first = both.tree.find(&scope(0), &[1, 1, 1, 1]).unwrap().name;
    both.tree.pin(first);
    both.tree.pin(first);
    both.tree.unpin(first);
    assert_eq!(both.evict(9000.0), [[2, 2, 2, 2]]);
    assert!(both.tree.evict(9000.0, |_| true).is_none());
    both.tree.unpin(first);
    assert_eq!(both.evict(9000.0), [[1, 1, 1, 1]]);
}

fn tokens(count: u32) -> Vec<u32> {
    (0..count).collect()
}

#[test]
fn a_turn_replaces_the_one_before_it_and_nothing_else() {
    let mut both = Both::new();
    assert!(both.insert(0, &tokens(4), Kind::Cut, 0.0).is_empty());
    assert!(both.insert(0, &tokens(7), Kind::Distance, 0.0).is_empty());
    assert!(both.insert(0, &tokens(8), Kind::Turn, 0.0).is_empty());
    assert_eq!(both.insert(0, &tokens(20), Kind::Turn, 0.0), [tokens(8)]);
    assert_eq!(
        both.insert(0, &tokens(20), Kind::Cut, 0.0).len(),
        0,
        "promoted, so it stays"
    );
    assert_eq!(both.insert(0, &tokens(26), Kind::Turn, 0.0).len(), 0);
}

#[test]
fn a_turn_where_a_conversation_forks_stays() {
    let mut both = Both::new();
    both.insert(0, &tokens(8), Kind::Turn, 0.0);
    let mut other = tokens(8);
    other.extend([99, 98]);
    // Superseded: nobody went another way yet.
    assert_eq!(both.insert(0, &other, Kind::Turn, 0.0), [tokens(8)]);
    both.insert(0, &tokens(8), Kind::Turn, 0.0);
    assert_eq!(both.insert(0, &tokens(12), Kind::Turn, 0.0).len(), 0);
    both.check(0, &tokens(12));
}

#[test]
fn a_side_request_does_not_cost_a_conversation_its_prefix() {
    let mut both = Both::new();
    for turn in [300, 310, 320] {
        both.insert(0, &tokens(turn), Kind::Turn, 0.0);
    }
    for side in 0..20 {
        let now = f64::from(side) * 60.0;
        let mut other = vec![1000 + side; 4];
        other.push(0);
        both.insert(0, &other, Kind::Turn, now);
        if both.tree.len() > 5 {
            assert_eq!(both.evict(now).len(), 1);
        }
    }
    both.check(0, &tokens(321));
    assert_eq!(both.find(0, &tokens(321)).unwrap().0, 320);
}

#[test]
fn use_keeps_and_time_takes() {
    let mut both = Both::new();
    both.insert(0, &[1, 1, 1, 1], Kind::Cut, 0.0);
    both.insert(0, &[2, 2, 2, 2], Kind::Cut, 10_000.0);
    let first = both.tree.find(&scope(0), &[1, 1, 1, 1]).unwrap().name;
    for _ in 0..3 {
        both.tree.touch(first, 9000.0);
    }
    assert_eq!(both.evict(10_000.0), [[2, 2, 2, 2]]);
    both.insert(0, &[2, 2, 2, 2], Kind::Cut, 100_000.0);
    assert_eq!(both.evict(100_000.0), [[1, 1, 1, 1]]);
}

#[test]
fn what_frees_nothing_stays() {
    let mut both = Both::new();
    both.insert(0, &tokens(4), Kind::Cut, 0.0);
    both.insert(0, &[9, 9, 9, 9], Kind::Cut, 5000.0);
    let held: Vec<u64> = both.held.iter().copied().collect();
    // A session works on the page of the first one: letting go of it would free nothing.
    let freed = both.tree.evict(5000.0, |lost| match lost {
        Lost::Page(&page) => page == held[1],
        Lost::Frontiers(..) => false,
    });
    assert_eq!(both.take(freed.unwrap()), [[9, 9, 9, 9]]);
    assert!(both.tree.evict(0.0, |_| false).is_none());
}

/// A short conversation is one open page with several frontiers: none of them frees it alone.
#[test]
fn what_is_held_together_goes_together() {
    let mut both = Both::new();
    both.insert(0, &tokens(10), Kind::Cut, 0.0);
    let long = both.next;
    for short in [&[900][..], &[900, 901]] {
        both.insert(0, short, Kind::Cut, 0.0);
    }
    let shares = |frontier: &u64| (*frontier > long).then_some(Shared { id: 1, bytes: 1 });
    let frees = |lost: Lost<'_, u64, u64>| match lost {
        Lost::Page(_) => true,
        Lost::Frontiers(frontier, count) => *frontier > long && count == 2,
    };
    let freed = both.tree.evict_shared(0.0, shares, frees).unwrap();
    let mut gone = both.take(freed);
    gone.sort();
    assert_eq!(gone, [vec![900], vec![900, 901]]);
    both.check_sizes();
    let freed = both.tree.evict_shared(0.0, shares, frees).unwrap();
    assert_eq!(both.take(freed), [tokens(10)]);
}
