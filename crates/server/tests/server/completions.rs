//! `/v1/completions`.

use serde_json::json;

use crate::rig::{Rig, saying};

const PATH: &str = "/v1/completions";

#[test]
fn text_goes_on_without_roles() {
    let rig = saying(&[("Once upon a", " time, long ago. <think>User</think>")]);
    let mut body = json!({"model": "m", "prompt": "Once upon a", "max_tokens": 60});
    let whole = rig.post(PATH, &body).ok();
    assert_eq!(whole["object"], "text_completion");
    let choice = &whole["choices"][0];
    assert_eq!(choice["text"], " time, long ago. <think>User</think>");
    assert_eq!(choice["finish_reason"], "stop");
    body["echo"] = true.into();
    body["stop"] = ",".into();
    let whole = rig.post(PATH, &body).ok();
    assert_eq!(whole["choices"][0]["text"], "Once upon a time");
    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    let datas = rig.post(PATH, &body).datas();
    let text: String = datas
        .iter()
        .filter_map(|data| data["choices"][0]["text"].as_str())
        .collect();
    assert_eq!(text, "Once upon a time");
    assert!(
        datas.last().unwrap()["usage"]["prompt_tokens"]
            .as_u64()
            .unwrap()
            > 3
    );
}

#[test]
fn logprobs_stand_in_parallel_lists() {
    let rig = saying(&[("a", "b c d")]);
    let body = json!({"prompt": ["a"], "logprobs": 3, "n": 2});
    let whole = rig.post(PATH, &body).ok();
    let choice = &whole["choices"][1];
    assert_eq!(choice["text"], "b c d");
    let logprobs = &choice["logprobs"];
    let tokens: Vec<&str> = logprobs["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token.as_str().unwrap())
        .collect();
    assert_eq!(tokens.concat(), "b c d");
    let mut offset = 0;
    for (at, token) in tokens.iter().enumerate() {
        assert_eq!(logprobs["text_offset"][at], offset);
        offset += token.len();
        assert!(logprobs["token_logprobs"][at].as_f64().unwrap() < 0.0);
        assert!(!logprobs["top_logprobs"][at].as_object().unwrap().is_empty());
    }
}

#[test]
fn tokens_are_a_prompt_and_several_prompts_are_none() {
    let rig = Rig::new();
    let whole = rig
        .post(PATH, &json!({"prompt": [[70, 71, 72]], "max_tokens": 2}))
        .ok();
    assert_eq!(whole["usage"]["prompt_tokens"], 4, "BOS stands before them");
    for (body, param) in [
        (json!({"prompt": ["a", "b"]}), "prompt"),
        (json!({"prompt": {"a": 1}}), "prompt"),
        (json!({"prompt": [1, "a"]}), "prompt"),
        (json!({"prompt": [99_999_999]}), "prompt"),
        (json!({"prompt": "a", "best_of": 3}), "best_of"),
        (json!({"prompt": "a", "echo": true, "logprobs": 1}), "echo"),
        (json!({"prompt": "a", "suffix": "b"}), "suffix"),
    ] {
        let reply = rig.post(PATH, &body);
        assert_eq!(reply.status(), 400, "{body}: {}", reply.body);
        assert_eq!(reply.json()["error"]["param"], param, "{body}");
    }
}
