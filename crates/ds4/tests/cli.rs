//! The program as a user meets it: output, errors, exit codes, and nothing left behind.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use ds4_gguf::write::{MetadataBuf, Plan, Writer};

fn ds4(folder: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ds4"));
    command.current_dir(folder).args(line.split_whitespace());
    // No settings of whoever runs the tests, and no terminal to chat on.
    command.env("XDG_CONFIG_HOME", folder).stdin(Stdio::null());
    command.output().expect("the program starts")
}

/// stdout of a command line that must succeed.
fn succeeds(folder: &Path, line: &str) -> String {
    let output = ds4(folder, line);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{line}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// stderr of a command line that must end with `code`.
fn fails(folder: &Path, line: &str, code: i32) -> String {
    let output = ds4(folder, line);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{line}: {}",
        text(&output.stderr)
    );
    text(&output.stderr)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn inspect_describes_a_synthetic_model() {
    let folder = folder();
    succeeds(folder.path(), "synth mini --recipe q2 -o mini.gguf");
    let page = succeeds(folder.path(), "inspect mini.gguf");
    assert_eq!(page, include_str!("inspect-mini-q2.txt"), "now:\n{page}");
    let listed = succeeds(folder.path(), "inspect mini.gguf --tensors");
    assert!(listed.starts_with(&page));
    assert_eq!(listed.lines().count(), page.lines().count() + 2 + 154);
}

#[test]
fn inspect_speaks_json() {
    let folder = folder();
    succeeds(folder.path(), "synth mini -o mini.gguf --seed 7");
    let json = succeeds(
        folder.path(),
        "inspect mini.gguf --json --tensors --contexts 1000,2000",
    );
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["model"]["profile"], "mini");
    assert_eq!(json["model"]["recipe"], "float");
    assert_eq!(json["formats"]["BF16"]["tensors"], 78);
    assert_eq!(json["tokenizer"]["special"]["｜DSML｜"], 473);
    assert_eq!(json["tensor_list"].as_array().map(Vec::len), Some(154));
    let tokens = json["model"]["conversations"].as_array().expect("a list");
    assert_eq!(tokens[1]["tokens"], 2000);
}

#[test]
fn the_same_seed_makes_the_same_file() {
    let folder = folder();
    for (name, seed) in [("a", 3), ("b", 3), ("c", 4)] {
        succeeds(
            folder.path(),
            &format!("synth tiny --seed {seed} -o {name}.gguf"),
        );
    }
    let read = |name: &str| std::fs::read(folder.path().join(name)).expect("a file");
    assert!(read("a.gguf") == read("b.gguf"));
    assert!(read("a.gguf") != read("c.gguf"));
}

#[test]
fn shared_layers_are_reported() {
    let folder = folder();
    succeeds(folder.path(), "synth mini --share 1 -o whole.gguf");
    let page = succeeds(folder.path(), "inspect whole.gguf");
    assert!(page.contains("point at the payload of another"), "{page}");
    let (file, all) = (
        std::fs::metadata(folder.path().join("whole.gguf"))
            .expect("a file")
            .len(),
        succeeds(folder.path(), "inspect whole.gguf --json"),
    );
    let all: serde_json::Value = serde_json::from_str(&all).expect("JSON");
    let bytes = all["formats"]["BF16"]["bytes"].as_u64().expect("a number");
    assert!(file < bytes, "{file} bytes hold {bytes} bytes of BF16");
}

#[test]
fn draft_blocks_are_recognised_with_their_model() {
    let folder = folder();
    succeeds(folder.path(), "synth mini -o mini.gguf");
    succeeds(folder.path(), "synth mini --draft -o draft.gguf");
    let page = succeeds(folder.path(), "inspect draft.gguf --model mini.gguf");
    assert!(page.contains("MTP draft block"), "{page}");
    let error = fails(folder.path(), "inspect draft.gguf", 1);
    assert!(
        error.contains("fits neither DeepSeek V4 Flash nor PRO"),
        "{error}"
    );
    assert!(
        error.contains("hint: name the main model it is for with --model FILE"),
        "{error}"
    );
}

#[test]
fn files_that_cannot_be_run_are_described_then_refused() {
    let folder = folder();
    let mut metadata = MetadataBuf::new();
    metadata.set("general.architecture", "llama\u{1b}[31m");
    let writer = Writer::to_memory(Plan::new(&metadata, &[]).expect("a legal file"));
    let bytes = writer.finish().expect("no payloads");
    std::fs::write(folder.path().join("other.gguf"), bytes).expect("written");
    let output = ds4(folder.path(), "inspect other.gguf");
    assert_eq!(output.status.code(), Some(1));
    let page = text(&output.stdout);
    assert!(
        page.contains("none that ds4 runs (architecture: llama\\u{1b}[31m)"),
        "{page}"
    );
    let error = text(&output.stderr);
    assert!(
        !error.contains('\u{1b}') && !page.contains('\u{1b}'),
        "escapes stay in the file"
    );
    assert!(error.contains("hint: ds4 runs DeepSeek V4 only"), "{error}");

    std::fs::write(folder.path().join("text.gguf"), "hello, world").expect("written");
    let error = fails(folder.path(), "inspect text.gguf", 1);
    assert!(
        error.starts_with("error: ") && error.contains("not a GGUF file"),
        "{error}"
    );
    let error = fails(folder.path(), "inspect absent.gguf", 1);
    assert!(error.contains("absent.gguf"), "{error}");
}

#[test]
fn senseless_command_lines_end_with_2() {
    let folder = folder();
    for line in [
        "",
        "frobnicate",
        "inspect a b",
        "inspect a --contexts 0",
        "synth mini",
        "synth huge -o a",
        "synth mini -o a --recipe q3",
        "synth mini -o a --layers 6",
        "synth mini -o a --layers 0",
        "synth mini -o a --share 1 --draft",
        "synth flash -o a --recipe float",
    ] {
        fails(folder.path(), line, 2);
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("a folder").count(),
        0
    );
}

#[test]
fn help_teaches_by_example() {
    let folder = folder();
    let help = succeeds(folder.path(), "--help");
    for part in [
        "ds4 synth mini -o mini.gguf",
        "ds4 inspect mini.gguf",
        "ds4 help inspect",
    ] {
        assert!(help.contains(part), "{help}");
    }
}

#[test]
fn an_impossible_recipe_leaves_no_file() {
    let folder = folder();
    let error = fails(folder.path(), "synth tiny --recipe q2 -o tiny.gguf", 1);
    assert!(
        error.contains("rows of 128 values are not whole IQ2_XXS blocks of 256"),
        "{error}"
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("a folder").count(),
        0
    );
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let folder = folder();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ds4"))
        .current_dir(folder.path())
        .args(["synth", "wide", "--recipe", "q2", "-o", "wide.gguf"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let files = || std::fs::read_dir(folder.path()).expect("a folder").count();
    while files() == 0 {
        assert!(
            child.try_wait().expect("a child").is_none(),
            "it ended before it began to write"
        );
        std::thread::yield_now();
    }
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.expect("kill").success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert!(
        text(&output.stderr).contains("cancelled"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(files(), 0);
}
