//! Shards and checkpoints: what is read, and what is refused with which words.

#![allow(
    clippy::unwrap_used,
    reason = "clippy knows tests by their attribute only"
)]

mod support;

use std::path::Path;

use ds4_gguf::safetensors::{Checkpoint, Dtype, Shard};
use support::memory;

fn shard(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), data].concat()
}

fn entry(name: &str, dtype: &str, shape: &str, start: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
}

#[test]
fn a_shard_gives_its_tensors_in_the_order_of_their_bytes() {
    let header = format!(
        r#"{{"__metadata__":{{"format":"pt"}},{},{},{}}}  "#,
        entry("wkv.scale", "F8_E8M0", "[1,1]", 16, 17),
        entry("wkv.weight", "F8_E4M3", "[4, 4]", 0, 16),
        entry("one", "F32", "[]", 17, 21),
    );
    let data: Vec<u8> = (0..21).collect();
    let shard = Shard::from_bytes("memory", shard(&header, &data)).unwrap();
    assert_eq!(shard.metadata(), [("format".to_owned(), "pt".to_owned())]);
    let names: Vec<_> = shard
        .tensors()
        .iter()
        .map(|tensor| tensor.name.as_str())
        .collect();
    assert_eq!(names, ["wkv.weight", "wkv.scale", "one"]);
    let scale = shard.tensor("wkv.scale").unwrap();
    assert_eq!((scale.dtype, &*scale.shape), (Dtype::F8E8M0, &[1, 1][..]));
    assert_eq!(*shard.payload(scale), [16]);
    assert_eq!(
        *shard.payload(shard.tensor("one").unwrap()),
        [17, 18, 19, 20]
    );
    assert!(shard.tensor("two").is_none());
}

#[test]
fn sizes_follow_from_bits() {
    assert_eq!(
        Dtype::from_name("BF16").unwrap().bytes_of(&[3, 5]),
        Some(30)
    );
    assert_eq!(Dtype::F4.bytes_of(&[3]), None, "half a byte");
    assert_eq!(Dtype::F6E2M3.bytes_of(&[4]), Some(3));
    assert_eq!(Dtype::F64.bytes_of(&[u64::MAX, 0]), Some(0));
    assert_eq!(Dtype::F64.bytes_of(&[1 << 63, 2]), None);
}

