//! What is there after a restart: turns token by token, replies by their ids.

use std::fs;
use std::path::{Path, PathBuf};

use ds4_engine::Store;
use ds4_server::{Config, Keep};
use serde_json::{Value, json};

use crate::rig::{Rig, config, engine_with, script};

const CALL: &str = "It says Rome.</think>One moment.\n\n<｜DSML｜tool_calls>\n\
    <｜DSML｜invoke name=\"get_weather\">\n\
    <｜DSML｜parameter name=\"city\" string=\"true\">Rome</｜DSML｜parameter>\n\
    </｜DSML｜invoke>\n</｜DSML｜tool_calls>";

const LINES: &[(&str, &str)] = &[
    ("weather in Rome?<｜Assistant｜><think>", CALL),
    ("first<｜Assistant｜></think>", "One."),
    ("second<｜Assistant｜></think>", "Two."),
    ("third<｜Assistant｜></think>", "Three."),
];

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";

/// A server whose conversations outlive it in `folder`, for two keys.
fn rig(folder: &Path, bytes: u64) -> Rig {
    let store = Store {
        dir: folder.to_owned(),
        bytes: 100_000_000,
        free: 0,
    };
    let keep = Keep {
        folder: folder.join("turns"),
        bytes,
    };
    let config = Config {
        script: Some(script(LINES)),
        keep: Some(keep),
        keys: vec!["one".to_owned(), "two".to_owned()],
        ..config()
    };
    Rig::over(engine_with(3, Some(store)), config)
}

fn post(rig: &Rig, key: &str, path: &str, body: &Value) -> crate::client::Reply {
    rig.post_text(path, &[("x-api-key", key)], &body.to_string())
}

/// The files of turns.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("turns")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| !path.ends_with("lock")).collect();
    paths.sort();
    paths
}

fn weather() -> Value {
    json!({"type": "function", "function": {"name": "get_weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}},
    }}})
}

/// As in one process: the next prompt repeats the sampled tokens, although the client writes the
/// arguments in its own way and forgets the reasoning.
#[test]
fn a_conversation_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let ask = json!({"role": "user", "content": "weather in Rome?"});
    let first = {
        let rig = rig(folder.path(), 1 << 20);
        let first = json!({"tools": [weather()], "messages": [ask]});
        let first = post(&rig, "one", CHAT, &first).ok();
        assert!(rig.end());
        first
    };
    let call = &first["choices"][0]["message"]["tool_calls"][0];
    let again = json!({"tools": [weather()], "max_tokens": 1, "messages": [
        ask,
        {"role": "assistant", "content": "One moment.", "tool_calls": [{
            "id": call["id"], "type": "function",
            "function": {"name": "get_weather", "arguments": "{ \"city\" : \"Rome\" }"},
        }]},
        {"role": "tool", "tool_call_id": call["id"], "content": "22C"},
    ]});
    let before = first["usage"]["total_tokens"].as_u64().unwrap();
    let cached = |rig: &Rig, key: &str| {
        let usage = post(rig, key, CHAT, &again).ok()["usage"].clone();
        let cached = &usage["prompt_tokens_details"]["cached_tokens"];
        cached.as_u64().unwrap()
    };
    let second = rig(folder.path(), 1 << 20);
    assert_eq!(cached(&second, "two"), 0, "another key's");
    let found = cached(&second, "one");
    assert!(found + 1 >= before, "{before} were kept, {found} were used");
    assert!(second.end());
    // Without the turns the same prompt only reads alike: this is what they are kept for.
    let turns = files(folder.path());
    assert!(!turns.is_empty());
    for path in &turns {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
        }
        fs::remove_file(path).unwrap();
    }
    let third = rig(folder.path(), 1 << 20);
    let found = cached(&third, "one");
    assert!(found + 1 < before, "{found} of {before}");
}

#[test]
fn replies_are_gone_on_from_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let body = |input: &str, before: &Value| {
        json!({
            "input": input, "previous_response_id": before, "reasoning": {"effort": "none"},
        })
    };
    let (first, second, deleted) = {
        let rig = rig(folder.path(), 1 << 20);
        let first = post(&rig, "one", RESPONSES, &body("first", &Value::Null)).ok();
        let second = post(&rig, "one", RESPONSES, &body("second", &first["id"])).ok();
        let deleted = post(&rig, "one", RESPONSES, &body("third", &Value::Null)).ok();
        let path = format!("{RESPONSES}/{}", deleted["id"].as_str().unwrap());
        let mut client = rig.client();
        client.send("DELETE", &path, &[("x-api-key", "one")], "");
        assert_eq!(client.reply().ok()["deleted"], true);
        assert!(rig.end());
        (first, second, deleted)
    };
    let id = deleted["id"].as_str().unwrap().as_bytes();
    for path in files(folder.path()) {
        let bytes = fs::read(path).unwrap();
        let is_there = bytes.windows(id.len()).any(|window| window == id);
        assert!(!is_there, "a deleted reply is still on disk");
    }
    let again = rig(folder.path(), 1 << 20);
    let third = post(&again, "one", RESPONSES, &body("third", &second["id"])).ok();
    assert_eq!(third["output"][0]["content"][0]["text"], "Three.");
    let usage = |reply: &Value| {
        let usage = &reply["usage"];
        let cached = &usage["input_tokens_details"]["cached_tokens"];
        (
            usage["total_tokens"].as_u64().unwrap(),
            cached.as_u64().unwrap(),
        )
    };
    assert!(usage(&third).1 + 1 >= usage(&second).0, "{third}");
    for (key, id) in [("two", &first["id"]), ("one", &deleted["id"])] {
        let reply = post(&again, key, RESPONSES, &body("third", id));
        assert_eq!(reply.status(), 404, "{}", reply.body);
    }
}

/// Files that are damaged cost what they held, and room is kept.
#[test]
fn damage_is_refused_and_room_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let body = |input: String| {
        let text = "long words ".repeat(20);
        json!({
            "messages": [{"role": "user", "content": format!("{text}{input}")}],
            "max_tokens": 2, "think": false,
        })
    };
    let bytes = 20_000;
    for round in 0..3 {
        let rig = rig(folder.path(), bytes);
        for at in 0..20 {
            post(&rig, "one", CHAT, &body(format!("{round} {at}"))).ok();
        }
        let keeping = json!({"input": "x".repeat(2000), "max_output_tokens": 2});
        for _ in 0..4 {
            post(&rig, "one", RESPONSES, &keeping).ok();
        }
        assert!(rig.end());
        let sizes = files(folder.path()).into_iter();
        let sizes: u64 = sizes.map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(sizes > 0 && sizes <= bytes, "{sizes}");
    }
    let path = files(folder.path()).pop().unwrap();
    let mut damaged = fs::read(&path).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&path, damaged).unwrap();
    let rig = rig(folder.path(), bytes);
    rig.log.wait_for(&["is refused", "checksum"]);
    assert!(!path.exists());
    post(&rig, "one", CHAT, &body("after".to_owned())).ok();
}
