//! A Chat Completions reply.

use serde_json::{Map, Value, json};

use crate::answer::{Answer, Counts, End, Event};
use crate::ask::{Ask, Face, Tool};
use crate::clock;
use crate::error::{ApiError, Family};
use crate::fields::Fields;
use crate::ids;
use crate::ledger::Weighed;
use crate::sse::Sse;
use crate::voice::{Voice, total};

/// One reply.
pub(crate) struct Reply {
    id: String,
    created: u64,
    model: String,
    /// Whether a stream ends with what it took.
    has_usage: bool,
    has_logprobs: bool,
    tools: Vec<Tool>,
}

impl Reply {
    pub(crate) fn new(body: &Fields<'_>, ask: &Ask) -> Result<Self, ApiError> {
        let options = body.object("stream_options")?;
        let has_usage = options
            .map(|options| options.flag("include_usage"))
            .transpose()?;
        Ok(Self {
            id: ids::fresh("chatcmpl-"),
            created: clock::seconds(),
            model: ask.model.clone(),
            has_usage: has_usage.flatten().unwrap_or(false),
            has_logprobs: ask.sampling.report != ds4_engine::sampling::Report::Nothing,
            tools: ask.tools.clone(),
        })
    }

    fn head(&self, object: &str) -> Map<String, Value> {
        let mut head = Map::new();
        head.insert("id".into(), self.id.clone().into());
        head.insert("object".into(), object.into());
        head.insert("created".into(), self.created.into());
        head.insert("model".into(), self.model.clone().into());
        head
    }

    fn chunk(&self, choices: Value, out: &mut Sse) {
        let mut chunk = self.head("chat.completion.chunk");
        chunk.insert("choices".into(), choices);
        if self.has_usage {
            chunk.insert("usage".into(), Value::Null);
        }
        out.data(&Value::Object(chunk));
    }

    fn delta(&self, index: u32, delta: Value, out: &mut Sse) {
        let choice =
            json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null});
        self.chunk(json!([choice]), out);
    }

    /// Whether a call is of a tool whose one argument is a text.
    fn is_custom(&self, name: &str) -> bool {
        let mut tools = self.tools.iter();
        tools.any(|tool| tool.name == name && tool.face == Face::Custom)
    }

    fn call(&self, call: &crate::answer::Call) -> Value {
        if self.is_custom(&call.name) {
            let input = custom_input(&call.arguments);
            return json!({
                "id": call.id,
                "type": "custom",
                "custom": {"name": call.name, "input": input},
            });
        }
        json!({
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        })
    }
}

/// The text a custom tool was called with.
pub(crate) fn custom_input(arguments: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(arguments).ok();
    let input = parsed.as_ref().and_then(|parsed| parsed.get("input"));
    match input.and_then(Value::as_str) {
        Some(input) => input.to_owned(),
        None => arguments.to_owned(),
    }
}

impl Voice for Reply {
    fn open(&mut self, out: &mut Sse) {
        self.delta(0, json!({"role": "assistant", "content": ""}), out);
    }

    fn begin(&mut self, _: Counts, _: &mut Sse) {}

    fn alive(&mut self, progress: Option<(u32, u32)>, out: &mut Sse) {
        let delta = json!({"content": ""});
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": null});
        let mut chunk = self.head("chat.completion.chunk");
        chunk.insert("choices".into(), json!([choice]));
        if let Some((done, total)) = progress {
            chunk.insert("prefill".into(), json!({"done": done, "total": total}));
        }
        out.data(&Value::Object(chunk));
    }

    fn say(&mut self, answer: &Answer, event: Event<'_>, out: &mut Sse) {
        let place = answer.calls.len().saturating_sub(1);
        match (event, answer.calls.last()) {
            (Event::Thought(text), _) => {
                self.delta(answer.index, json!({"reasoning_content": text}), out);
            }
            (Event::Text(text, weighed), _) => {
                let logprobs = match self.has_logprobs {
                    true => json!({"content": logprob_entries(weighed), "refusal": null}),
                    false => Value::Null,
                };
                let choice = json!({
                    "index": answer.index,
                    "delta": {"content": text},
                    "logprobs": logprobs,
                    "finish_reason": null,
                });
                self.chunk(json!([choice]), out);
            }
            (Event::CallEnd, Some(call)) if self.is_custom(&call.name) => {
                let mut call = self.call(call);
                call["index"] = place.into();
                self.delta(answer.index, json!({"tool_calls": [call]}), out);
            }
            (_, Some(call)) if self.is_custom(&call.name) => {}
            (Event::CallStart, Some(call)) => {
                let call = json!({
                    "index": place,
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": ""},
                });
                self.delta(answer.index, json!({"tool_calls": [call]}), out);
            }
            (Event::CallArgs(part), _) => {
                let call = json!({"index": place, "function": {"arguments": part}});
                self.delta(answer.index, json!({"tool_calls": [call]}), out);
            }
            _ => {}
        }
    }

