//! The page that documents the format, and the program, say the same.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are outside of test functions"
)]

use ds4_store::tree::Kind;
use ds4_store::{Body, Head, Scope, Tenant, record};

const PAGE_TOKENS: usize = 512;

/// The record that the page shows.
fn example() -> (Head, Vec<u8>, Vec<u8>) {
    let scope = Scope::new(&[0x11; 32], Tenant::default());
    let first: Vec<u32> = (0..512).collect();
    let before = scope.next(scope.root(), &first);
    let (state, open) = (b"frontier".to_vec(), b"rows".to_vec());
    let head = Head {
        kind: Some(Kind::Turn),
        identity: [0x11; 32],
        root: scope.root(),
        before,
        name: scope.next(before, &[7, 70_000]),
        at: 514,
        tokens: [7, 70_000].into(),
        state: 8,
        open: 4,
    };
    (head, state, open)
}

/// The bytes in the page's listing.
fn documented() -> Vec<u8> {
    let page = include_str!("../../../docs/formats/kv-store.md");
    let listing = page.split("```hex\n").nth(1).unwrap();
    let listing = listing.split("```").next().unwrap();
    let digits: Vec<char> = listing
        .lines()
        .flat_map(|line| line.split('|').next().unwrap().chars())
        .filter(char::is_ascii_hexdigit)
        .collect();
    let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn the_documented_example_is_what_is_written_and_read() {
    let (head, state, open) = example();
    let mut written = head.write();
    written.extend(&state);
    written.extend(&open);
    written.extend(record::checksum(&state, &open));
    let documented = documented();
    assert_eq!(documented, written);
    let read = Head::read(&documented, documented.len() as u64, PAGE_TOKENS).unwrap();
    assert_eq!(read, head);
    let scope = Scope::new(&[0x11; 32], Tenant::default());
    read.check(&[0x11; 32], &scope, head.name).unwrap();
    let begin = documented.len() - (8 + 4 + 32);
    let body = Body::check(documented[begin..].to_vec(), &read).unwrap();
    assert_eq!((&body.state[..], &body.open[..]), (&state[..], &open[..]));
}

#[test]
fn every_cut_and_every_changed_bit_of_the_example_is_refused() {
    let (head, state, open) = example();
    let mut bytes = head.write();
    let begin = bytes.len();
    bytes.extend(&state);
    bytes.extend(&open);
    bytes.extend(record::checksum(&state, &open));
    let accepts = |bytes: &[u8]| {
        let head = Head::read(bytes, bytes.len() as u64, PAGE_TOKENS);
        head.is_ok_and(|head| Body::check(bytes[begin..].to_vec(), &head).is_ok())
    };
    assert!(accepts(&bytes));
    for cut in 0..bytes.len() {
        assert!(!accepts(&bytes[..cut]), "cut at {cut}");
    }
    for bit in 0..8 * bytes.len() {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(!accepts(&bytes), "bit {bit}");
    }
}
