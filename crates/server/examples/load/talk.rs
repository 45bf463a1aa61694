//! A conversation in one of three dialects: what is sent, and what is read of the reply.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, Reply};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Chat,
    Messages,
    Responses,
}

/// One turn of the model.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    pub(crate) text: String,
    pub(crate) thought: String,
    /// Id and path of every call.
    pub(crate) calls: Vec<(String, String)>,
    pub(crate) prompt: u64,
    pub(crate) cached: u64,
    pub(crate) generated: u64,
}

/// A conversation of an agent that keeps its history, or lets the server keep it.
pub(crate) struct Talk {
    address: SocketAddr,
    dialect: Dialect,
    system: String,
    items: Vec<Value>,
    previous: Value,
    is_streamed: bool,
}

fn schema() -> Value {
    json!({"type": "object", "required": ["path"], "properties": {"path": {"type": "string"}}})
}

impl Talk {
    pub(crate) fn new(address: SocketAddr, dialect: Dialect, system: &str, streams: bool) -> Self {
        Self {
            address,
            dialect,
            system: system.to_owned(),
            items: Vec::new(),
            previous: Value::Null,
            is_streamed: streams,
        }
    }

    pub(crate) fn user(&mut self, text: &str) {
        self.items.push(json!({"role": "user", "content": text}));
    }

    pub(crate) fn results(&mut self, results: &[(String, String)]) {
        let result = |(id, text): &(String, String)| match self.dialect {
            Dialect::Chat => json!({"role": "tool", "tool_call_id": id, "content": text}),
            Dialect::Messages => json!({"type": "tool_result", "tool_use_id": id, "content": text}),
            Dialect::Responses => {
                json!({"type": "function_call_output", "call_id": id, "output": text})
            }
        };
        let results: Vec<Value> = results.iter().map(result).collect();
        match self.dialect {
            Dialect::Messages => self.items.push(json!({"role": "user", "content": results})),
            _ => self.items.extend(results),
        }
    }

    fn request(&self) -> (&'static str, Value) {
        let (name, items) = ("read", &self.items);
        let streams = self.is_streamed;
        match self.dialect {
            Dialect::Chat => {
                let mut messages = vec![json!({"role": "system", "content": self.system})];
                messages.extend(items.iter().cloned());
                let tool = json!({"name": name, "parameters": schema()});
                let body = json!({
                    "model": "m", "messages": messages, "stream": streams,
                    "stream_options": {"include_usage": true},
                    "tools": [{"type": "function", "function": tool}],
                });
                ("/v1/chat/completions", body)
            }
            Dialect::Messages => {
                let body = json!({
                    "model": "m", "system": self.system, "messages": items, "stream": streams,
                    "max_tokens": 2000, "tools": [{"name": name, "input_schema": schema()}],
                });
                ("/v1/messages", body)
            }
            Dialect::Responses => {
                let body = json!({
                    "model": "m", "instructions": self.system, "input": items, "stream": streams,
                    "previous_response_id": self.previous, "reasoning": {"summary": "auto"},
                    "tools": [{"type": "function", "name": name, "parameters": schema()}],
                });
                ("/v1/responses", body)
            }
        }
    }

