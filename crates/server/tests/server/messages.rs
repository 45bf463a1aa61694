//! `/v1/messages`.

use serde_json::{Value, json};

use crate::rig::{CONTEXT, Rig, saying};

const PATH: &str = "/v1/messages";

const CALLS: &str = "Two cities.</think>Looking.\n\n<｜DSML｜tool_calls>\n\
    <｜DSML｜invoke name=\"get_weather\">\n\
    <｜DSML｜parameter name=\"city\" string=\"true\">Rome</｜DSML｜parameter>\n\
    </｜DSML｜invoke>\n\
    <｜DSML｜invoke name=\"get_weather\">\n\
    <｜DSML｜parameter name=\"city\" string=\"true\">Oslo</｜DSML｜parameter>\n\
    </｜DSML｜invoke>\n</｜DSML｜tool_calls>";

fn weather() -> Value {
    json!({"name": "get_weather", "input_schema": {"type": "object", "properties": {
        "city": {"type": "string"},
    }}})
}

fn request() -> Value {
    json!({
        "model": "claude-x", "max_tokens": 200, "tools": [weather()],
        "messages": [{"role": "user", "content": "weather?"}],
    })
}

const LINES: &[(&str, &str)] = &[
    ("weather?<｜Assistant｜><think>", CALLS),
    (
        "</tool_result><｜Assistant｜><think>",
        "Done.</think>Both are known.",
    ),
];

#[test]
fn a_whole_reply_has_its_blocks() {
    let rig = saying(LINES);
    let reply = rig.post(PATH, &request());
    assert!(reply.head.header("request-id").unwrap().starts_with("req_"));
    let whole = reply.ok();
    assert_eq!(whole["type"], "message");
    assert_eq!(whole["model"], "claude-x");
    assert_eq!(whole["stop_reason"], "tool_use");
    let [thinking, text, rome, oslo] = &whole["content"].as_array().unwrap()[..] else {
        panic!("{whole}");
    };
    assert_eq!(thinking["thinking"], "Two cities.");
    assert!(thinking["signature"].as_str().unwrap().len() > 30);
    assert_eq!(text, &json!({"type": "text", "text": "Looking."}));
    assert_eq!(rome["input"], json!({"city": "Rome"}));
    assert_eq!(oslo["input"], json!({"city": "Oslo"}));
    assert!(rome["id"].as_str().unwrap().starts_with("toolu_") && rome["id"] != oslo["id"]);
}

#[test]
fn a_stream_has_the_same_blocks_in_order() {
    let rig = saying(LINES);
    let mut body = request();
    body["stream"] = true.into();
    let reply = rig.post(PATH, &body);
    let events: Vec<(String, Value)> = reply
        .events()
        .into_iter()
        .map(|event| {
            (
                event.name.unwrap(),
                serde_json::from_str(&event.data).unwrap(),
            )
        })
        .filter(|(name, _): &(String, Value)| name != "ping")
        .collect();
    for (name, data) in &events {
        assert_eq!(data["type"], name.as_str());
    }
    assert_eq!(events[0].0, "message_start");
    assert!(
        events[0].1["message"]["usage"]["input_tokens"]
            .as_u64()
            .unwrap()
            > 0
    );
    let [.., (_, delta), (stop, _)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(stop, "message_stop");
    assert_eq!(delta["delta"]["stop_reason"], "tool_use");
    assert!(delta["usage"]["output_tokens"].as_u64().unwrap() > 10);
    // Blocks open, grow and close one after the other.
    let (mut open, mut blocks) = (None, Vec::new());
    for (name, data) in &events[1..events.len() - 2] {
        match name.as_str() {
            "content_block_start" => {
                assert_eq!(open, None);
                assert_eq!(data["index"], blocks.len());
                open = Some(data["index"].clone());
                blocks.push((data["content_block"]["type"].clone(), String::new()));
            }
            "content_block_delta" => {
                assert_eq!(open.as_ref(), Some(&data["index"]));
                let delta = &data["delta"];
                for field in ["thinking", "text", "partial_json"] {
                    blocks
                        .last_mut()
                        .unwrap()
                        .1
                        .push_str(delta[field].as_str().unwrap_or(""));
                }
            }
            "content_block_stop" => assert_eq!(open.take().as_ref(), Some(&data["index"])),
            other => panic!("{other}"),
        }
    }
    let blocks: Vec<(&str, &str)> = blocks
        .iter()
        .map(|(kind, text)| (kind.as_str().unwrap(), text.as_str()))
        .collect();
    assert_eq!(
        blocks,
        [
            ("thinking", "Two cities."),
            ("text", "Looking."),
            ("tool_use", "{\"city\":\"Rome\"}"),
            ("tool_use", "{\"city\":\"Oslo\"}"),
        ]
    );
}

/// Results come back in another order and without the thinking; the prefix is used all the same,
/// and counted as read from the cache.
#[test]
fn results_continue_the_turn_they_belong_to() {
    let rig = saying(LINES);
    let first = rig.post(PATH, &request()).ok();
    let ids = [&first["content"][2]["id"], &first["content"][3]["id"]];
    let calls: Vec<Value> = first["content"].as_array().unwrap()[1..].to_vec();
    let mut body = request();
    body["messages"] = json!([
        {"role": "user", "content": [{"type": "text", "text": "weather?"}]},
        {"role": "assistant", "content": calls},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": ids[1], "content": "5C"},
            {"type": "tool_result", "tool_use_id": ids[0], "content": [{"type": "text", "text": "22C"}]},
        ]},
    ]);
    let counted = rig.post("/v1/messages/count_tokens", &body).ok();
    let second = rig.post(PATH, &body).ok();
    assert_eq!(second["stop_reason"], "end_turn");
    let usage = &second["usage"];
    let number = |value: &Value| value.as_u64().unwrap();
    let cached = number(&usage["cache_read_input_tokens"]);
    let before = number(&first["usage"]["input_tokens"]) + number(&first["usage"]["output_tokens"]);
    assert!(cached + 1 >= before, "{before} were there: {usage}");
    let all = cached + number(&usage["input_tokens"]);
    assert_eq!(number(&counted["input_tokens"]), all);
}

