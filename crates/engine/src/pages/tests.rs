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
    Keep(usize),
    LetGo(usize),
    Adopt(usize, usize),
}

/// A kept frontier: its pages, and what they should hold.
struct Frontier {
    pages: Vec<u32>,
    wanted: Vec<u32>,
}

fn act() -> impl Strategy<Value = Act> {
    let (who, much) = (0..4usize, 0..3 * TOKENS);
    prop_oneof![
        (who.clone(), much.clone()).prop_map(|(a, n)| Act::Write(a, n)),
        (who.clone(), who.clone()).prop_map(|(a, b)| Act::Fork(a, b)),
        (who.clone(), much.clone()).prop_map(|(a, n)| Act::Rewind(a, n)),
        (who.clone(), much).prop_map(|(a, n)| Act::Promise(a, n)),
        who.clone().prop_map(Act::Keep),
        (0..100usize).prop_map(Act::LetGo),
        (who, 0..100usize).prop_map(|(a, n)| Act::Adopt(a, n)),
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
        let mut kept = Vec::<Frontier>::new();
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
                Act::Keep(a) => {
                    let frontier = Frontier {
                        pages: tables[a].pages().to_vec(),
                        wanted: wanted[a].clone(),
                    };
                    for (at, &page) in frontier.pages.iter().enumerate() {
                        let tokens = wanted[a].len() - at * PAGE_TOKENS;
                        pages.keep(page, tokens.min(PAGE_TOKENS) as u32);
                    }
                    kept.push(frontier);
                }
                Act::LetGo(n) if !kept.is_empty() => {
                    let frontier = kept.remove(n % kept.len());
                    frontier.pages.iter().for_each(|&page| pages.let_go(page));
                }
                Act::Adopt(a, n) if !kept.is_empty() => {
                    let frontier = &kept[n % kept.len()];
                    let copy = |from, to| {
                        for at in 0..TOKENS {
                            if let Some(&value) = stored.get(&(from, at)) {
                                stored.insert((to, at), value);
                            }
                        }
                        Ok::<(), Admission>(())
                    };
                    let at = frontier.wanted.len() as u32;
                    let mut table = pages.share(frontier.pages.clone());
                    // The open page, if there is one, for good; whoever wrote it may go on in it.
                    let to = at.next_multiple_of(TOKENS);
                    let mut none = Promise::default();
                    if pages.open(&mut table, at, to, &mut none, copy).is_ok() {
                        pages.close(std::mem::replace(&mut tables[a], table));
                        wanted[a] = frontier.wanted.clone();
                    } else {
                        pages.close(table);
                    }
                }
                Act::LetGo(_) | Act::Adopt(..) => {}
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
            let mut kept_by = [0; 10];
            for frontier in &kept {
                frontier.pages.iter().for_each(|&page| kept_by[page as usize] += 1);
                for (pos, value) in (0u32..).zip(&frontier.wanted).step_by(41) {
                    let page = frontier.pages[(pos / TOKENS) as usize];
                    prop_assert_eq!(stored.get(&(page, pos % TOKENS)), Some(value));
                }
            }
            let unseen = || (0..10).filter(|&page| seen_by[page] == 0);
            let free = unseen().filter(|&page| kept_by[page] == 0).count();
            prop_assert_eq!(pages.free.len(), free);
            prop_assert_eq!(pages.idle, unseen().count() - free);
            prop_assert_eq!(pages.promised, promises.iter().map(|p| p.0).sum::<usize>());
            prop_assert!(pages.promised <= free);
        }
    }
}
