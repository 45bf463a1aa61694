//! The chat, driven through a pseudo-terminal.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::command::{Home, endless_model, model};
use crate::terminal::Terminal;

const GREEDY: [&str; 5] = ["--temp", "0", "--ctx", "2048", "--nothink"];

/// A chat with short answers that are the same every time.
fn chat(home: &Home, more: &[&str]) -> Terminal {
    chat_with(home, &model(), more)
}

fn chat_with(home: &Home, model: &str, more: &[&str]) -> Terminal {
    let mut words = vec!["-m", model, "-t", "1"];
    words.extend(GREEDY);
    words.extend(more);
    let mut terminal = Terminal::start(home.program().args(words));
    terminal.wait_for("/help lists the commands.");
    terminal.wait_for("ds4> ");
    terminal
}

/// Asks and waits for the figures: tokens of the prompt, those kept, those written.
fn ask(terminal: &mut Terminal, question: &str) -> (u32, u32, u32) {
    terminal.keys(&format!("{question}\r"));
    terminal.wait_for("\nread ");
    let line = terminal.wait_for("of the context");
    terminal.wait_for("ds4> ");
    let number = |text: &str| -> u32 { text.trim().split(' ').next().unwrap().parse().unwrap() };
    let kept = line
        .split_once(" tokens (")
        .map_or(0, |(_, rest)| number(rest));
    let (_, written) = line.split_once("wrote ").unwrap();
    (number(&line), kept, number(&written.replace(',', " ")))
}

/// What `/status` says is computed.
fn computed(terminal: &mut Terminal) -> u32 {
    terminal.keys("/status\r");
    terminal.wait_for("context   ");
    let count = terminal.wait_for(" of ");
    terminal.wait_for(" tokens computed, ");
    let held = terminal.wait_for("\n");
    terminal.wait_for("ds4> ");
    assert!(
        held.trim().ends_with("kB") || held.trim().ends_with("MB"),
        "a short conversation of a small model holds {held}"
    );
    count
        .replace(',', "")
        .trim_end_matches(" of ")
        .parse()
        .unwrap()
}

fn leave(mut terminal: Terminal) {
    terminal.keys("/quit\r");
    let (status, text) = terminal.end();
    assert!(status.success(), "{text}");
}