#[test]
fn a_beginning_is_gone_on_from_and_stop_sequences_are_named() {
    let rig = saying(&[(
        "the answer<｜Assistant｜></think>It is",
        " forty-two, or so",
    )]);
    let body = json!({
        "model": "m", "max_tokens": 50, "stop_sequences": [", or"],
        "messages": [
            {"role": "user", "content": "the answer"},
            {"role": "assistant", "content": "It is"},
        ],
    });
    let whole = rig.post(PATH, &body).ok();
    assert_eq!(
        whole["content"],
        json!([{"type": "text", "text": " forty-two"}])
    );
    assert_eq!(whole["stop_reason"], "stop_sequence");
    assert_eq!(whole["stop_sequence"], ", or");
}

#[test]
fn small_models_do_not_think_and_thought_alone_gets_a_text() {
    let rig = saying(&[
        ("title<｜Assistant｜></think>", "A title"),
        ("endless<｜Assistant｜><think>", "and so on"),
    ]);
    let ask = |model: &str, text: &str| json!({"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": text}]});
    let title = rig.post(PATH, &ask("claude-haiku-4", "title")).ok();
    assert_eq!(
        title["content"],
        json!([{"type": "text", "text": "A title"}])
    );
    let endless = rig.post(PATH, &ask("m", "endless")).ok();
    assert_eq!(endless["content"][0]["thinking"], "and so on");
    assert_eq!(endless["content"][1], json!({"type": "text", "text": ""}));
    assert_eq!(endless["stop_reason"], "end_turn");
}

#[test]
fn errors_are_in_this_dialect() {
    let rig = Rig::new();
    let long = "x y ".repeat(CONTEXT);
    let body = json!({"max_tokens": 5, "messages": [{"role": "user", "content": long}]});
    let reply = rig.post(PATH, &body);
    assert_eq!(reply.status(), 400);
    let error = reply.json();
    assert_eq!(error["type"], "error");
    assert_eq!(error["error"]["type"], "invalid_request_error");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("prompt is too long: "), "{message}");
    assert!(message.ends_with(" tokens > 4096 maximum"), "{message}");
    let reply = rig.post(
        PATH,
        &json!({"messages": [{"role": "user", "content": "a"}], "top_p": 7}),
    );
    assert_eq!(
        (reply.status(), reply.json()["type"].as_str()),
        (400, Some("error"))
    );
    let reply = rig.post_text(PATH, &[], "{");
    assert_eq!(
        (reply.status(), reply.json()["type"].as_str()),
        (400, Some("error"))
    );
}