#[test]
fn hostile_shards_are_refused_with_their_facts() {
    let one = |dtype, shape, start, end| format!("{{{}}}", entry("a", dtype, shape, start, end));
    let twice = format!("{{{0},{0}}}", entry("a", "I8", "[0]", 0, 0));
    let overlap = format!(
        "{{{},{}}}",
        entry("a", "I8", "[2]", 0, 2),
        entry("b", "I8", "[2]", 1, 3)
    );
    let same = format!(
        "{{{},{}}}",
        entry("a", "I8", "[2]", 0, 2),
        entry("b", "I8", "[2]", 0, 2)
    );
    let most = u64::MAX;
    let json =
        |column: u32, reason: &str| format!("JSON refused at line 1, column {column}: {reason}");
    let cases: Vec<(&str, Vec<u8>, String)> = vec![
        (
            "empty file",
            vec![],
            "the file ends inside header length: 8 bytes from byte 0 on, but it has 0 bytes".into(),
        ),
        (
            "length of 2^64-1",
            most.to_le_bytes().to_vec(),
            format!("header length is {most}, the limit is 100000000"),
        ),
        (
            "length past the end",
            [&99u64.to_le_bytes()[..], b"{}"].concat(),
            "the file ends inside header: 99 bytes from byte 8 on, but it has 10 bytes".into(),
        ),
        (
            "empty header",
            shard("", b""),
            "not a safetensors file: the header begins with None, not an opening brace".into(),
        ),
        (
            "leading space",
            shard(" {}", b""),
            "not a safetensors file: the header begins with Some(20), not an opening brace".into(),
        ),
        (
            "not JSON",
            shard("{x}", b""),
            json(2, "key must be a string"),
        ),
        (
            "text behind",
            shard("{} x", b""),
            json(4, "trailing characters"),
        ),
        (
            "tensor that is a number",
            shard(r#"{"a":1}"#, b""),
            json(
                6,
                "invalid type: integer `1`, expected an object of dtype, shape and data_offsets",
            ),
        ),
        (
            "rank 9",
            shard(&one("I8", "[1,1,1,1,1,1,1,1,1]", 0, 1), b"x"),
            json(46, "invalid length 9, expected at most 8 sizes"),
        ),
        (
            "size below zero",
            shard(&one("I8", "[-1]", 0, 1), b"x"),
            json(30, "invalid value: integer `-1`, expected u64"),
        ),
        (
            "notes twice",
            shard(r#"{"__metadata__":{},"__metadata__":{}}"#, b""),
            json(37, "__metadata__ appears twice"),
        ),
        (
            "name twice",
            shard(&twice, b""),
            "tensor \"a\": appears twice, as number 0 and number 1".into(),
        ),
        (
            "unknown dtype",
            shard(&one("Q4_\\u001b[2J", "[1]", 0, 1), b"x"),
            "tensor \"a\": unknown dtype \"Q4_\\u{1b}[2J\"".into(),
        ),
        (
            "offsets past the end",
            shard(&one("I8", "[9]", 0, 9), b"xy"),
            "tensor \"a\": data_offsets 0..9 do not lie inside the 2 bytes of data".into(),
        ),
        (
            "offsets backwards",
            shard(&one("I8", "[1]", 2, 1), b"xy"),
            "tensor \"a\": data_offsets 2..1 do not lie inside the 2 bytes of data".into(),
        ),
        (
            "shape and offsets apart",
            shard(&one("F32", "[3]", 0, 4), b"1234"),
            "tensor \"a\": shape [3] in F32 does not take the 4 bytes of its data_offsets".into(),
        ),
        (
            "product that overflows",
            shard(&one("F64", "[4294967296,4294967296]", 0, 4), b"1234"),
            "tensor \"a\": shape [4294967296, 4294967296] in F64 does not take the 4 bytes of \
             its data_offsets"
                .into(),
        ),
        (
            "hole",
            shard(&one("I8", "[1]", 1, 2), b"xy"),
            "tensor \"a\": bytes 61..62 before it belong to no tensor".into(),
        ),
        (
            "bytes left over",
            shard(&one("I8", "[1]", 0, 1), b"xy"),
            "bytes 62..63 at the end of the file belong to no tensor".into(),
        ),
        (
            "overlap",
            shard(&overlap, b"xyz"),
            "tensor \"b\": bytes 114..116 overlap those of tensor \"a\", 113..115".into(),
        ),
        (
            "the same bytes twice",
            shard(&same, b"xy"),
            "tensor \"b\": bytes 113..115 overlap those of tensor \"a\", 113..115".into(),
        ),
    ];
    for (name, bytes, says) in cases {
        let (result, peak) = memory::peak(|| Shard::from_bytes("file", bytes));
        let error = result.err().unwrap_or_else(|| panic!("{name}: accepted"));
        assert_eq!(error.to_string(), format!("file: {says}"), "{name}");
        assert!(peak < 1 << 16, "{name}: {peak} bytes allocated");
    }
}

#[test]
fn a_header_costs_a_small_multiple_of_its_length() {
    let tensors: Vec<_> = (0..20_000)
        .map(|at| entry(&format!("t{at}"), "I8", "[0,0,0,0,0,0,0,0]", 0, 0))
        .collect();
    let bytes = shard(&format!("{{{}}}", tensors.join(",")), b"");
    let length = bytes.len();
    let (result, peak) = memory::peak(|| Shard::from_bytes("wide", bytes));
    assert_eq!(result.unwrap().tensors().len(), 20_000);
    assert!(
        peak < 8 * length,
        "{peak} bytes allocated for a header of {length}"
    );

    let shape = format!("[{}1]", "1,".repeat(1 << 20));
    let bytes = shard(&format!("{{{}}}", entry("a", "I8", &shape, 0, 1)), b"x");
    let length = bytes.len();
    let (result, peak) = memory::peak(|| Shard::from_bytes("long", bytes));
    assert!(result.unwrap_err().to_string().contains("invalid length 9"));
    assert!(
        peak < 2 * length,
        "{peak} bytes allocated for a header of {length}"
    );
}

#[test]
fn a_shard_cut_at_every_byte_is_refused() {
    let header = format!("{{{}}}", entry("a", "F16", "[2, 2]", 0, 8));
    let bytes = shard(&header, &[1; 8]);
    Shard::from_bytes("whole", bytes.clone()).unwrap();
    for cut in 0..bytes.len() {
        assert!(
            Shard::from_bytes("cut", bytes[..cut].to_vec()).is_err(),
            "cut at {cut}"
        );
    }
    for at in 0..bytes.len() {
        for change in [0x01, 0x80, 0xff, bytes[at]] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            support::bodies::safetensors_header(&changed);
        }
    }
}

/// A folder with two shards, and an index with these entries.
fn checkpoint(index: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let one = format!("{{{}}}", entry("embed.weight", "BF16", "[1, 2]", 0, 4));
    let two = format!(
        "{{{},{}}}",
        entry("norm.weight", "F32", "[1]", 0, 4),
        entry("spare", "I8", "[1]", 4, 5)
    );
    put("one.safetensors", &shard(&one, b"abcd"));
    put("two.safetensors", &shard(&two, b"efgh!"));
    let index = format!(r#"{{"metadata":{{"total_size":8}},"weight_map":{{{index}}}}}"#);
    put("model.safetensors.index.json", index.as_bytes());
    folder
}

#[test]
fn a_checkpoint_finds_each_tensor_in_its_shard() {
    let folder = checkpoint(r#""norm.weight":"two.safetensors","embed.weight":"one.safetensors""#);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.shards().len(), 2);
    let names: Vec<_> = checkpoint
        .tensors()
        .map(|tensor| tensor.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["embed.weight", "norm.weight"],
        "spare is not in the index"
    );
    assert_eq!(checkpoint.tensor("norm.weight").unwrap().dtype, Dtype::F32);
    assert_eq!(*checkpoint.payload("norm.weight").unwrap(), *b"efgh");
    assert!(checkpoint.payload("spare").is_none());
    checkpoint.check().unwrap();

    let single = tempfile::tempdir().unwrap();
    let from = folder.path().join("two.safetensors");
    std::fs::copy(from, single.path().join("model.safetensors")).unwrap();
    let checkpoint = Checkpoint::open(single.path()).unwrap();
    assert_eq!(*checkpoint.payload("spare").unwrap(), *b"!");
}

#[test]
fn an_index_that_lies_is_refused() {
    let says = |index: &str| {
        let folder = checkpoint(index);
        let text = Checkpoint::open(folder.path()).unwrap_err().to_string();
        let prefix = format!("{}/", folder.path().display());
        text.strip_prefix(&prefix).unwrap().to_owned()
    };
    let index = "model.safetensors.index.json";
    assert_eq!(
        says(r#""norm.weight":"one.safetensors""#),
        format!(
            "{index}: tensor \"norm.weight\": the index puts it into \"one.safetensors\", \
             which does not hold it"
        )
    );
    assert_eq!(
        says(r#""spare":"two.safetensors","spare":"two.safetensors""#),
        format!("{index}: tensor \"spare\": appears twice in the index")
    );
    for file in [
        "../one.safetensors",
        "/etc/passwd",
        "a/b",
        "..",
        ".",
        "one.safetensors/",
        "",
    ] {
        assert_eq!(
            says(&format!(r#""a":"{file}""#)),
            format!(
                "{index}: tensor \"a\": the index names the file \"{file}\"; \
                 only a plain file name is followed"
            )
        );
    }
    assert!(says(r#""a":"three.safetensors""#).starts_with("three.safetensors: cannot open: "));
    assert!(says(r#""a":1"#).starts_with(&format!("{index}: JSON refused at line 1, column ")));

    let empty = tempfile::tempdir().unwrap();
    let text = Checkpoint::open(Path::new(empty.path()))
        .unwrap_err()
        .to_string();
    assert!(text.contains("model.safetensors: cannot open: "), "{text}");
}