/// What `/save` wrote.
fn saved(terminal: &mut Terminal, path: &Path) -> serde_json::Value {
    terminal.keys(&format!("/save {}\r", path.display()));
    terminal.wait_for("saved to ");
    terminal.wait_for("ds4> ");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn nothing_is_computed_twice() {
    let home = Home::new();
    let mut terminal = chat(&home, &["-n", "8"]);
    let (first, kept, written) = ask(&mut terminal, "Good morning");
    assert_eq!((kept, written), (0, 8));
    // The last token of an answer is shown, not computed: nothing came after it yet.
    assert_eq!(computed(&mut terminal), first + written - 1);
    let (second, kept, written) = ask(&mut terminal, "And now?");
    assert_eq!(kept, first + 8 - 1, "all of the first turn");
    assert_eq!(computed(&mut terminal), second + written - 1);
    // A larger context loads the model anew; the session moves over.
    terminal.keys("/ctx 4096\r");
    terminal.wait_for("context: 4,096 tokens");
    assert_eq!(computed(&mut terminal), second + written - 1);
    let (third, kept, _) = ask(&mut terminal, "Still there?");
    assert_eq!(kept, second + written - 1);
    assert!(third > second);
    leave(terminal);
}

#[test]
fn thoughts_stay_in_a_conversation_that_lives() {
    let home = Home::new();
    let mut terminal = chat(&home, &["--think", "high", "-n", "6"]);
    let (first, _, _) = ask(&mut terminal, "Good morning");
    assert!(
        String::from_utf8_lossy(&terminal.raw).contains("\u{1b}[2m"),
        "dimmed"
    );
    let (_, kept, _) = ask(&mut terminal, "And now?");
    assert_eq!(kept, first + 6 - 1);
    let file = saved(&mut terminal, &home.file("thoughts.json"));
    let answer = &file["messages"][1];
    assert_eq!(answer["role"], "assistant");
    assert_eq!(answer["content"], "", "six tokens of thought");
    assert_ne!(answer["reasoning_content"], "");
    // Another effort changes what the prompt begins with: everything is read again.
    terminal.keys("/think-max\r");
    terminal.wait_for("needs a context of 393216 tokens");
    terminal.wait_for("thinking: high");
    terminal.keys("/nothink\r");
    terminal.wait_for("thinking: off");
    leave(terminal);
}

#[test]
fn an_interrupt_stops_the_answer_and_two_leave() {
    let home = Home::new();
    let mut terminal = chat_with(&home, &endless_model(), &["--ctx", "1000000"]);
    terminal.keys("Good morning\r");
    terminal.wait_for("Good morning");
    // An answer is under way once something stands on the next line.
    terminal.wait_for("\n");
    while !terminal.text().rsplit('\n').next().unwrap().contains(' ') {
        terminal.wait_for(" ");
    }
    terminal.interrupt();
    terminal.wait_for("; interrupted;");
    terminal.wait_for("ds4> ");
    let before = computed(&mut terminal);
    assert!(before > 5);
    terminal.keys("/status\r");
    terminal.wait_for("answers   1");
    terminal.wait_for("ds4> ");
    // What was computed stays, and the conversation goes on from it.
    let file = saved(&mut terminal, &home.file("cut.json"));
    assert_ne!(file["messages"][1]["content"], "");
    terminal.keys("/ctx 2000000\r");
    terminal.wait_for("error: /ctx needs a number of tokens");
    assert_eq!(computed(&mut terminal), before);
    terminal.keys("\u{3}");
    terminal.wait_for("Ctrl-C again");
    terminal.wait_for("ds4> ");
    terminal.keys("\u{3}");
    let (status, text) = terminal.end();
    assert!(status.success(), "{text}");
}

#[test]
fn several_lines_are_one_question() {
    let home = Home::new();
    let mut terminal = chat(&home, &["-n", "2"]);
    for (keys, meant) in [
        ("one \\\rtwo", "one \ntwo"),
        ("look:\r```\rfn main() {}\r```", "look:"),
        ("\u{1b}[200~a\nb\u{1b}[201~", "a\nb"),
    ] {
        terminal.keys("/new\r");
        terminal.wait_for("begun anew");
        terminal.wait_for("ds4> ");
        ask(&mut terminal, keys);
        let file = saved(&mut terminal, &home.file("lines.json"));
        assert_eq!(file["messages"][0]["content"], meant);
        assert_eq!(file["messages"].as_array().unwrap().len(), 2);
    }
    leave(terminal);
}

#[test]
fn conversations_are_saved_and_read_again() {
    let home = Home::new();
    let path = home.file("chat.json");
    let mut terminal = chat(&home, &["-n", "3", "--system", "Be brief."]);
    std::fs::write(home.file("question.txt"), "What stands in a file?").unwrap();
    ask(&mut terminal, "/read question.txt");
    let file = saved(&mut terminal, &path);
    assert_eq!(file["ds4_chat"], 1);
    assert_eq!(file["messages"][0]["content"], "Be brief.");
    assert_eq!(file["messages"][1]["content"], "What stands in a file?");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    leave(terminal);

    let path = path.display().to_string();
    let mut terminal = chat(&home, &["-n", "3", "--load", &path]);
    let (long, ..) = ask(&mut terminal, "And?");
    let again = saved(&mut terminal, &home.file("again.json"));
    assert_eq!(again["messages"][2], file["messages"][2]);
    assert_eq!(again["messages"].as_array().unwrap().len(), 5);
    terminal.keys("/new\r");
    terminal.wait_for("begun anew");
    let (short, ..) = ask(&mut terminal, "And?");
    assert!(short < long, "{short} and {long}");
    terminal.keys("/load absent.json\r");
    terminal.wait_for("error: cannot open absent.json");
    std::fs::write(home.file("other.json"), "{\"messages\": []}").unwrap();
    terminal.keys("/load other.json\r");
    terminal.wait_for("other.json is not a saved conversation");
    terminal.keys("/hlep\r");
    terminal.wait_for("did you mean /help?");
    terminal.keys("/help\r");
    terminal.wait_for("/status ");
    leave(terminal);
}

#[test]
fn typed_lines_are_kept_privately_or_not_at_all() {
    let home = Home::new();
    let mut terminal = chat(&home, &["-n", "2"]);
    ask(&mut terminal, "a secret");
    leave(terminal);
    let path = home.file("state/ds4/history");
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(kept.contains("a secret"), "{kept}");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    // The next chat has them: one key up.
    let mut terminal = chat(&home, &["-n", "2"]);
    terminal.keys("\u{1b}[A\u{1b}[A");
    terminal.wait_for("a secret");
    terminal.keys("\u{15}");
    leave(terminal);

    let quiet = Home::new();
    let mut terminal = chat(&quiet, &["-n", "2", "--history=false"]);
    ask(&mut terminal, "a secret");
    leave(terminal);
    assert!(!quiet.file("state").exists());
}

#[test]
fn no_colour_means_none() {
    let home = Home::new();
    let model = model();
    let words = ["-m", &model, "-t", "1", "-n", "4", "--temp", "0"];
    let mut terminal = Terminal::start(home.program().args(words).env("NO_COLOR", "1"));
    terminal.wait_for("ds4> ");
    ask(&mut terminal, "hello");
    assert!(!String::from_utf8_lossy(&terminal.raw).contains("\u{1b}[2m"));
    leave(terminal);
}
