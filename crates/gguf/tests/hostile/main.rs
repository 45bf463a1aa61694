//! Files made to do harm, as a table: each is refused with the facts, in bounded memory.

#![allow(
    clippy::unwrap_used,
    reason = "clippy knows tests by their attribute only"
)]

mod cases;
#[path = "../support/mod.rs"]
mod support;

use cases::{ARRAY, BOOL, Case, F32, F64, I32, Q8_0, STRING, U32};
use ds4_gguf::{Gguf, limits};
use support::memory;
use support::raw::{self, Raw};

#[test]
fn every_case_is_refused_with_its_facts_in_bounded_memory() {
    let mut names = std::collections::HashSet::new();
    for Case { name, bytes, says } in cases::all() {
        assert!(
            names.insert((name, says.clone())),
            "two cases are the same: {name}"
        );
        let bytes = bytes.into_bytes();
        let length = bytes.len();
        let (result, peak) = memory::peak(|| Gguf::from_bytes("file.gguf", bytes));
        let error = result.err().unwrap_or_else(|| panic!("{name}: accepted"));
        assert_eq!(error.to_string(), format!("file.gguf: {says}"), "{name}");
        // The header is copied while its buffer doubles, and lists begin with room for 4096.
        let allowed = 3 * length.min(limits::MAX_HEADER_BYTES as usize) + (1 << 20);
        assert!(
            peak <= allowed,
            "{name}: {peak} bytes allocated for a file of {length}"
        );
    }
    assert!(names.len() >= 60, "{} cases", names.len());
}

/// A file that uses every part of the format; its last payload ends 20 bytes before the file.
fn small() -> Vec<u8> {
    raw::head(3, 5)
        .key("general.alignment", U32)
        .u32(32)
        .key("name", STRING)
        .text("Ωmega")
        .key("words", ARRAY)
        .u32(STRING)
        .u64(2)
        .text("a")
        .text("")
        .key("flags", ARRAY)
        .u32(BOOL)
        .u64(2)
        .bytes(&[1, 0])
        .key("nested", ARRAY)
        .u32(ARRAY)
        .u64(1)
        .u32(I32)
        .u64(1)
        .u32(5)
        .tensor("a", &[32, 2], Q8_0, 0)
        .tensor("b", &[3], F32, 96)
        .tensor("c", &[3], F32, 96)
        .data(128)
        .into_bytes()
}

#[test]
fn a_small_file_cut_at_every_byte_is_refused() {
    let bytes = small();
    let whole = Gguf::from_bytes("whole", bytes.clone()).unwrap();
    let end = whole
        .tensors()
        .iter()
        .map(|tensor| tensor.end())
        .max()
        .unwrap() as usize;
    assert_eq!(end, bytes.len() - 20);
    for cut in 0..bytes.len() {
        let (result, peak) = memory::peak(|| Gguf::from_bytes("cut.gguf", bytes[..cut].to_vec()));
        assert!(peak < 1 << 20, "cut at {cut}: {peak} bytes allocated");
        if cut >= end {
            // Only padding is missing; writers that do not pad the last payload make such files.
            assert_eq!(result.unwrap().file_bytes(), cut as u64);
            continue;
        }
        let says = result
            .err()
            .unwrap_or_else(|| panic!("accepted, cut at {cut}"))
            .to_string();
        assert!(says.starts_with("cut.gguf: "), "cut at {cut}: {says}");
        let facts = [
            format!("but it has {cut} bytes"),
            format!("exceed the file's {cut} bytes"),
        ];
        assert!(
            facts.iter().any(|fact| says.ends_with(fact)),
            "cut at {cut}: {says}"
        );
    }
}

#[test]
fn a_small_file_with_any_byte_changed_is_refused_or_still_whole() {
    let bytes = small();
    for at in 0..bytes.len() {
        for change in [0x01, 0x80, 0xff, bytes[at]] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            support::bodies::gguf_header(&changed);
        }
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let says = |name: &str| {
        Gguf::open(&folder.path().join(name))
            .unwrap_err()
            .to_string()
    };
    let shown = |name: &str| folder.path().join(name).display().to_string();
    assert_eq!(
        says("missing.gguf"),
        format!(
            "{}: cannot open: No such file or directory (os error 2)",
            shown("missing.gguf")
        )
    );
    std::fs::create_dir(folder.path().join("folder.gguf")).unwrap();
    assert_eq!(
        says("folder.gguf"),
        format!("{}: not a regular file", shown("folder.gguf"))
    );
    std::fs::write(folder.path().join("empty.gguf"), b"").unwrap();
    assert_eq!(
        says("empty.gguf"),
        format!(
            "{}: the file ends inside magic: 4 bytes from byte 0 on, but it has 0 bytes",
            shown("empty.gguf")
        )
    );
    if std::path::Path::new("/dev/zero").exists() {
        let says = Gguf::open("/dev/zero".as_ref()).unwrap_err().to_string();
        assert_eq!(says, "/dev/zero: not a regular file");
    }
}

#[test]
fn a_sparse_terabyte_costs_what_its_header_costs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse.gguf");
    let open = |head: Raw| {
        std::fs::write(&path, head.into_bytes()).unwrap();
        std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        memory::peak(|| Gguf::open(&path))
    };

    let dims = [1 << 18, 1 << 19];
    let (result, peak) = open(raw::head(1, 0).tensor("sparse", &dims, F64, 0));
    // 2^40 bytes of payload and a header do not fit into 2^40 bytes.
    let says = result.unwrap_err().to_string();
    assert!(
        says.ends_with("exceed the file's 1099511627776 bytes"),
        "{says}"
    );
    assert!(peak < 2 << 20, "{peak} bytes allocated");

    let (result, peak) = open(raw::head(1, 0).tensor("sparse", &[1 << 18, 1 << 18], F64, 0));
    let gguf = result.unwrap();
    assert_eq!(gguf.payload(&gguf.tensors()[0]).len(), 1 << 39);
    assert!(peak < 2 << 20, "{peak} bytes allocated");

    // A million entries that exist only as zeros: a million keys without a name.
    let (result, peak) = open(raw::head(0, 1 << 20));
    let says = result.unwrap_err().to_string();
    assert!(
        says.ends_with("metadata key \"\": appears twice, as number 0 and number 1"),
        "{says}"
    );
    assert!(peak < 96 << 20, "{peak} bytes allocated");
}
