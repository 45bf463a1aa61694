//! Conversations without tools, whose prompts drop what was thought before the last question.

use std::path::Path;

use ds4_server::{Config, Keep, Script};
use serde_json::{Value, json};

use crate::rig::{CONTEXT, Rig, config, engine, saying, script};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

const LINES: &[(&str, &str)] = &[
    (
        "first?<｜Assistant｜><think>",
        "It may be one of many, and then it is the first.</think>One.",
    ),
    (
        "second?<｜Assistant｜><think>",
        "After the first comes the one that follows it.</think>Two.",
    ),
    (
        "third?<｜Assistant｜><think>",
        "There are not that many left.</think>Three.",
    ),
    ("third?<｜Assistant｜></think>", "Three at once."),
    (
        "fourth?<｜Assistant｜><think>",
        "One more than before.</think>Four.",
    ),
];

/// Questions with the answers before them, as a client that keeps no reasoning sends them.
fn talk(questions: &[&str], answers: &[&str]) -> Value {
    let mut messages = Vec::new();
    for (at, question) in questions.iter().enumerate() {
        messages.push(json!({"role": "user", "content": question}));
        if let Some(answer) = answers.get(at) {
            messages.push(json!({"role": "assistant", "content": answer}));
        }
    }
    messages.into()
}

/// What a reply says of itself.
#[derive(Clone, Copy, Debug)]
struct Said {
    prompt: u64,
    cached: u64,
    generated: u64,
}

impl Said {
    fn total(self) -> u64 {
        self.prompt + self.generated
    }

    /// Whether it went on from where another ended: nothing but the new question was computed.
    fn follows(self, before: Self) -> bool {
        self.cached + 1 >= before.total() && self.prompt > before.total()
    }
}

fn ask(rig: &Rig, body: &Value) -> Said {
    let usage = rig.post(CHAT, body).ok()["usage"].clone();
    let number = |value: &Value| value.as_u64().unwrap();
    Said {
        prompt: number(&usage["prompt_tokens"]),
        cached: number(&usage["prompt_tokens_details"]["cached_tokens"]),
        generated: number(&usage["completion_tokens"]),
    }
}

fn chat(rig: &Rig, questions: &[&str], answers: &[&str]) -> Said {
    ask(rig, &json!({"messages": talk(questions, answers)}))
}

/// How long a prompt is without the reasoning.
fn exact(rig: &Rig, questions: &[&str], answers: &[&str]) -> u64 {
    let body = json!({"model": "m", "messages": talk(questions, answers)});
    let counted = rig.post("/v1/messages/count_tokens", &body).ok();
    counted["input_tokens"].as_u64().unwrap()
}

#[test]
fn what_is_in_memory_is_gone_on_from() {
    let rig = saying(LINES);
    let first = chat(&rig, &["first?"], &[]);
    let second = chat(&rig, &["first?", "second?"], &["One."]);
    assert!(second.follows(first), "{first:?} {second:?}");
    let (questions, answers) = (["first?", "second?", "third?"], ["One.", "Two."]);
    let third = chat(&rig, &questions, &answers);
    assert!(third.follows(second), "{second:?} {third:?}");
    let dropped = exact(&rig, &questions, &answers);
    assert!(dropped < third.prompt, "{dropped} {third:?}");
    // The same again, and another question in its place: both stand on the same turns.
    let again = chat(&rig, &questions, &answers);
    assert!(again.follows(second), "{second:?} {again:?}");
    let other = chat(&rig, &["first?", "second?", "fourth?"], &answers);
    assert!(other.follows(second), "{second:?} {other:?}");
}

