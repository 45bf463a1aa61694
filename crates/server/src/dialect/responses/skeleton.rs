//! A reply that has not begun, and what fills its places.

use ds4_prompt::json::Value as Given;
use serde_json::{Value, json};

use crate::answer::Counts;
use crate::ask::Ask;
use crate::clock;
use crate::error::ApiError;
use crate::fields::Fields;

/// A reply that has not begun, with what the request said.
pub(super) fn skeleton(body: &Fields<'_>, ask: &Ask, id: &str) -> Result<Value, ApiError> {
    let given = |field: &str, usual: Value| {
        let value = body.get(field).map(Given::to_compact);
        let value = value.and_then(|text| serde_json::from_str(&text).ok());
        value.unwrap_or(usual)
    };
    Ok(json!({
        "id": id,
        "object": "response",
        "created_at": clock::seconds(),
        "status": "in_progress",
        "background": false,
        "error": null,
        "incomplete_details": null,
        "instructions": given("instructions", Value::Null),
        "max_output_tokens": given("max_output_tokens", Value::Null),
        "metadata": given("metadata", json!({})),
        "model": ask.model,
        "output": [],
        "parallel_tool_calls": !ask.is_one_call,
        "previous_response_id": given("previous_response_id", Value::Null),
        "reasoning": given("reasoning", json!({"effort": null, "summary": null})),
        "service_tier": "default",
        "store": given("store", Value::Bool(true)),
        "temperature": ask.sampling.temperature,
        "text": given("text", json!({"format": {"type": "text"}})),
        "tool_choice": given("tool_choice", "auto".into()),
        "tools": given("tools", json!([])),
        "top_logprobs": given("top_logprobs", 0.into()),
        "top_p": ask.sampling.top_p,
        "truncation": "disabled",
        "usage": null,
        "user": given("user", Value::Null),
    }))
}

/// Input that was one text, as an item.
pub(super) fn user(text: &str) -> Given {
    let member = |key: &str, value: &str| (key.to_owned(), Given::String(value.to_owned()));
    Given::Object(vec![
        member("type", "message"),
        member("role", "user"),
        member("content", text),
    ])
}

/// What it took, in this dialect.
pub(super) fn usage(counts: Counts) -> Value {
    json!({
        "input_tokens": counts.prompt,
        "input_tokens_details": {"cached_tokens": counts.cached, "cache_write_tokens": 0},
        "output_tokens": counts.generated,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning},
        "total_tokens": counts.prompt + counts.generated,
    })
}
