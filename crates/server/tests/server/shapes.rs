//! Noise, held to a shape: whatever comes out fits.

use serde_json::{Value, json};

use crate::rig::Rig;

fn body(more: &Value) -> Value {
    let mut body = json!({
        "think": false, "max_tokens": 300,
        "messages": [{"role": "user", "content": "hello"}],
    });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

fn schema() -> Value {
    json!({
        "type": "object", "additionalProperties": false, "required": ["sure", "n", "word"],
        "properties": {
            "sure": {"type": "boolean"},
            "n": {"type": "integer", "minimum": 0, "maximum": 99},
            "word": {"type": "string", "enum": ["yes", "no", "maybe"]},
        },
    })
}

#[track_caller]
fn fits(value: &Value) {
    assert!(value["sure"].is_boolean(), "{value}");
    assert!(value["n"].as_u64().unwrap() < 100, "{value}");
    assert!(
        ["yes", "no", "maybe"].contains(&value["word"].as_str().unwrap()),
        "{value}"
    );
    assert_eq!(value.as_object().unwrap().len(), 3);
}

#[test]
fn noise_fits_a_schema_in_every_dialect() {
    let rig = Rig::new();
    let read = |text: &Value| serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap();
    let format = json!({"type": "json_schema", "json_schema": {"name": "a", "schema": schema()}});
    for seed in 0..5 {
        let whole = rig.post(
            "/v1/chat/completions",
            &body(&json!({
                "response_format": format, "seed": seed, "stop": ["unlikely"],
            })),
        );
        let whole = whole.ok();
        assert_eq!(whole["choices"][0]["finish_reason"], "stop");
        fits(&read(&whole["choices"][0]["message"]["content"]));
    }
    let whole = rig.post(
        "/v1/responses",
        &json!({
            "input": "hello", "reasoning": {"effort": "none"},
            "text": {"format": {"type": "json_schema", "name": "a", "schema": schema()}},
        }),
    );
    fits(&read(&whole.ok()["output"][0]["content"][0]["text"]));
    let whole = rig.post(
        "/v1/messages",
        &json!({
            "max_tokens": 300, "thinking": {"type": "disabled"},
            "messages": [{"role": "user", "content": "hello"}],
            "output_config": {"format": {"type": "json_schema", "schema": schema()}},
        }),
    );
    fits(&read(&whole.ok()["content"][0]["text"]));
}

#[test]
fn noise_calls_the_tool_it_must() {
    let rig = Rig::new();
    let tool = |name: &str| {
        json!({"type": "function", "function": {
            "name": name, "strict": true, "parameters": schema(),
        }})
    };
    let tools = json!([tool("first"), tool("second")]);
    for (choice, name) in [
        (json!("required"), None),
        (
            json!({"type": "function", "function": {"name": "second"}}),
            Some("second"),
        ),
    ] {
        let whole = rig.post("/v1/chat/completions", &body(&json!({
            "tools": tools, "tool_choice": choice, "parallel_tool_calls": false, "stream": false,
        })));
        let whole = whole.ok();
        assert_eq!(
            whole["choices"][0]["finish_reason"], "tool_calls",
            "{whole}"
        );
        let calls = whole["choices"][0]["message"]["tool_calls"]
            .as_array()
            .unwrap();
        assert_eq!(calls.len(), 1);
        let function = &calls[0]["function"];
        assert!(
            name.is_none_or(|name| function["name"] == name),
            "{function}"
        );
        fits(&serde_json::from_str(function["arguments"].as_str().unwrap()).unwrap());
    }
    let whole = rig.post(
        "/v1/messages",
        &json!({
            "max_tokens": 300, "thinking": {"type": "disabled"},
            "messages": [{"role": "user", "content": "hello"}],
            "tools": [{"name": "first", "strict": true, "input_schema": schema()}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
        }),
    );
    let whole = whole.ok();
    assert_eq!(whole["stop_reason"], "tool_use");
    fits(&whole["content"][0]["input"]);
}

#[test]
fn a_schema_nobody_can_follow_is_refused() {
    let rig = Rig::new();
    let reply = rig.post(
        "/v1/chat/completions",
        &body(&json!({"response_format": {
            "type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "nonsense"}},
        }})),
    );
    assert_eq!(reply.status(), 400, "{}", reply.body);
    assert_eq!(reply.json()["error"]["param"], "response_format");
    let big = "x".repeat(300_000);
    let reply = rig.post(
        "/v1/chat/completions",
        &body(&json!({"response_format": {
            "type": "json_schema", "json_schema": {"name": "a", "schema": {"const": big}},
        }})),
    );
    assert_eq!(reply.status(), 400);
    assert!(reply.body.contains("262144 bytes"), "{}", reply.body);
}
