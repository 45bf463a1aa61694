//! Several stores on one directory.

use std::thread;

use ds4_store::files::System;
use ds4_store::{Kind, ReadError};
use tempfile::tempdir;

use crate::rig::{open, open_with, options, restore, size, write};

fn tokens(from: u32, count: u32) -> Vec<u32> {
    (from..from + count).collect()
}

#[test]
fn what_one_wrote_the_other_does_not_write_again_and_can_use() {
    let dir = tempdir().unwrap();
    let (one, two) = (open(dir.path()), open(dir.path()));
    write(&one, &tokens(0, 23), Kind::Turn);
    one.flush();
    write(&two, &tokens(0, 27), Kind::Turn);
    two.flush();
    let report = two.report();
    assert_eq!(report.written, 2, "one more page and its own frontier");
    assert_eq!(restore(&two, &tokens(0, 99)).unwrap(), 27);
    assert_eq!(
        restore(&one, &tokens(0, 25)).unwrap_or(0),
        0,
        "replaced by the other"
    );
}

/// Both write, read and evict at once, in a budget that holds a part. Nobody ever reads anything
/// wrong, and the directory stays within bounds.
#[test]
fn two_at_once_in_little_room() {
    let dir = tempdir().unwrap();
    let mut options = options(dir.path());
    options.bytes = 80_000;
    let work = |seed: u32| {
        let disk = open_with(options.clone(), System);
        let mut hits = 0;
        for round in 0..60 {
            let who = (round * 7 + seed * 3) % 10;
            let history = tokens(1000 * who, 9 + round % 20);
            match restore(&disk, &history) {
                Ok(at) => hits += usize::from(at > 0),
                // The other one removed it in between: a miss.
                Err(ReadError::Io(error)) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
                }
                Err(ReadError::Refused(refused)) => panic!("{refused}"),
            }
            write(&disk, &history, Kind::Turn);
            disk.flush();
            // A file that is renamed while somebody counts may be counted twice.
            assert!(size(&options.dir) <= options.bytes + 4000);
        }
        hits
    };
    let hits: usize = thread::scope(|scope| {
        let threads = [1, 2].map(|seed| scope.spawn(move || work(seed)));
        threads.map(|thread| thread.join().unwrap()).iter().sum()
    });
    assert!(hits > 0);
    let disk = open_with(options.clone(), System);
    assert_eq!(disk.report().used, size(dir.path()));
}
