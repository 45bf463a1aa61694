//! Small requests beside a long conversation, in memory for little more than the conversation.

use ds4_engine::Options;
use ds4_server::Config;
use serde_json::{Value, json};

use crate::rig::{Rig, config, engine_in, script};

const PATH: &str = "/v1/chat/completions";

/// Pages of 512 tokens: the conversation takes five of them, each small request one.
const PAGES: usize = 9;

/// Bytes of frontiers: four or five of them.
const KEPT: u64 = 1_500_000;

const LINES: &[(&str, &str)] = &[
    ("one?<｜Assistant｜><think>", "Let me see.</think>First."),
    ("two?<｜Assistant｜><think>", "And then?</think>Second."),
    ("three?<｜Assistant｜><think>", "Well.</think>Third."),
    ("four?<｜Assistant｜><think>", "At last.</think>Fourth."),
];

const QUESTIONS: [&str; 4] = ["one?", "two?", "three?", "four?"];
const ANSWERS: [&str; 4] = ["First.", "Second.", "Third.", "Fourth."];

#[derive(Clone, Copy, Debug)]
struct Said {
    prompt: u64,
    cached: u64,
    total: u64,
}

fn rig() -> Rig {
    let options = Options {
        kept_bytes: KEPT,
        ..Options::default()
    };
    let config = Config {
        script: Some(script(LINES)),
        ..config()
    };
    Rig::over(engine_in(2, PAGES, options), config)
}

fn ask(rig: &Rig, body: &Value) -> Said {
    let usage = rig.post(PATH, body).ok()["usage"].clone();
    let number = |value: &Value| value.as_u64().unwrap();
    Said {
        prompt: number(&usage["prompt_tokens"]),
        cached: number(&usage["prompt_tokens_details"]["cached_tokens"]),
        total: number(&usage["total_tokens"]),
    }
}

/// A turn of the long conversation. With a tool it keeps what was thought.
fn turn(rig: &Rig, at: usize, has_tools: bool) -> Said {
    let system = "These instructions are long, as those of agents are. ".repeat(56);
    let mut messages = vec![json!({"role": "system", "content": system})];
    for before in 0..at {
        messages.push(json!({"role": "user", "content": QUESTIONS[before]}));
        messages.push(json!({"role": "assistant", "content": ANSWERS[before]}));
    }
    messages.push(json!({"role": "user", "content": QUESTIONS[at]}));
    let mut body = json!({"messages": messages});
    if has_tools {
        body["tools"] = json!([{"type": "function", "function": {"name": "read"}}]);
    }
    ask(rig, &body)
}

/// A title for something, asked once.
fn title(rig: &Rig, number: usize) -> Said {
    let text = format!("Text {number} wants a title. ").repeat(20 + number % 7);
    let body = json!({
        "messages": [
            {"role": "system", "content": format!("Write title {number} in three words.")},
            {"role": "user", "content": text},
        ],
        "think": false, "max_tokens": 4,
    });
    ask(rig, &body)
}

/// Two dozen titles between two turns, more than there is room for, two at a time: the turns find
/// their conversation.
fn conversation_stays(has_tools: bool) {
    let rig = rig();
    let mut before = turn(&rig, 0, has_tools);
    assert!(before.prompt > 1800, "{before:?}");
    for at in 1..QUESTIONS.len() {
        std::thread::scope(|scope| {
            for half in 0..2 {
                let rig = &rig;
                scope.spawn(move || {
                    for number in 0..12 {
                        title(rig, 100 * at + 2 * number + half);
                    }
                });
            }
        });
        let now = turn(&rig, at, has_tools);
        // Its last turns may have gone for titles, as long as they are shorter than those.
        let again = before.total.saturating_sub(now.cached);
        assert!(again < 150, "{before:?} {now:?}");
        before = now;
    }
    // There was no room for all of it.
    assert_eq!(title(&rig, 100).cached, 0);
    let status = rig.engine.status().unwrap();
    assert!(status.kept_bytes <= KEPT, "{status:?}");
}

#[test]
fn small_requests_do_not_push_out_a_conversation() {
    conversation_stays(true);
}

#[test]
fn nor_what_was_thought_in_it() {
    conversation_stays(false);
}
