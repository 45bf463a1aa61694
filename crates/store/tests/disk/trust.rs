//! What is read is what was written, or it is refused.

use std::fs;

use ds4_store::{Kind, Pool, ReadError, Refused, Scope, Shelf, Tenant};
use proptest::prelude::*;
use tempfile::tempdir;

use crate::rig::{IDENTITY, open, records, restore, scope, write};

#[test]
fn another_process_finds_what_was_written() {
    let dir = tempdir().unwrap();
    let tokens: Vec<u32> = (0..23).collect();
    let disk = open(dir.path());
    write(&disk, &tokens, Kind::Turn);
    disk.flush();
    assert_eq!(restore(&disk, &tokens).unwrap(), 23);
    let written = disk.report().written;
    assert_eq!(written, 6);
    // Written once, whoever asks.
    write(&disk, &tokens, Kind::Turn);
    write(&disk, &tokens[..20], Kind::Cut);
    disk.flush();
    assert_eq!(disk.report().written, written + 1);
    drop(disk);
    let disk = open(dir.path());
    let more: Vec<u32> = (0..100).collect();
    assert_eq!(restore(&disk, &more).unwrap(), 23);
    assert_eq!(restore(&disk, &tokens[..22]).unwrap(), 20);
    assert_eq!(restore(&disk, &[5]).unwrap(), 0);
    let report = disk.report();
    assert_eq!((report.frontiers, report.pages), (2, 5));
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempdir().unwrap();
    let disk = open(dir.path());
    write(&disk, &[1, 2, 3, 4, 5], Kind::Turn);
    disk.flush();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let found = disk.find(&scope(), &[1, 2, 3, 4, 5]).unwrap();
    let kv = dir.path().join("kv");
    for folder in ["", "pages", "frontiers", "tmp"] {
        assert_eq!(mode(&kv.join(folder)), 0o700, "{folder}");
    }
    let frontier = kv.join("frontiers").join(found.frontier.to_string());
    let page = kv.join("pages").join(found.pages[0].to_string());
    for file in [frontier, page, kv.join("lock")] {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn of_another_model_or_tenant_is_refused_by_name() {
    let dir = tempdir().unwrap();
    let disk = open(dir.path());
    let tokens = [1, 2, 3, 4, 5];
    write(&disk, &tokens, Kind::Turn);
    disk.flush();
    let found = disk.find(&scope(), &tokens).unwrap();
    let stranger = Scope::new(&IDENTITY, Tenant::of(b"stranger"));
    assert_eq!(disk.find(&stranger, &tokens), None);
    let read = |identity: &[u8; 32], scope: &Scope| {
        let read = disk.read(
            Shelf::Frontiers,
            found.frontier,
            identity,
            scope,
            &Pool::new(0, 0),
        );
        match read.unwrap_err() {
            ReadError::Refused(refused) => refused,
            ReadError::Io(error) => panic!("{error}"),
        }
    };
    assert_eq!(read(&IDENTITY, &stranger), Refused::Tenant);
    disk.flush();
    write(&disk, &tokens, Kind::Turn);
    disk.flush();
    // It was refused and removed, and is not written again at once.
    assert_eq!(restore(&disk, &tokens).unwrap(), 0);
    let other = tempdir().unwrap();
    let disk = open(other.path());
    write(&disk, &tokens, Kind::Turn);
    disk.flush();
    let read = disk.read(
        Shelf::Frontiers,
        found.frontier,
        &[8; 32],
        &scope(),
        &Pool::new(0, 0),
    );
    assert!(matches!(read, Err(ReadError::Refused(Refused::Foreign))));
}

/// One of these happens to a file.
#[derive(Clone, Debug)]
enum Damage {
    Flip(f64, u8),
    Cut(f64),
    Grow(u8),
    /// The contents of another record.
    Swap,
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = 0.0..1.0f64;
    prop_oneof![
        4 => (place.clone(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        // Half of the time in the head, which is short.
        4 => (0.0..0.1f64, 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        3 => place.prop_map(Damage::Cut),
        1 => any::<u8>().prop_map(Damage::Grow),
        1 => Just(Damage::Swap),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Several files are damaged in any way: after a repair all that is there is sound, and what
    /// was not damaged and does not need what was is still there.
    #[test]
    fn repair_removes_damage_and_nothing_else(
        damages in prop::collection::vec((damage(), 0..7usize), 1..4),
    ) {
        use ds4_store::{Directory, care};
        let dir = tempdir().unwrap();
        let tokens: Vec<u32> = (0..15).collect();
        let disk = open(dir.path());
        write(&disk, &tokens[..5], Kind::Cut);
        write(&disk, &tokens, Kind::Cut);
        write(&disk, &[50, 51, 52, 53, 54], Kind::Cut);
        disk.flush();
        drop(disk);
        let directory = Directory::at(&dir.path().join("kv"));
        let path = |item: &ds4_store::directory::Item| directory.file(item.shelf, item.name);
        let items = care::survey(&directory, crate::rig::PAGE).unwrap();
        prop_assert_eq!(items.len(), 7);
        for (damage, which) in damages {
            let mut bytes = fs::read(path(&items[which])).unwrap();
            let place = |at: f64| (bytes.len() as f64 * at) as usize;
            match damage {
                _ if bytes.is_empty() => {}
                Damage::Flip(at, bit) => {
                    let at = place(at);
                    bytes[at] ^= 1 << bit;
                }
                Damage::Cut(at) => bytes.truncate(place(at)),
                Damage::Grow(byte) => bytes.push(byte),
                Damage::Swap => bytes = fs::read(path(&items[(which + 1) % 7])).unwrap(),
            }
            fs::write(path(&items[which]), bytes).unwrap();
        }
        let is_sound = |item: &ds4_store::directory::Item| {
            item.head.is_ok() && care::verify(&directory, item, crate::rig::PAGE).is_ok()
        };
        let items = care::survey(&directory, crate::rig::PAGE).unwrap();
        let sound = items.iter().filter(|item| is_sound(item)).count();
        let disk = open(dir.path());
        let repaired = items.iter().filter(|item| !care::repair(&disk, item)).count();
        prop_assert_eq!(repaired, items.len() - sound);
        disk.tidy();
        let left = care::survey(&directory, crate::rig::PAGE).unwrap();
        prop_assert!(left.iter().all(is_sound));
        let sound_paths: Vec<_> = items.iter().filter(|item| is_sound(item)).map(path).collect();
        prop_assert!(left.iter().all(|item| sound_paths.contains(&path(item))));
        // Every frontier that is left can be gone on from.
        let report = disk.report();
        let frontiers = left.iter().filter(|item| item.shelf == Shelf::Frontiers).count();
        prop_assert_eq!(report.frontiers, frontiers);
        prop_assert_eq!(report.used, crate::rig::size(dir.path()));
        for tokens in [&tokens[..], &[50, 51, 52, 53, 54]] {
            restore(&disk, tokens).unwrap();
        }
        if repaired == 0 {
            prop_assert_eq!(left.len(), 7);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Whatever happens to a file, before or after the directory is read: it is refused with a
    /// reason, it is gone after that, and a shallower place serves.
    #[test]
    fn damage_is_refused(damage in damage(), which in 0..5usize, is_late in any::<bool>()) {
        let dir = tempdir().unwrap();
        let tokens: Vec<u32> = (0..15).collect();
        let disk = open(dir.path());
        write(&disk, &tokens[..5], Kind::Cut);
        write(&disk, &tokens, Kind::Cut);
        disk.flush();
        let puts = records(&scope(), &tokens, Kind::Cut);
        let folder = |put: &ds4_store::Put| match Shelf::of(&put.head) {
            Shelf::Pages => "pages",
            Shelf::Frontiers => "frontiers",
        };
        let path = |put: &ds4_store::Put| {
            dir.path().join("kv").join(folder(put)).join(put.head.name.to_string())
        };
        let put = &puts[which % puts.len()];
        let mut bytes = fs::read(path(put)).unwrap();
        let place = |at: f64| (bytes.len() as f64 * at) as usize;
        match damage {
            Damage::Flip(at, bit) => {
                let at = place(at);
                bytes[at] ^= 1 << bit;
            }
            Damage::Cut(at) => bytes.truncate(place(at)),
            Damage::Grow(byte) => bytes.push(byte),
            Damage::Swap => bytes = fs::read(path(&puts[(which + 1) % puts.len()])).unwrap(),
        }
        fs::write(path(put), bytes).unwrap();
        let disk = match is_late {
            true => disk,
            false => {
                drop(disk);
                open(dir.path())
            }
        };
        let first = restore(&disk, &tokens);
        if let Err(error) = &first {
            prop_assert!(matches!(error, ReadError::Refused(_)), "{error}");
            prop_assert!(disk.report().trouble.unwrap().contains(&error.to_string()));
        }
        disk.flush();
        let second = restore(&disk, &tokens).unwrap();
        // Page 0 is needed by both frontiers.
        prop_assert_eq!(second, if which % puts.len() == 0 { 0 } else { 5 });
    }
}
