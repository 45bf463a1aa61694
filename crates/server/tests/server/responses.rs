//! `/v1/responses`.

use serde_json::{Value, json};

use crate::rig::{Rig, saying};

const PATH: &str = "/v1/responses";

const CALLS: &str = "Two tools.</think>Look.\n\n<｜DSML｜tool_calls>\n\
    <｜DSML｜invoke name=\"agents__spawn\">\n\
    <｜DSML｜parameter name=\"n\" string=\"false\">2</｜DSML｜parameter>\n\
    </｜DSML｜invoke>\n\
    <｜DSML｜invoke name=\"apply_patch\">\n\
    <｜DSML｜parameter name=\"input\" string=\"true\">*** \"a\"\n+b</｜DSML｜parameter>\n\
    </｜DSML｜invoke>\n</｜DSML｜tool_calls>";

const LINES: &[(&str, &str)] = &[
    ("go!<｜Assistant｜><think>", CALLS),
    (
        "</tool_result><｜Assistant｜><think>",
        "Good.</think>All done.",
    ),
    ("and then?<｜Assistant｜><think>", "Hm.</think>Nothing."),
];

fn tools() -> Value {
    json!([
        {"type": "namespace", "name": "agents", "tools": [
            {"type": "function", "name": "spawn", "parameters": {"type": "object"}},
        ]},
        {"type": "custom", "name": "apply_patch", "description": "Patch"},
        {"type": "web_search"},
    ])
}

fn request() -> Value {
    json!({
        "model": "m", "tools": tools(), "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"], "input": "go!",
    })
}

#[track_caller]
fn check_items(output: &Value) {
    let [reasoning, message, call, custom] = &output.as_array().unwrap()[..] else {
        panic!("{output}");
    };
    assert_eq!(reasoning["type"], "reasoning");
    assert_eq!(
        reasoning["summary"],
        json!([{"type": "summary_text", "text": "Two tools."}])
    );
    assert_eq!(reasoning["encrypted_content"], reasoning["id"]);
    assert_eq!(message["content"][0]["text"], "Look.");
    assert_eq!(
        (&message["role"], &message["status"]),
        (&json!("assistant"), &json!("completed"))
    );
    assert_eq!(call["type"], "function_call");
    assert_eq!(
        (&call["namespace"], &call["name"]),
        (&json!("agents"), &json!("spawn"))
    );
    assert_eq!(call["arguments"], "{\"n\":2}");
    assert!(call["call_id"].as_str().unwrap().starts_with("call_"));
    assert_eq!(custom["type"], "custom_tool_call");
    assert_eq!(custom["input"], "*** \"a\"\n+b");
}

#[test]
fn a_whole_reply_has_its_items() {
    let rig = saying(LINES);
    let whole = rig.post(PATH, &request()).ok();
    assert_eq!(
        (&whole["object"], &whole["status"]),
        (&json!("response"), &json!("completed"))
    );
    check_items(&whole["output"]);
    assert_eq!(whole["tools"], tools());
    let usage = &whole["usage"];
    assert!(
        usage["output_tokens_details"]["reasoning_tokens"]
            .as_u64()
            .unwrap()
            > 0
    );
    let sum = usage["input_tokens"].as_u64().unwrap() + usage["output_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"], sum);
}

#[test]
fn every_item_is_added_grows_and_is_done() {
    let rig = saying(LINES);
    let mut body = request();
    body["stream"] = true.into();
    let reply = rig.post(PATH, &body);
    let events: Vec<Value> = reply.datas();
    for (at, (event, raw)) in events.iter().zip(reply.events()).enumerate() {
        assert_eq!(event["sequence_number"], at);
        assert_eq!(event["type"], raw.name.unwrap());
    }
    assert_eq!(events[0]["type"], "response.created");
    assert_eq!(events[0]["response"]["status"], "in_progress");
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.completed");
    check_items(&last["response"]["output"]);
    // Deltas come between `added` and `done` of their own item, and add up to what is done.
    let mut open: Option<(Value, Value, String)> = None;
    let mut kinds = Vec::new();
    for event in &events[1..events.len() - 1] {
        let kind = event["type"].as_str().unwrap();
        match kind {
            "response.in_progress" => {}
            "response.output_item.added" => {
                assert!(open.is_none());
                let item = &event["item"];
                kinds.push(item["type"].as_str().unwrap());
                open = Some((
                    item["id"].clone(),
                    event["output_index"].clone(),
                    String::new(),
                ));
            }
            "response.output_item.done" => {
                let (id, index, text) = open.take().unwrap();
                assert_eq!(
                    (&event["item"]["id"], &event["output_index"]),
                    (&id, &index)
                );
                let item = &event["item"];
                let whole = match item["type"].as_str().unwrap() {
                    "reasoning" => &item["summary"][0]["text"],
                    "message" => &item["content"][0]["text"],
                    "function_call" => &item["arguments"],
                    _ => &item["input"],
                };
                assert_eq!(whole, &text);
            }
            _ => {
                let (id, index, text) = open.as_mut().unwrap();
                assert_eq!(
                    (&event["item_id"], &event["output_index"]),
                    (&*id, &*index),
                    "{kind}"
                );
                if kind.ends_with(".delta") {
                    text.push_str(event["delta"].as_str().unwrap());
                }
            }
        }
    }
    assert_eq!(
        kinds,
        ["reasoning", "message", "function_call", "custom_tool_call"]
    );
    let seen = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    for kind in [
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.function_call_arguments.done",
        "response.custom_tool_call_input.done",
    ] {
        assert_eq!(seen(kind), 1, "{kind}");
    }
}

