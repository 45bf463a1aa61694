//! Never more than was allowed, and never the same thing twice within a minute.

use std::sync::Arc;

use ds4_store::Kind;
use tempfile::tempdir;

use crate::rig::{Fate, Faulty, open_with, options, restore, size, write};

fn conversation(agent: u32, count: u32) -> Vec<u32> {
    let mut tokens: Vec<u32> = (0..8).collect();
    tokens.extend((0..count).map(|at| 1000 * (agent + 1) + at));
    tokens
}

#[test]
fn a_burst_of_agents_larger_than_the_budget() {
    let dir = tempdir().unwrap();
    let mut options = options(dir.path());
    options.bytes = 60_000;
    let files = Faulty::new(Fate::default());
    *files.0.most.lock().unwrap() = Some((options.dir.clone(), 0));
    let disk = open_with(options.clone(), files.clone());
    // Six agents that share their instructions take turns.
    for turn in 1..8 {
        for agent in 0..6 {
            write(&disk, &conversation(agent, 5 * turn), Kind::Turn);
        }
    }
    disk.flush();
    let report = disk.report();
    assert_eq!(report.used, size(dir.path()));
    assert!(report.dropped > 0 && report.written > 20, "{report:?}");
    let fate: &Arc<Fate> = &files.0;
    let most = fate.most.lock().unwrap().as_ref().unwrap().1;
    assert!(
        (options.bytes / 2..=options.bytes).contains(&most),
        "{most} bytes were there"
    );
    let writes = fate.writes.lock().unwrap();
    assert!(writes.values().all(|&writes| writes == 1));
    // What is left is whole.
    let served = (0..6).filter(|&agent| restore(&disk, &conversation(agent, 40)).unwrap() > 0);
    assert!(served.count() > 0);
}

#[test]
fn what_is_being_read_stays() {
    let dir = tempdir().unwrap();
    let mut options = options(dir.path());
    options.bytes = 45_000;
    let disk = open_with(options, Faulty::new(Fate::default()));
    let read = conversation(0, 24);
    write(&disk, &read, Kind::Turn);
    disk.flush();
    let found = disk.find(&crate::rig::scope(), &read).unwrap();
    let pin = disk.pin(found.frontier);
    let crowd = |from: u32| {
        for agent in from..from + 6 {
            // Each is worth more than the one being read.
            write(&disk, &conversation(agent, 4), Kind::Turn);
            disk.flush();
        }
    };
    crowd(1);
    assert!(disk.report().used <= 45_000);
    assert_eq!(restore(&disk, &read).unwrap(), read.len());
    drop(pin);
    crowd(11);
    assert!(restore(&disk, &read).unwrap() < read.len());
}

#[test]
fn what_the_medium_should_keep_free_stays_free() {
    let dir = tempdir().unwrap();
    let mut options = options(dir.path());
    options.free = 30_000;
    let fate = Fate {
        room: Some(70_000),
        is_honest: true,
        ..Fate::default()
    };
    let disk = open_with(options, Faulty::new(fate));
    for agent in 0..8 {
        write(&disk, &conversation(agent, 20), Kind::Turn);
    }
    disk.flush();
    assert!(size(dir.path()) <= 40_000);
    assert!(disk.report().frontiers > 0);
}

#[test]
fn one_that_can_never_fit_takes_nothing_from_others_for_long() {
    let dir = tempdir().unwrap();
    let mut options = options(dir.path());
    options.bytes = 30_000;
    let disk = open_with(options, Faulty::new(Fate::default()));
    write(&disk, &conversation(0, 200), Kind::Turn);
    disk.flush();
    assert_eq!(disk.report().frontiers, 0);
    write(&disk, &conversation(1, 10), Kind::Turn);
    disk.flush();
    assert_eq!(restore(&disk, &conversation(1, 10)).unwrap(), 18);
    assert_eq!(disk.report().used, size(dir.path()));
}

#[test]
fn tidying_keeps_within_a_smaller_budget_and_clearing_leaves_nothing() {
    use ds4_store::{Directory, care, files::System};
    let dir = tempdir().unwrap();
    let mut options = options(dir.path());
    let disk = open_with(options.clone(), System);
    for agent in 0..4 {
        write(&disk, &conversation(agent, 20), Kind::Turn);
    }
    disk.flush();
    drop(disk);
    let directory = Directory::at(&options.dir);
    let items = care::survey(&directory, crate::rig::PAGE).unwrap();
    assert_eq!(items.len(), 4 + 2 + 4 * 5);
    for item in &items {
        care::verify(&directory, item, crate::rig::PAGE).unwrap();
    }
    // A file of ours that is damaged, and one that is not ours.
    std::fs::write(directory.file(items[0].shelf, items[0].name), b"DS4KV").unwrap();
    let other = options.dir.join("pages/notes.txt");
    std::fs::write(&other, b"mine").unwrap();
    let damaged = care::verify(&directory, &items[0], crate::rig::PAGE);
    assert!(damaged.unwrap_err().to_string().contains("5 bytes"));
    options.bytes = 50_000;
    let disk = open_with(options, System);
    disk.tidy();
    let report = disk.report();
    assert!(report.used <= 50_000 && report.frontiers >= 1, "{report:?}");
    assert!(!directory.file(items[0].shelf, items[0].name).exists());
    assert_eq!(report.used + 4, size(dir.path()));
    drop(disk);
    let (files, bytes) = care::clear(&directory, &System).unwrap();
    // Which frontier was damaged depends on the order of names; the pages it leaves behind may be
    // among the files still, counted by their bytes alone.
    assert!(
        files >= report.frontiers + report.pages,
        "{files}, {report:?}"
    );
    assert_eq!(bytes, report.used);
    assert_eq!(size(dir.path()), 4, "what is not ours stays");
}
