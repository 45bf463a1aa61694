//! The verbs that compute, as a user meets them.

#![allow(
    clippy::unwrap_used,
    reason = "the lint spares test functions, not their helpers"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use ds4_gguf::write::{MetadataBuf, Plan, Writer};

/// A model of noise, made once for all tests of this file.
static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let made = ds4(folder.path(), &["synth", "mini", "-o", "mini.gguf"]);
    assert!(made.status.success());
    folder
});

fn folder() -> PathBuf {
    FOLDER.path().to_owned()
}

fn ds4(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ds4"));
    let command = command.current_dir(folder).args(words);
    // No settings of whoever runs the tests.
    let command = command.env("XDG_CONFIG_HOME", folder);
    command.stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// stdout and stderr of a command line that must succeed.
fn succeeds(words: &[&str]) -> (String, String) {
    let output = ds4(&folder(), words);
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

/// stderr of a command line that must fail with this status.
fn fails(status: i32, words: &[&str]) -> String {
    let output = ds4(&folder(), words);
    let talk = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{talk}");
    talk
}

const RUN: [&str; 7] = [
    "run",
    "-m",
    "mini.gguf",
    "--threads",
    "1",
    "-p",
    "Good morning",
];

fn run_with(more: &[&str]) -> (String, String) {
    succeeds(&[&RUN, more].concat())
}

#[test]
fn an_answer_is_on_stdout_and_the_figures_on_stderr() {
    let (answer, talk) = run_with(&["--nothink", "--seed", "7", "-n", "30"]);
    assert!(answer.ends_with('\n') && answer.len() > 20, "{answer:?}");
    assert!(
        talk.contains("; wrote ") && talk.contains("; seed 7"),
        "{talk}"
    );
    let (again, _) = run_with(&["--nothink", "--seed", "7", "-n", "30"]);
    assert_eq!(again, answer, "the same seed gives the same answer");
    let (other, _) = run_with(&["--nothink", "--seed", "8", "-n", "30"]);
    assert_ne!(other, answer);
}

#[test]
fn thoughts_are_no_part_of_the_answer() {
    let (answer, talk) = run_with(&["--temp", "0", "-n", "5"]);
    assert_eq!(answer, "", "five tokens of thought");
    assert!(
        talk.contains("wrote 5,") && talk.contains("cut off"),
        "{talk}"
    );
}

#[test]
fn a_system_text_makes_a_longer_prompt() {
    let read = |more: &[&str]| -> u32 {
        let (_, talk) = run_with(&[&["-n", "1", "--temp", "0"], more].concat());
        let (_, figures) = talk.split_once("read ").unwrap();
        figures.split(' ').next().unwrap().parse().unwrap()
    };
    assert!(read(&["--system", "Be brief."]) > read(&[]) + 3);
}

#[test]
fn what_cannot_be_done_is_said() {
    let talk = fails(1, &["run", "-m", "nothing.gguf", "-p", "x"]);
    assert!(talk.contains("nothing.gguf"), "{talk}");
    let talk = fails(2, &[&RUN[..], &["--temp=-1"]].concat());
    assert!(
        talk.contains("temperature is -1; it must be 0 to 100"),
        "{talk}"
    );
    let talk = fails(1, &[&RUN[..], &["--ctx", "4"]].concat());
    assert!(talk.contains("a context of 4 leaves no room"), "{talk}");

    let plan = Plan::new(&MetadataBuf::new(), &[]).unwrap();
    let bytes = Writer::to_memory(plan).finish().unwrap();
    std::fs::write(folder().join("bare.gguf"), bytes).unwrap();
    let talk = fails(1, &["run", "-m", "bare.gguf", "-p", "x"]);
    assert!(
        talk.contains("cannot use the tokenizer in bare.gguf"),
        "{talk}"
    );
}

/// Ctrl-C ends the answer, not the manners: what was written stays, the figures follow.
#[test]
#[cfg(unix)]
fn an_interrupt_ends_the_answer_cleanly() {
    use std::io::Read;

    // So long that no machine is done with it. What is drawn ends now and then; the likeliest
    // tokens of a model of noise go round in circles.
    let long = ["--nothink", "--temp", "0", "--ctx", "1000000"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_ds4"))
        .current_dir(folder())
        .args(RUN)
        .args(long)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    let talk = text(&output.stderr);
    assert!(talk.contains("interrupted"), "{talk}");
    assert_eq!(output.status.code(), Some(130));
}

/// Perplexity is the exponential of the mean of what `logprobs` prints.
#[test]
fn logprobs_and_perplexity_agree() {
    let words = "Some text of which every token has a price.";
    std::fs::write(folder().join("text.txt"), words).unwrap();
    let model = ["-m", "mini.gguf", "--threads", "1"];
    let (lines, _) = succeeds(&[&["logprobs", "--json", "-p", words], &model[..]].concat());
    let losses: Vec<f64> = lines
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["top"].as_array().unwrap().len(), 3);
            -line["logprob"].as_f64().unwrap()
        })
        .collect();
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    let (line, _) = succeeds(&[&["perplexity", "text.txt", "--all"], &model[..]].concat());
    let expected = format!("over {} tokens", losses.len());
    assert!(line.contains(&expected), "{line}");
    let perplexity: f64 = line.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(
        (perplexity / mean.exp() - 1.0).abs() < 1e-3,
        "{perplexity} and {}",
        mean.exp()
    );
    let (lines, _) = succeeds(&[&["logprobs", "--top", "2", "-p", words], &model[..]].concat());
    assert_eq!(lines.lines().count(), losses.len());
    assert_eq!(lines.lines().next().unwrap().split('\t').count(), 5);
}