/// A conversation goes on by the id of its last reply, and by sending everything, to the same
/// prompt; either way nothing is computed twice.
#[test]
fn a_reply_is_gone_on_from_by_its_id() {
    let rig = saying(LINES);
    let first = rig.post(PATH, &request()).ok();
    let call = |at: usize| first["output"][at]["call_id"].clone();
    let results = json!([
        {"type": "custom_tool_call_output", "call_id": call(3), "output": "patched"},
        {"type": "function_call_output", "call_id": call(2), "output": "spawned"},
    ]);
    let mut second = request();
    second["input"] = results.clone();
    second["previous_response_id"] = first["id"].clone();
    let second = rig.post(PATH, &second).ok();
    assert_eq!(second["output"][1]["content"][0]["text"], "All done.");
    let before = first["usage"]["total_tokens"].as_u64().unwrap();
    let cached = |reply: &Value| {
        reply["usage"]["input_tokens_details"]["cached_tokens"]
            .as_u64()
            .unwrap()
    };
    assert!(
        cached(&second) + 1 >= before,
        "{before}: {}",
        second["usage"]
    );

    let mut items = vec![json!({"role": "user", "content": "go!"})];
    items.extend(first["output"].as_array().unwrap().iter().cloned());
    items.extend(results.as_array().unwrap().iter().cloned());
    let mut all = request();
    all["input"] = items.into();
    let all = rig.post(PATH, &all).ok();
    assert_eq!(
        all["usage"]["input_tokens"],
        second["usage"]["input_tokens"]
    );

    let mut third = request();
    third["input"] = "and then?".into();
    third["previous_response_id"] = second["id"].clone();
    let third = rig.post(PATH, &third).ok();
    assert_eq!(third["output"][1]["content"][0]["text"], "Nothing.");
    let before = second["usage"]["total_tokens"].as_u64().unwrap();
    assert!(cached(&third) + 1 >= before, "{before}: {}", third["usage"]);

    let path = format!("{PATH}/{}", third["id"].as_str().unwrap());
    assert_eq!(rig.get(&path).ok()["output"], third["output"]);
    let mut client = rig.client();
    client.send("DELETE", &path, &[], "");
    assert_eq!(client.reply().ok()["deleted"], true);
    assert_eq!(rig.get(&path).status(), 404);
    let reference = json!({"model": "m", "tools": tools(), "input": [
        {"role": "user", "content": "go!"},
        {"type": "item_reference", "id": first["output"][1]["id"]},
        {"role": "user", "content": "and then?"},
    ]});
    assert_eq!(rig.post(PATH, &reference).ok()["status"], "completed");
}

#[test]
fn what_is_not_kept_or_not_possible_is_named() {
    let rig = Rig::new();
    let reply = rig.post(
        PATH,
        &json!({"input": "a", "previous_response_id": "resp_x"}),
    );
    assert_eq!(reply.status(), 404);
    let error = reply.json()["error"].clone();
    assert_eq!(error["param"], "previous_response_id");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("send the full input")
    );
    for (body, param) in [
        (json!({"input": "a", "background": true}), "background"),
        (json!({"input": "a", "truncation": "auto"}), "truncation"),
        (json!({"input": "a", "conversation": "c"}), "conversation"),
        (json!({"input": 5}), "input"),
        (json!({"input": ["a"]}), "input[0]"),
        (
            json!({"input": [{"type": "item_reference", "id": "x"}]}),
            "input[0].id",
        ),
        (
            json!({"input": [{"type": "function_call_output", "call_id": "x"}]}),
            "input[0].call_id",
        ),
        (
            json!({"input": "a", "reasoning": {"effort": "much"}}),
            "reasoning.effort",
        ),
        (
            json!({"input": "a", "tool_choice": {"type": "web_search"}}),
            "tool_choice.type",
        ),
    ] {
        let reply = rig.post(PATH, &body);
        assert_eq!(reply.status(), 400, "{body}: {}", reply.body);
        assert_eq!(reply.json()["error"]["param"], param, "{body}");
    }
}

#[test]
fn an_answer_without_room_is_incomplete() {
    let rig = Rig::new();
    let body = json!({"input": "hello", "max_output_tokens": 4, "stream": true});
    let events = rig.post(PATH, &body).datas();
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.incomplete");
    assert_eq!(
        last["response"]["incomplete_details"]["reason"],
        "max_output_tokens"
    );
    assert_eq!(last["response"]["usage"]["output_tokens"], 4);
}
