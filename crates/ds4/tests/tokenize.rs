//! `ds4 tokenize` as a user runs it: stdin to stdout, and its exit codes.

#![allow(
    clippy::unwrap_used,
    reason = "the lint spares test functions, not their helpers"
)]

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn ds4(args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ds4"))
        .arg("tokenize")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command line that is refused closes its stdin early.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

/// The published tokenizer.json, unpacked into `folder`.
fn published(folder: &Path) -> String {
    let packed = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../prompt/tests/data/tokenizer.json.gz"
    );
    let mut json = Vec::new();
    let packed = std::fs::File::open(packed).unwrap();
    flate2::read::GzDecoder::new(packed)
        .read_to_end(&mut json)
        .unwrap();
    let path = folder.join("tokenizer.json");
    std::fs::write(&path, json).unwrap();
    path.to_str().unwrap().to_owned()
}

#[track_caller]
fn check(args: &[&str], stdin: &[u8], code: i32, stdout: &str, stderr: &str) {
    let output = ds4(args, stdin);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), stdout, "{said}");
    assert!(said.contains(stderr), "{said:?} does not say {stderr:?}");
    assert_eq!(stderr.is_empty(), said.is_empty(), "{said}");
    assert_eq!(output.status.code(), Some(code));
}

#[test]
fn tokens_of_stdin() {
    let folder = tempfile::tempdir().unwrap();
    let file = published(folder.path());
    let from = ["--tokenizer", &file];
    check(
        &from,
        b"Hello, world!",
        0,
        "19923\t\"Hello\"\n14\t\",\"\n2058\t\" world\"\n3\t\"!\"\n",
        "",
    );
    check(&from, b"", 0, "", "");
    check(&from, b"\n\n", 0, "271\t\"\\n\\n\"\n", "");
    let emoji = "28927\tb\"\\xf0\\x9f\\x98\"\n225\tb\"\\x80\"\n";
    check(&from, "😀".as_bytes(), 0, emoji, "");

    let json = |text: &str| text.to_owned() + "\n";
    let wanted =
        json(r#"{"ids":[28927,225],"tokens":[{"id":28927,"hex":"f09f98"},{"id":225,"hex":"80"}]}"#);
    check(
        &[&from[..], &["--json"]].concat(),
        "😀".as_bytes(),
        0,
        &wanted,
        "",
    );
    let wanted = json(r#"{"ids":[128822],"tokens":[{"id":128822,"text":"</think>"}]}"#);
    check(
        &[&from[..], &["--json", "--added"]].concat(),
        b"</think>",
        0,
        &wanted,
        "",
    );
    let plain = ds4(&from, b"</think>").stdout;
    assert!(!plain.is_empty() && !plain.starts_with(b"128822"));

    check(
        &from,
        b"ab\xFFc",
        1,
        "",
        "stdin is not UTF-8: byte 2 is 0xff",
    );
}

#[test]
fn failures_and_command_lines_that_make_no_sense() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.json");
    let file = path.to_str().unwrap();
    check(&["--tokenizer", file], b"", 1, "", "other.json");
    std::fs::write(&path, r#"{"model": {"type": "Unigram"}}"#).unwrap();
    check(
        &["--tokenizer", file],
        b"",
        1,
        "",
        "/model/type: expected \"BPE\", found \"Unigram\"",
    );
    check(&["-m", file], b"", 1, "", "other.json");
    check(&[], b"", 2, "", "--tokenizer");
    check(
        &["--tokenizer", file, "-m", file],
        b"",
        2,
        "",
        "cannot be used with",
    );
}
