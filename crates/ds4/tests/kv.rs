//! Conversations on disk, as a user meets them.

#![allow(
    clippy::unwrap_used,
    reason = "the lint spares test functions, not their helpers"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn ds4(folder: &Path, words: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ds4"));
    let command = command.current_dir(folder).args(words.split(' '));
    // No settings of whoever runs the tests.
    let command = command.env("XDG_CONFIG_HOME", folder);
    command.stdin(Stdio::null()).output().unwrap()
}

/// stdout and stderr, one after the other, of a command line that ends with this code.
fn says(folder: &Path, words: &str, code: i32) -> String {
    let output = ds4(folder, words);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

#[test]
fn a_conversation_outlives_the_process_and_can_be_looked_after() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    says(folder, "synth mini -o m.gguf", 0);
    fs::write(folder.join("question"), "What is kept of this? ".repeat(60)).unwrap();
    let ask = || {
        let run = "run -m m.gguf -f question --threads 1 --nothink --temp 0 -n 4 --json";
        let answer = says(folder, &format!("{run} --kv-disk-dir kv"), 0);
        let number = |key: &str| {
            let after = answer.split(&format!("\"{key}\":")).nth(1).unwrap();
            let digits = after.split(|c: char| !c.is_ascii_digit()).next();
            digits.unwrap().parse::<u64>().unwrap()
        };
        let text = answer.split("\"thoughts\"").next().unwrap().to_owned();
        (text, number("prompt_tokens"), number("cached_tokens"))
    };
    let (first, prompt, cached) = ask();
    assert_eq!(cached, 0);
    let (second, _, cached) = ask();
    assert_eq!(second, first);
    assert!(cached > prompt * 9 / 10, "{cached} of {prompt}");

    let listed = says(folder, "kv ls --kv-disk-dir kv", 0);
    assert!(
        listed.contains("answer") && listed.contains(" pages, "),
        "{listed}"
    );
    let name = listed.lines().nth(1).unwrap().split(' ').next().unwrap();
    let shown = says(
        folder,
        &format!("kv show {name} -m m.gguf --kv-disk-dir kv"),
        0,
    );
    assert!(
        shown.contains("What is kept of this? What is kept"),
        "{shown}"
    );
    assert!(says(folder, "kv verify --kv-disk-dir kv", 0).contains("sound"));

    let pages = folder.join("kv/pages");
    let page = fs::read_dir(&pages)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = fs::read(&page).unwrap();
    bytes[3000] ^= 1;
    fs::write(&page, bytes).unwrap();
    let verified = says(folder, "kv verify --kv-disk-dir kv", 1);
    let file = page.file_name().unwrap().to_str().unwrap();
    assert!(
        verified.contains(file) && verified.contains("1 of"),
        "{verified}"
    );
    let collected = says(folder, "kv gc --kv-disk-dir kv", 0);
    assert!(collected.contains("1 files were damaged"), "{collected}");
    assert!(says(folder, "kv verify --kv-disk-dir kv", 0).contains("sound"));
    assert_eq!(ask().0, first);
    let page = fs::read_dir(&pages).unwrap().next().unwrap().unwrap();
    let mut bytes = fs::read(page.path()).unwrap();
    bytes[3000] ^= 1;
    fs::write(page.path(), bytes).unwrap();
    // It is met, refused, and computed again.
    let (third, _, _) = ask();
    assert_eq!(third, first);
    assert!(says(folder, "kv verify --kv-disk-dir kv", 0).contains("sound"));

    assert!(says(folder, "kv gc --kv-disk-dir kv --kv-disk-space-mb 1", 0).contains("stay"));
    says(folder, "kv clear --kv-disk-dir kv", 0);
    assert!(says(folder, "kv ls --kv-disk-dir kv", 0).starts_with("0 frontiers"));
    assert_eq!(ask().2, 0);
}

#[test]
fn what_is_asked_of_nothing_is_explained() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    assert!(says(folder, "kv ls", 2).contains("--kv-disk-dir"));
    assert!(says(folder, "kv ls --kv-disk-dir .", 2).contains("holds no conversations"));
    assert!(says(folder, "kv show --kv-disk-dir .", 2).contains("<NAME>"));
    fs::create_dir_all(folder.join("kv/frontiers")).unwrap();
    fs::create_dir_all(folder.join("kv/pages")).unwrap();
    let missing = says(folder, "kv show abc --kv-disk-dir kv", 2);
    assert!(missing.contains("abc"), "{missing}");
}