    fn close(&mut self, answer: &Answer, out: &mut Sse) {
        let choice = json!({
            "index": answer.index,
            "delta": {},
            "logprobs": null,
            "finish_reason": finish_reason(answer),
        });
        self.chunk(json!([choice]), out);
    }

    fn end(&mut self, answers: &[Answer], out: &mut Sse) {
        let mut chunk = self.head("chat.completion.chunk");
        chunk.insert("choices".into(), json!([]));
        end(chunk, self.has_usage, answers, out);
    }

    fn fail(&mut self, error: &ApiError, out: &mut Sse) {
        fail(error, out);
    }

    fn whole(&mut self, answers: &[Answer]) -> Result<Value, ApiError> {
        let choice = |answer: &Answer| {
            let mut message = Map::new();
            message.insert("role".into(), "assistant".into());
            let is_silent = answer.text.is_empty() && !answer.calls.is_empty();
            let content = (!is_silent).then(|| answer.text.clone());
            message.insert("content".into(), content.into());
            if !answer.thought.is_empty() {
                message.insert("reasoning_content".into(), answer.thought.clone().into());
            }
            message.insert("refusal".into(), Value::Null);
            if !answer.calls.is_empty() {
                let calls = answer.calls.iter().map(|call| self.call(call));
                message.insert("tool_calls".into(), calls.collect());
            }
            let logprobs = match self.has_logprobs {
                true => json!({"content": logprob_entries(&answer.weighed), "refusal": null}),
                false => Value::Null,
            };
            json!({
                "index": answer.index,
                "message": message,
                "logprobs": logprobs,
                "finish_reason": finish_reason(answer),
            })
        };
        let choices: Vec<Value> = answers.iter().map(choice).collect();
        let mut reply = self.head("chat.completion");
        reply.insert("choices".into(), choices.into());
        reply.insert("usage".into(), usage(total(answers)));
        Ok(Value::Object(reply))
    }
}

/// The end of a stream, with what all of it took in `chunk` if that was asked for.
pub(crate) fn end(mut chunk: Map<String, Value>, told: bool, answers: &[Answer], out: &mut Sse) {
    if told {
        chunk.insert("usage".into(), usage(total(answers)));
        out.data(&Value::Object(chunk));
    }
    out.done();
}

/// The end of a stream that failed.
pub(crate) fn fail(error: &ApiError, out: &mut Sse) {
    out.data(&error.body(Family::OpenAi));
    out.done();
}

fn finish_reason(answer: &Answer) -> &'static str {
    match answer.end {
        Some(End::Calls) => "tool_calls",
        Some(End::Length) => "length",
        Some(End::Broken) => "error",
        _ => "stop",
    }
}

/// What it took, in this dialect.
pub(crate) fn usage(counts: Counts) -> Value {
    json!({
        "prompt_tokens": counts.prompt,
        "completion_tokens": counts.generated,
        "total_tokens": counts.prompt + counts.generated,
        "prompt_tokens_details": {"cached_tokens": counts.cached},
        "completion_tokens_details": {"reasoning_tokens": counts.reasoning},
        "prompt_cache_hit_tokens": counts.cached,
        "prompt_cache_miss_tokens": counts.prompt - counts.cached,
    })
}

/// Tokens with their log-probabilities. Their bytes need not be whole characters.
pub(crate) fn logprob_entries(weighed: &[Weighed]) -> Vec<Value> {
    let entry = |token: &[u8], logprob: f32| {
        json!({
            "token": String::from_utf8_lossy(token),
            "logprob": logprob,
            "bytes": token,
        })
    };
    let with_top = |weighed: &Weighed| {
        let mut own = entry(&weighed.bytes, weighed.logprob);
        let top = weighed
            .top
            .iter()
            .map(|(bytes, logprob)| entry(bytes, *logprob));
        own["top_logprobs"] = top.collect();
        own
    };
    weighed.iter().map(with_top).collect()
}
