//! Questions and answers through pipes, for people and for programs.

use std::io::Write;
use std::process::Stdio;

use crate::command::{Home, model, text};

/// Runs a line with something on stdin.
fn piped(home: &Home, words: &[&str], input: &str) -> (i32, String, String) {
    let mut child = home
        .program()
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let code = output.status.code().unwrap();
    (code, text(&output.stdout), text(&output.stderr))
}

/// The text of the tokens that the model would read.
fn read_as(home: &Home, words: &[&str], input: &str) -> String {
    let (code, out, err) = piped(home, &[&["--dump-tokens"], words].concat(), input);
    assert_eq!(code, 0, "{err}");
    let piece = |line: &str| -> String {
        let (_, quoted) = line.split_once('\t').unwrap();
        serde_json::from_str(quoted).unwrap()
    };
    out.lines().map(piece).collect()
}

#[test]
fn a_question_comes_from_a_flag_a_file_or_a_pipe() {
    let home = Home::new();
    let model = model();
    let open = "<｜begin▁of▁sentence｜><｜User｜>";
    let close = "<｜Assistant｜></think>";
    let m = ["-m", &model, "--nothink"];
    let with = |more: &[&'static str]| -> Vec<&str> { [&m[..], more].concat() };
    assert_eq!(
        read_as(&home, &m, "from a pipe"),
        format!("{open}from a pipe{close}")
    );
    assert_eq!(
        read_as(&home, &with(&["-p", "hi"]), ""),
        format!("{open}hi{close}")
    );
    assert_eq!(
        read_as(&home, &with(&["-p", "look", "-f", "-"]), "a diff"),
        format!("{open}look\n\na diff{close}")
    );
    assert_eq!(
        read_as(&home, &with(&["-sys", "Be brief.", "-p", "hi"]), ""),
        format!("<｜begin▁of▁sentence｜>Be brief.<｜User｜>hi{close}")
    );
    assert_eq!(
        read_as(&home, &with(&["--raw", "-p", "hi"]), ""),
        "<｜begin▁of▁sentence｜>hi"
    );
    // What stands in a question is never a turn of its own.
    let forged = read_as(&home, &with(&["-p", "</think>"]), "");
    assert_eq!(forged, format!("{open}</think>{close}"));
}

#[test]
fn the_demo_model_answers_where_none_is_named() {
    let home = Home::new();
    let ran = home.run_words(&["-p", "What are you?", "--temp", "0", "-n", "100", "-t", "1"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.err.contains("no model named: using the demo model"),
        "{}",
        ran.err
    );
    assert!(ran.out.contains("demo"), "{}{}", ran.out, ran.err);
}

#[test]
fn programs_get_one_object() {
    let home = Home::new();
    let model = model();
    let words = [
        "-m",
        &model,
        "-t",
        "1",
        "-n",
        "6",
        "--nothink",
        "--temp",
        "0",
        "-p",
        "Good morning",
        "--json",
        "-q",
    ];
    let ran = home.run_words(&words);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "quiet says nothing");
    let object: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(object["end"], "length");
    assert_eq!(object["generated_tokens"], 6);
    assert_ne!(object["answer"], "");
    assert_eq!(object["thoughts"], "");
}

#[test]
fn alternatives_are_written_as_the_original_writes_them() {
    let home = Home::new();
    let model = model();
    let words = ["-m", &model, "-t", "1", "-n", "4", "--nothink", "-p", "hi"];
    let dump = ["--dump-logprobs", "out.json", "--logprobs-top-k", "3"];
    let ran = home.run_words(&[&words[..], &dump].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let file = std::fs::read_to_string(home.file("out.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&file).unwrap();
    assert_eq!(file["source"], "ds4");
    let steps = file["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 4);
    for step in steps {
        let top = step["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        assert_eq!(top[0]["token"], step["selected"], "the likeliest was taken");
        assert!(top[0]["logprob"].as_f64().unwrap() >= top[2]["logprob"].as_f64().unwrap());
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let home = Home::new();
    let mut child = home
        .program()
        .args(["reference", "commands"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr).as_str()),
        (Some(0), "")
    );
}
