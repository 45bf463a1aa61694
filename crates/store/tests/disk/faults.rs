//! Killed at every operation, and out of room.

use std::sync::atomic::Ordering::SeqCst;

use ds4_store::Kind;
use tempfile::tempdir;

use crate::rig::{Fate, Faulty, open, open_with, options, restore, size, write};

fn tokens(count: u32) -> Vec<u32> {
    (0..count).collect()
}

/// A conversation of three turns, one of which replaces another, and a branch.
fn live(disk: &ds4_store::Disk) {
    write(disk, &tokens(14), Kind::Turn);
    write(disk, &tokens(23), Kind::Turn);
    let mut branch = tokens(9);
    branch.extend([99; 8]);
    write(disk, &branch, Kind::Cut);
    write(disk, &tokens(30), Kind::Turn);
    disk.flush();
}

#[test]
fn killed_at_any_operation_it_opens_again_with_everything_before() {
    let operations = {
        let dir = tempdir().unwrap();
        let files = Faulty::new(Fate::default());
        live(&open_with(options(dir.path()), files.clone()));
        files.0.operations.load(SeqCst)
    };
    assert!(operations > 20, "{operations}");
    for last in 0..operations {
        let dir = tempdir().unwrap();
        let checkpoint = tokens(7);
        let disk = open(dir.path());
        write(&disk, &checkpoint, Kind::Cut);
        disk.flush();
        drop(disk);
        let fate = Fate {
            dies_after: Some(last),
            ..Fate::default()
        };
        live(&open_with(options(dir.path()), Faulty::new(fate)));

        let disk = open(dir.path());
        let at = restore(&disk, &tokens(40)).unwrap();
        assert!(
            [7, 14, 23, 30].contains(&at),
            "{at} after {last} operations"
        );
        assert!(restore(&disk, &checkpoint).unwrap() == 7);
        // What is counted is what is there.
        assert_eq!(
            disk.report().used,
            size(dir.path()),
            "after {last} operations"
        );
        // And it can go on.
        live(&disk);
        assert_eq!(restore(&disk, &tokens(40)).unwrap(), 30);
        assert_eq!(disk.report().used, size(dir.path()));
    }
}

#[test]
fn a_full_medium_costs_what_is_new_and_nothing_else() {
    for is_honest in [true, false] {
        for room in (9_000..40_000).step_by(1700) {
            let dir = tempdir().unwrap();
            let disk = open(dir.path());
            write(&disk, &tokens(7), Kind::Cut);
            disk.flush();
            drop(disk);
            let fate = Fate {
                room: Some(room),
                is_honest,
                ..Fate::default()
            };
            let disk = open_with(options(dir.path()), Faulty::new(fate));
            live(&disk);
            let report = disk.report();
            assert_eq!(report.used, size(dir.path()));
            assert!(report.used <= room);
            if report.dropped > 0 {
                assert!(report.trouble.is_some());
            }
            let at = restore(&disk, &tokens(40)).unwrap();
            // With an honest system room is made, if need be of what was there.
            assert!([7, 14, 23, 30].contains(&at) || is_honest, "{at} in {room}");
            drop(disk);
            let disk = open(dir.path());
            assert_eq!(restore(&disk, &tokens(40)).unwrap(), at);
            assert_eq!(disk.report().used, size(dir.path()));
        }
    }
}

/// The same with a budget that has something removed all the time.
#[test]
fn killed_while_making_room_it_still_counts_right() {
    for last in 0..80 {
        let dir = tempdir().unwrap();
        let mut options = options(dir.path());
        options.bytes = 27_000;
        let fate = Fate {
            dies_after: Some(last),
            ..Fate::default()
        };
        live(&open_with(options.clone(), Faulty::new(fate)));
        assert!(size(dir.path()) <= options.bytes);
        let disk = open_with(options, ds4_store::files::System);
        restore(&disk, &tokens(40)).unwrap();
        assert_eq!(
            disk.report().used,
            size(dir.path()),
            "after {last} operations"
        );
        live(&disk);
        assert!(restore(&disk, &tokens(40)).unwrap() > 0);
        assert_eq!(disk.report().used, size(dir.path()));
    }
}
