//! `/v1/chat/completions`.

use serde_json::{Value, json};

use crate::rig::{CONTEXT, Rig, saying};

const PATH: &str = "/v1/chat/completions";

/// Joined texts of a field of the deltas.
fn joined(datas: &[Value], field: &str) -> String {
    let deltas = datas
        .iter()
        .filter_map(|data| data["choices"][0]["delta"][field].as_str());
    deltas.collect()
}

fn weather() -> Value {
    json!({"type": "function", "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    }})
}

const CALL: &str = "I look it up.</think>One moment.\n\n<｜DSML｜tool_calls>\n\
    <｜DSML｜invoke name=\"get_weather\">\n\
    <｜DSML｜parameter name=\"city\" string=\"true\">Rome</｜DSML｜parameter>\n\
    </｜DSML｜invoke>\n</｜DSML｜tool_calls>";

#[test]
fn noise_is_answered_whole_and_in_events_alike() {
    let rig = Rig::new();
    let mut body = json!({
        "model": "any", "seed": 7, "max_tokens": 40, "thinking": {"type": "disabled"},
        "messages": [{"role": "user", "content": "Good morning"}],
    });
    let whole = rig.post(PATH, &body).ok();
    assert_eq!(whole["object"], "chat.completion");
    assert_eq!(whole["model"], "any");
    let choice = &whole["choices"][0];
    let text = choice["message"]["content"].as_str().unwrap();
    assert!(!text.is_empty());
    assert_eq!(choice["finish_reason"], "length");
    let usage = &whole["usage"];
    assert_eq!(usage["completion_tokens"], 40);
    let prompt = usage["prompt_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"], prompt + 40);
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 0);

    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    let reply = rig.post(PATH, &body);
    let datas = reply.datas();
    assert_eq!(datas[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(
        joined(&datas, "content"),
        text,
        "the seed makes it the same"
    );
    let ids: Vec<&Value> = datas.iter().map(|data| &data["id"]).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    let [.., finish, usage] = &datas[..] else {
        panic!("{datas:?}");
    };
    assert_eq!(finish["choices"][0]["finish_reason"], "length");
    assert_eq!(finish["choices"][0]["delta"], json!({}));
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["completion_tokens"], 40);
    let cached = usage["usage"]["prompt_tokens_details"]["cached_tokens"]
        .as_u64()
        .unwrap();
    assert!(cached > 0, "the first answer's prompt is there: {usage}");
    assert!(reply.body.ends_with("data: [DONE]\n\n"));
    rig.log
        .wait_for(&["POST /v1/chat/completions 200", "wrote 40", "length"]);
}

#[test]
fn thoughts_text_and_calls_have_their_fields() {
    let rig = saying(&[("weather in Rome?<｜Assistant｜><think>", CALL)]);
    let mut body = json!({
        "model": "m", "tools": [weather()],
        "messages": [{"role": "user", "content": "weather in Rome?"}],
    });
    let whole = rig.post(PATH, &body).ok();
    let message = &whole["choices"][0]["message"];
    assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(message["reasoning_content"], "I look it up.");
    assert_eq!(message["content"], "One moment.");
    let call = &message["tool_calls"][0];
    assert!(call["id"].as_str().unwrap().starts_with("call_"));
    assert_eq!(call["type"], "function");
    assert_eq!(
        call["function"],
        json!({"name": "get_weather", "arguments": "{\"city\":\"Rome\"}"})
    );
    let reasoning = &whole["usage"]["completion_tokens_details"]["reasoning_tokens"];
    assert!(reasoning.as_u64().unwrap() > 2, "{whole}");

    body["stream"] = true.into();
    let datas = rig.post(PATH, &body).datas();
    assert_eq!(joined(&datas, "reasoning_content"), "I look it up.");
    assert_eq!(joined(&datas, "content"), "One moment.");
    let calls: Vec<&Value> = datas
        .iter()
        .filter_map(|data| data["choices"][0]["delta"]["tool_calls"].as_array())
        .flatten()
        .collect();
    assert_eq!(calls[0]["index"], 0);
    assert_eq!(
        calls[0]["function"],
        json!({"name": "get_weather", "arguments": ""})
    );
    let arguments: String = calls[1..]
        .iter()
        .map(|call| call["function"]["arguments"].as_str().unwrap())
        .collect();
    assert_eq!(arguments, "{\"city\":\"Rome\"}");
    assert_eq!(
        datas.last().unwrap()["choices"][0]["finish_reason"],
        "tool_calls"
    );
}

/// A tool round trip computes nothing twice: the next prompt repeats the sampled tokens, although
/// the client writes the arguments in its own way and forgets the reasoning.
#[test]
fn the_next_turn_goes_on_where_the_last_one_ended() {
    let rig = saying(&[
        ("weather in Rome?<｜Assistant｜><think>", CALL),
        (
            "<tool_result>22C</tool_result><｜Assistant｜><think>",
            "Warm.</think>It is warm.",
        ),
    ]);
    let ask = json!({"role": "user", "content": "weather in Rome?"});
    let first = json!({"model": "m", "tools": [weather()], "messages": [ask]});
    let first = rig.post(PATH, &first).ok();
    let call = &first["choices"][0]["message"]["tool_calls"][0];
    let call = json!({"id": call["id"], "type": "function", "function": {
        "name": "get_weather", "arguments": "{ \"city\" : \"Rome\" }",
    }});
    let second = json!({"model": "m", "tools": [weather()], "messages": [
        ask,
        {"role": "assistant", "content": "One moment.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "22C"},
    ]});
    let second = rig.post(PATH, &second).ok();
    assert_eq!(second["choices"][0]["message"]["content"], "It is warm.");
    let before = first["usage"]["total_tokens"].as_u64().unwrap();
    let cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
        .as_u64()
        .unwrap();
    assert!(
        cached + 1 >= before,
        "{before} were there, {cached} were used"
    );
    // A client that changed what was said gets what it says.
    let call = json!({"id": call["id"], "type": "function", "function": {
        "name": "get_weather", "arguments": "{\"city\":\"Oslo\"}",
    }});
    let changed = json!({"model": "m", "tools": [weather()], "messages": [
        ask,
        {"role": "assistant", "content": "One moment.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "22C"},
    ]});
    let changed = rig.post(PATH, &changed).ok();
    let cached_then = changed["usage"]["prompt_tokens_details"]["cached_tokens"]
        .as_u64()
        .unwrap();
    assert!(cached_then < before, "{changed}");
}

#[test]
fn stops_choices_logprobs_and_biases_are_kept() {
    let rig = saying(&[("count<｜Assistant｜></think>", "one two three four five")]);
    let body = json!({
        "model": "m", "think": false, "stop": [" four", "never"], "n": 3,
        "logprobs": true, "top_logprobs": 2,
        "messages": [{"role": "user", "content": "count"}],
    });
    let whole = rig.post(PATH, &body).ok();
    let choices = whole["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 3);
    for (index, choice) in choices.iter().enumerate() {
        assert_eq!(choice["index"], index);
        assert_eq!(choice["message"]["content"], "one two three");
        assert_eq!(choice["finish_reason"], "stop");
        let tokens = choice["logprobs"]["content"].as_array().unwrap();
        let bytes = tokens
            .iter()
            .flat_map(|token| token["bytes"].as_array().unwrap());
        let bytes: Vec<u8> = bytes.map(|byte| byte.as_u64().unwrap() as u8).collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), "one two three");
        for token in tokens {
            assert!(token["logprob"].as_f64().unwrap() < 0.0);
            assert_eq!(token["top_logprobs"].as_array().unwrap().len(), 2);
        }
    }
    // Noise, of which one token is made certain.
    let biased = json!({
        "model": "m", "think": false, "max_tokens": 5, "logit_bias": {"70": 1000},
        "messages": [{"role": "user", "content": "anything"}],
    });
    let text = rig.post(PATH, &biased).ok()["choices"][0]["message"]["content"].clone();
    let text = text.as_str().unwrap();
    assert_eq!(text, text[..text.len() / 5].repeat(5));
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let rig = Rig::new();
    let hello = json!([{"role": "user", "content": "hello"}]);
    let cases: [(Value, &str); 16] = [
        (json!({"messages": []}), "messages"),
        (json!({"messages": "x"}), "messages"),
        (
            json!({"messages": [{"role": "wizard", "content": ""}]}),
            "messages[0].role",
        ),
        (json!({"messages": [{"content": ""}]}), "messages[0].role"),
        (
            json!({"messages": [{"role": "user", "content": 5}]}),
            "messages[0].content",
        ),
        (
            json!({"messages": hello, "temperature": "hot"}),
            "temperature",
        ),
        (json!({"messages": hello, "temperature": -1}), "temperature"),
        (json!({"messages": hello, "top_p": 2}), "top_p"),
        (json!({"messages": hello, "max_tokens": 0}), "max_tokens"),
        (json!({"messages": hello, "n": 99}), "n"),
        (
            json!({"messages": hello, "top_logprobs": 3}),
            "top_logprobs",
        ),
        (json!({"messages": hello, "functions": []}), "functions"),
        (
            json!({"messages": hello, "modalities": ["text", "audio"]}),
            "modalities",
        ),
        (
            json!({"messages": hello, "tool_choice": "required"}),
            "tool_choice",
        ),
        (
            json!({"messages": hello, "reasoning_effort": "enormous"}),
            "reasoning_effort",
        ),
        (
            json!({"messages": hello, "logit_bias": {"9999999": 1}}),
            "logit_bias",
        ),
    ];
    for (body, param) in cases {
        let reply = rig.post(PATH, &body);
        assert_eq!(reply.status(), 400, "{body}: {}", reply.body);
        let error = &reply.json()["error"];
        assert_eq!(error["param"], param, "{body}: {error}");
        assert_eq!(error["type"], "invalid_request_error");
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .contains(param.split('[').next().unwrap())
        );
    }
    let stray = json!({"messages": [
        {"role": "user", "content": "a"},
        {"role": "tool", "tool_call_id": "call_x", "content": "b"},
    ]});
    let error = rig.post(PATH, &stray).json()["error"]["message"].clone();
    assert!(
        error.as_str().unwrap().contains("send the whole history"),
        "{error}"
    );
}

#[test]
fn too_long_a_prompt_is_worded_as_clients_expect() {
    let rig = Rig::new();
    let long = "x y ".repeat(CONTEXT);
    let body = json!({"messages": [{"role": "user", "content": long}], "stream": true});
    let reply = rig.post(PATH, &body);
    assert_eq!(reply.status(), 400);
    let error = reply.json()["error"].clone();
    assert_eq!(error["code"], "context_length_exceeded");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with("This model's maximum context length is 4096 tokens. However, your"),
        "{message}"
    );
}