/// Streams say the same, in the other dialects too, with the reasoning sent back or not.
#[test]
fn every_dialect_goes_on() {
    let rig = saying(LINES);
    let body = |messages: Value| json!({"model": "m", "max_tokens": 100, "messages": messages});
    let usage = |reply: &Value| {
        let number = |field: &str| reply["usage"][field].as_u64().unwrap();
        let cached = number("cache_read_input_tokens");
        (
            cached,
            cached + number("input_tokens") + number("output_tokens"),
        )
    };
    let first = rig.post(MESSAGES, &body(talk(&["first?"], &[]))).ok();
    let messages = json!([
        {"role": "user", "content": "first?"},
        {"role": "assistant", "content": first["content"]},
        {"role": "user", "content": "second?"},
    ]);
    let second = rig.post(MESSAGES, &body(messages)).ok();
    assert!(usage(&second).0 + 1 >= usage(&first).1, "{first} {second}");

    let usage = |reply: &Value| {
        let usage = &reply["usage"];
        let cached = &usage["input_tokens_details"]["cached_tokens"];
        (
            cached.as_u64().unwrap(),
            usage["total_tokens"].as_u64().unwrap(),
        )
    };
    let ask = |input: &str, before: &Value, streams: bool| {
        let body = json!({"input": input, "previous_response_id": before, "stream": streams});
        let reply = rig.post("/v1/responses", &body);
        match streams {
            true => reply.datas().pop().unwrap()["response"].clone(),
            false => reply.ok(),
        }
    };
    let first = ask("first?", &Value::Null, false);
    let second = ask("second?", &first["id"], true);
    assert!(usage(&second).0 + 1 >= usage(&first).1, "{first} {second}");
    let third = ask("third?", &second["id"], false);
    assert!(usage(&third).0 + 1 >= usage(&second).1, "{second} {third}");
}

/// A text that the client changed, or a request that wants no reasoning, gets a prompt without.
#[test]
fn what_differs_is_read_as_it_stands() {
    let rig = saying(LINES);
    let questions = ["first?", "second?", "third?"];
    let first = chat(&rig, &questions[..1], &[]);
    let second = chat(&rig, &questions[..2], &["One."]);
    for answers in [["One!", "Two."], ["One.", "Two!"]] {
        let changed = chat(&rig, &questions, &answers);
        assert_eq!(changed.prompt, exact(&rig, &questions, &answers));
        assert!(changed.cached < first.total(), "{first:?} {changed:?}");
    }
    let answers = ["One.", "Two."];
    let body = json!({"messages": talk(&questions, &answers), "think": false});
    let without = ask(&rig, &body);
    assert_eq!(without.prompt, exact(&rig, &questions, &answers));
    // Neither took away what was there.
    let third = chat(&rig, &questions, &answers);
    assert!(third.follows(second), "{second:?} {third:?}");
}

fn kept(folder: &Path) -> Rig {
    let keep = Keep {
        folder: folder.to_owned(),
        bytes: 1 << 20,
    };
    let config = Config {
        script: Some(script(LINES)),
        keep: Some(keep),
        ..config()
    };
    Rig::over(engine(3), config)
}

/// Where the memory is gone and the turns are not, the prompt is the one the model was trained on;
/// and from there it goes on with what is thought since.
#[test]
fn what_has_to_be_read_is_read_without() {
    let folder = tempfile::tempdir().unwrap();
    let questions = ["first?", "second?", "third?", "fourth?"];
    let answers = ["One.", "Two.", "Three."];
    {
        let rig = kept(folder.path());
        let first = chat(&rig, &questions[..1], &[]);
        let second = chat(&rig, &questions[..2], &answers[..1]);
        assert!(second.follows(first), "{first:?} {second:?}");
        assert!(rig.end());
    }
    let rig = kept(folder.path());
    let third = chat(&rig, &questions[..3], &answers[..2]);
    let without = exact(&rig, &questions[..3], &answers[..2]);
    assert_eq!((third.prompt, third.cached), (without, 0));
    let fourth = chat(&rig, &questions, &answers);
    assert!(fourth.follows(third), "{third:?} {fourth:?}");
}

/// Reasoning that would take the room of the answer is dropped after all.
#[test]
fn the_answer_comes_first() {
    let rig = Rig::with(Config {
        script: Some(Script::new(|prompt| {
            let thought = "and so on ".repeat(CONTEXT / 5);
            match prompt.contains("second?") {
                true => Some("Short.</think>Two.".to_owned()),
                false => Some(format!("{thought}</think>One.")),
            }
        })),
        ..config()
    });
    let first = chat(&rig, &["first?"], &[]);
    let (half, context) = (CONTEXT as u64 / 2, CONTEXT as u64);
    assert!(first.total() > half && first.total() + 200 < context);
    let questions = ["first?", "second?"];
    let long = chat(&rig, &questions, &["One."]);
    assert_eq!(long.prompt, exact(&rig, &questions, &["One."]));
    let body = json!({"messages": talk(&questions, &["One."]), "max_tokens": 100});
    let short = ask(&rig, &body);
    assert!(short.follows(first), "{first:?} {short:?}");
}