    /// The model's turn. A full line is waited for.
    pub(crate) fn turn(&mut self) -> Turn {
        let (path, body) = self.request();
        let reply = loop {
            let mut client = Client::new(self.address);
            client.send("POST", path, &[], &body.to_string());
            let reply = client.reply();
            if reply.status() != 429 {
                break reply;
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        match self.dialect {
            Dialect::Chat => self.chat(&reply),
            Dialect::Messages => self.message(&reply),
            Dialect::Responses => self.response(&reply),
        }
    }

    fn chat(&mut self, reply: &Reply) -> Turn {
        let (mut turn, mut calls) = (Turn::default(), Vec::<Value>::new());
        let parts = match self.is_streamed {
            true => reply.datas(),
            false => vec![reply.ok()],
        };
        for part in &parts {
            if part["usage"].is_object() {
                let usage = &part["usage"];
                turn.prompt = number(&usage["prompt_tokens"]);
                turn.cached = number(&usage["prompt_tokens_details"]["cached_tokens"]);
                turn.generated = number(&usage["completion_tokens"]);
            }
            let choice = &part["choices"][0];
            let delta = match self.is_streamed {
                true => &choice["delta"],
                false => &choice["message"],
            };
            turn.text.push_str(delta["content"].as_str().unwrap_or(""));
            let thought = delta["reasoning_content"].as_str();
            turn.thought.push_str(thought.unwrap_or(""));
            for call in delta["tool_calls"].as_array().into_iter().flatten() {
                match call["id"].is_string() {
                    true => calls.push(call.clone()),
                    false => {
                        let last = &mut calls.last_mut().unwrap()["function"]["arguments"];
                        let more = call["function"]["arguments"].as_str().unwrap();
                        *last = format!("{}{more}", last.as_str().unwrap()).into();
                    }
                }
            }
        }
        let call = |call: &Value| {
            let arguments = call["function"]["arguments"].as_str().unwrap();
            let arguments: Value = serde_json::from_str(arguments).unwrap();
            (text(&call["id"]), text(&arguments["path"]))
        };
        turn.calls = calls.iter().map(call).collect();
        // As many clients do, the reasoning is not sent back.
        let mut said = json!({"role": "assistant", "content": turn.text});
        if !calls.is_empty() {
            said["tool_calls"] = calls.into();
        }
        self.items.push(said);
        turn
    }

    fn message(&mut self, reply: &Reply) -> Turn {
        let mut turn = Turn::default();
        let mut content = Vec::<Value>::new();
        if self.is_streamed {
            let mut arguments = String::new();
            for event in reply.datas() {
                let delta = &event["delta"];
                match event["type"].as_str().unwrap() {
                    "message_start" => usage(&event["message"]["usage"], &mut turn),
                    "message_delta" => usage(&event["usage"], &mut turn),
                    "content_block_start" => {
                        arguments.clear();
                        content.push(event["content_block"].clone());
                    }
                    "content_block_delta" => {
                        let block = content.last_mut().unwrap();
                        for field in ["thinking", "text", "signature"] {
                            if let Some(more) = delta[field].as_str() {
                                block[field] = format!("{}{more}", text(&block[field])).into();
                            }
                        }
                        arguments.push_str(delta["partial_json"].as_str().unwrap_or(""));
                    }
                    "content_block_stop" if !arguments.is_empty() => {
                        let input: Value = serde_json::from_str(&arguments).unwrap();
                        content.last_mut().unwrap()["input"] = input;
                        arguments.clear();
                    }
                    "error" => panic!("{event}"),
                    _ => {}
                }
            }
        } else {
            let reply = reply.ok();
            usage(&reply["usage"], &mut turn);
            content.clone_from(reply["content"].as_array().unwrap());
        }
        for block in &content {
            match block["type"].as_str().unwrap() {
                "text" => turn.text.push_str(block["text"].as_str().unwrap()),
                "thinking" => turn.thought.push_str(block["thinking"].as_str().unwrap()),
                _ => turn
                    .calls
                    .push((text(&block["id"]), text(&block["input"]["path"]))),
            }
        }
        self.items
            .push(json!({"role": "assistant", "content": content}));
        turn
    }

    fn response(&mut self, reply: &Reply) -> Turn {
        let whole = match self.is_streamed {
            true => reply.datas().pop().unwrap()["response"].clone(),
            false => reply.ok(),
        };
        assert_eq!(whole["status"], "completed", "{whole}");
        let usage = &whole["usage"];
        let mut turn = Turn {
            prompt: number(&usage["input_tokens"]),
            cached: number(&usage["input_tokens_details"]["cached_tokens"]),
            generated: number(&usage["output_tokens"]),
            ..Turn::default()
        };
        for item in whole["output"].as_array().unwrap() {
            match item["type"].as_str().unwrap() {
                "reasoning" => turn.thought.push_str(&text(&item["summary"][0]["text"])),
                "message" => turn.text.push_str(&text(&item["content"][0]["text"])),
                _ => {
                    let arguments = item["arguments"].as_str().unwrap();
                    let arguments: Value = serde_json::from_str(arguments).unwrap();
                    turn.calls
                        .push((text(&item["call_id"]), text(&arguments["path"])));
                }
            }
        }
        self.items.clear();
        self.previous = whole["id"].clone();
        turn
    }
}

fn usage(usage: &Value, turn: &mut Turn) {
    if usage["input_tokens"].is_u64() {
        turn.cached = number(&usage["cache_read_input_tokens"]);
        turn.prompt = turn.cached + number(&usage["input_tokens"]);
    }
    turn.generated = number(&usage["output_tokens"]);
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("").to_owned()
}
