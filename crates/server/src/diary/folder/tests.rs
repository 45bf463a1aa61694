//! Many small files in a folder.

use std::collections::BTreeSet;

use super::super::entry::{Entry, Reply};
use super::*;
use crate::tenant::Tenant;

/// An entry of about a kilobyte.
fn entry(at: u64) -> Vec<u8> {
    let entry = Entry::Reply(Reply {
        id: format!("resp_{at}"),
        before: None,
        input: Vec::new(),
        output: Vec::new(),
        reply: serde_json::Value::from("x".repeat(1000)),
    });
    let tenant = Tenant::EVERYBODY;
    let mut bytes = Vec::new();
    Dated { at, tenant, entry }.write(&mut bytes);
    bytes
}

#[test]
fn small_files_are_joined_until_they_are_not_small() {
    let path = tempfile::tempdir().unwrap();
    let folder = Folder::make(path.path(), 1 << 20).unwrap();
    let (own, other) = ([1; 32], [2; 32]);
    for at in 0..400 {
        let identity = if at % 40 == 39 { &other } else { &own };
        folder.write(identity, at, &entry(at)).unwrap();
        let files = folder.files().unwrap();
        let small = files.iter().filter(|found| found.bytes < folder.large());
        assert!(small.count() <= MOST_FILES + 10, "after {at}");
        let large = 2 * folder.large();
        assert!(files.iter().all(|found| found.bytes < large));
    }
    assert!(folder.files().unwrap().len() < 90);
    folder.erase(&own, Tenant::EVERYBODY, "resp_5").unwrap();
    let read = |identity| {
        let read = folder.read(identity, |complaint| panic!("{complaint}"));
        read.unwrap().iter().map(|dated| dated.at).collect()
    };
    let wanted = |is_own: bool| (0..400).filter(move |at| (at % 40 != 39) == is_own);
    let found: Vec<u64> = read(&other);
    assert_eq!(found, wanted(false).collect::<Vec<_>>());
    let found: Vec<u64> = read(&own);
    assert_eq!(
        found,
        wanted(true).filter(|at| *at != 5).collect::<Vec<_>>()
    );
    let unique: BTreeSet<u64> = found.iter().copied().collect();
    assert_eq!(unique.len(), found.len());
}
