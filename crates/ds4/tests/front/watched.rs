//! What is only there on a terminal: bars, questions, Ctrl-C in the middle of work.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::command::{Home, model};
use crate::terminal::Terminal;

#[test]
fn a_long_prompt_shows_how_far_it_is() {
    let home = Home::new();
    let words = "some words that are read before anything is said ".repeat(1000);
    std::fs::write(home.file("long.txt"), words).unwrap();
    let mut terminal = Terminal::start(home.program().args([
        "-m",
        &model(),
        "-t",
        "1",
        "--ctx",
        "32768",
        "-f",
        "long.txt",
        "-n",
        "2",
        "--temp",
        "0",
        "--nothink",
    ]));
    terminal.wait_for("reading ");
    let bar = terminal.wait_for("left");
    assert!(bar.contains(" of ") && bar.contains("tokens, "), "{bar}");
    terminal.wait_for("/s, ");
    terminal.interrupt();
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(130), "{text}");
}

#[test]
fn an_interrupted_benchmark_keeps_what_it_measured() {
    let home = Home::new();
    let sweep = "bench --synthetic mini-q2:3 -t 1 -n 4 --ctx-start 64 --step-incr 2048 --ctx-max 60000 \
                 --device cpu --json part.json";
    let mut terminal = Terminal::start(home.program().args(sweep.split_whitespace()));
    terminal.wait_for("reading to 4160");
    terminal.interrupt();
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(130), "{text}");
    assert!(
        text.contains("these are the points that were measured"),
        "{text}"
    );
    let report = std::fs::read_to_string(home.file("part.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["complete"], false);
    let points = report["points"].as_array().unwrap();
    assert!(points.len() >= 2, "64 and 2112: {report}");
    assert_eq!(points[1]["ctx_tokens"], 2112);
    assert!(points[1]["gen_tps"]["median"].as_f64() > Some(0.0));
}

/// A machine with a card as large as none is.
fn with_a_large_card(home: &Home) -> String {
    let tool = home.file("nvidia-smi");
    std::fs::write(&tool, "#!/bin/sh\necho 'Imagined card, 200000'\n").unwrap();
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    home.path().display().to_string()
}

/// Pulls on such a machine, from where nobody listens.
fn pull(home: &Home, words: &[&str]) -> Terminal {
    let path = with_a_large_card(home);
    let mut command = home.program();
    command
        .env("PATH", path)
        .env("HF_ENDPOINT", "http://127.0.0.1:9")
        .arg("pull")
        .args(words);
    // The command goes at the end of this, and with it our side of the terminal.
    Terminal::start(&mut command)
}

#[test]
fn a_download_nobody_named_is_asked_for_first() {
    let home = Home::new();
    for answer in ["\r", "no\r"] {
        let mut terminal = pull(&home, &[]);
        terminal.wait_for("the best that Imagined card with 210 GB of memory holds");
        terminal.wait_for("? [y/N]");
        terminal.keys(answer);
        let (status, text) = terminal.end();
        assert_eq!(status.code(), Some(1), "{text}");
        assert!(text.contains("nothing was downloaded"), "{text}");
        assert!(text.contains("hint: ds4 pull "), "{text}");
        assert!(!text.contains("127.0.0.1"), "nobody was asked: {text}");
    }
    // With a yes it goes and looks.
    let mut terminal = pull(&home, &["--patience", "1"]);
    terminal.wait_for("? [y/N]");
    terminal.keys("y\r");
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains("127.0.0.1:9"), "{text}");
}
