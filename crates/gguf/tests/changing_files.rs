//! Files that change while they are mapped: the process lives, and the change is reported.

#![allow(
    clippy::unwrap_used,
    reason = "clippy knows tests by their attribute only"
)]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use ds4_gguf::safetensors::Shard;
use ds4_gguf::write::{MetadataBuf, Plan, TensorSpec, Writer};
use ds4_gguf::{Error, Format, Gguf};

const MIB: u64 = 1 << 20;

/// A file with one tensor of `mib` MiB of sevens.
fn write(path: &Path, mib: u64) {
    let mut metadata = MetadataBuf::new();
    metadata.set("general.name", "sevens");
    let spec = TensorSpec::new("sevens", &[MIB, mib], Format::I8);
    let mut writer = Writer::create(path, Plan::new(&metadata, &[spec]).unwrap()).unwrap();
    writer
        .payload("sevens", &vec![7; (mib * MIB) as usize])
        .unwrap();
    writer.finish().unwrap();
}

fn set_len(path: &Path, bytes: u64) {
    OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(bytes)
        .unwrap();
}

#[test]
fn a_file_that_shrinks_reads_as_zeros_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    write(&path, 4);
    let gguf = Gguf::open(&path).unwrap();
    let before = gguf.file_bytes();
    let payload = gguf.payload(&gguf.tensors()[0]);
    assert_eq!(payload[payload.len() - 1], 7);
    gguf.check().unwrap();

    set_len(&path, MIB);
    let sevens = payload.iter().filter(|&&byte| byte == 7).count() as u64;
    assert!(sevens < MIB, "{sevens} sevens in a file of 1 MiB");
    assert!(payload.iter().all(|&byte| byte == 7 || byte == 0));
    let error = gguf.check().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: changed while it was in use ({before} bytes when opened, {MIB} now, \
             some of it could not be read); load it again",
            path.display()
        )
    );

    // The header was read, not mapped: it outlives the file's bytes.
    set_len(&path, 0);
    assert_eq!(gguf.metadata().str("general.name").unwrap(), "sevens");

    // Growing again does not wash it clean.
    set_len(&path, before);
    assert!(matches!(
        gguf.check(),
        Err(Error::Changed { faulted: true, .. })
    ));
    let says = Gguf::open(&path).unwrap_err().to_string();
    assert!(
        says.contains("not a GGUF file: it begins with [00, 00, 00, 00]"),
        "{says}"
    );
}

#[test]
fn many_threads_may_meet_the_missing_pages_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    write(&path, 8);
    let gguf = Gguf::open(&path).unwrap();
    let payload = gguf.payload(&gguf.tensors()[0]);
    set_len(&path, 4096);
    std::thread::scope(|scope| {
        for part in payload.chunks(MIB as usize) {
            scope.spawn(move || part.iter().rev().map(|&byte| u64::from(byte)).sum::<u64>());
        }
    });
    assert!(matches!(
        gguf.check(),
        Err(Error::Changed { faulted: true, .. })
    ));
}

#[test]
fn one_file_shrinks_and_its_neighbours_are_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    ["a", "b", "c"]
        .iter()
        .for_each(|name| write(&path(name), 1));
    let open = |name: &str| Gguf::open(&path(name)).unwrap();
    let (a, b, c) = (open("a"), open("b"), open("c"));
    set_len(&path("b"), 0);
    for gguf in [&a, &b, &c] {
        let sevens = gguf
            .payload(&gguf.tensors()[0])
            .iter()
            .filter(|&&byte| byte == 7)
            .count();
        let expected = if gguf.name() == b.name() {
            0
        } else {
            MIB as usize
        };
        assert_eq!(sevens, expected, "{}", gguf.name());
    }
    a.check().unwrap();
    assert!(b.check().is_err());
    c.check().unwrap();

    // A mapping that takes the place of a marked one begins without the mark.
    drop(b);
    write(&path("b"), 1);
    open("b").check().unwrap();
}

#[test]
fn a_file_written_in_place_is_noticed_and_one_replaced_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    write(&path, 1);
    let gguf = Gguf::open(&path).unwrap();
    // Renamed over: the mapping still shows the old file, whole.
    write(&path, 2);
    gguf.check().unwrap();
    assert_eq!(gguf.payload(&gguf.tensors()[0]).len() as u64, MIB);

    let gguf = Gguf::open(&path).unwrap();
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all(b"GGUF").unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    file.set_modified(later).unwrap();
    let says = gguf.check().unwrap_err().to_string();
    assert!(
        says.contains("bytes, but modified since it was opened); load it again"),
        "{says}"
    );
}

#[test]
fn a_shard_that_shrinks_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let header = format!(r#"{{"w":{{"dtype":"I8","shape":[{MIB}],"data_offsets":[0,{MIB}]}}}}"#);
    let mut file = File::create(&path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes())
        .unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.write_all(&vec![7; MIB as usize]).unwrap();
    let shard = Shard::open(&path).unwrap();
    set_len(&path, 100);
    let payload = shard.payload(&shard.tensors()[0]);
    assert!(payload[4096..].iter().all(|&byte| byte == 0));
    assert!(matches!(
        shard.check(),
        Err(Error::Changed { faulted: true, .. })
    ));
}

#[test]
fn warming_touches_everything_and_can_be_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    write(&path, 40);
    let gguf = Gguf::open(&path).unwrap();
    let mut calls = Vec::new();
    let all = &mut |done, total| {
        calls.push((done, total));
        ControlFlow::Continue(())
    };
    gguf.warm(all).unwrap();
    let total = gguf.file_bytes();
    assert_eq!(calls, [(32 * MIB, total), (total, total)]);
    let stopped = gguf.warm(&mut |_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::Cancelled { .. })));
    gguf.payload(&gguf.tensors()[0]).will_need().unwrap();

    set_len(&path, MIB);
    let error = gguf
        .warm(&mut |_, _| ControlFlow::Continue(()))
        .unwrap_err();
    assert!(
        matches!(error, Error::Changed { faulted: true, .. }),
        "{error}"
    );
}
