//! What a reply is made of: reasoning, messages, calls, as a request wants to see them.

use serde_json::{Value, json};

use crate::answer::{Answer, Call};
use crate::ask::{Face, Tool};
use crate::dialect::chat::{custom_input, logprob_entries};

/// How items look.
pub(super) struct Items {
    pub(super) tools: Vec<Tool>,
    pub(super) has_summary: bool,
    pub(super) has_encrypted: bool,
    pub(super) has_logprobs: bool,
}

/// The item that is growing.
pub(super) struct Open {
    pub(super) kind: Item,
    pub(super) id: String,
    pub(super) text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    Reasoning,
    Message,
    Call,
}

impl Items {
    /// An item as it is, or done.
    pub(super) fn item(&self, open: &Open, answer: &Answer, is_done: bool) -> Value {
        let Open { kind, id, text } = open;
        let status = if is_done { "completed" } else { "in_progress" };
        match kind {
            Item::Reasoning => {
                let summary = match self.has_summary && is_done {
                    true => json!([{"type": "summary_text", "text": text}]),
                    false => json!([]),
                };
                let mut item = json!({"id": id, "type": "reasoning", "summary": summary});
                if self.has_encrypted {
                    item["encrypted_content"] = answer.signature.clone().into();
                }
                item
            }
            Item::Message => {
                let content = match is_done {
                    true => {
                        let logprobs = match self.has_logprobs {
                            true => logprob_entries(&answer.weighed),
                            false => Vec::new(),
                        };
                        json!([output_text(text, &logprobs)])
                    }
                    false => json!([]),
                };
                json!({
                    "id": id, "type": "message", "role": "assistant", "status": status,
                    "content": content,
                })
            }
            Item::Call => match answer.calls.last() {
                Some(call) => self.call(id, call, status, is_done),
                None => Value::Null,
            },
        }
    }

    fn call(&self, id: &str, call: &Call, status: &str, is_done: bool) -> Value {
        let arguments = if is_done { call.arguments.as_str() } else { "" };
        let call_id = &call.id;
        match self.face(call) {
            Face::Custom => {
                let input = if is_done {
                    custom_input(arguments)
                } else {
                    String::new()
                };
                json!({
                    "id": id, "type": "custom_tool_call", "status": status, "call_id": call_id,
                    "name": call.name, "input": input,
                })
            }
            Face::Function => json!({
                "id": id, "type": "function_call", "status": status, "call_id": call_id,
                "name": call.name, "arguments": arguments,
            }),
            Face::Namespaced { namespace, name } => json!({
                "id": id, "type": "function_call", "status": status, "call_id": call_id,
                "namespace": namespace, "name": name, "arguments": arguments,
            }),
        }
    }

    /// What a called tool is to the client.
    pub(super) fn face(&self, call: &Call) -> Face {
        let tool = self.tools.iter().find(|tool| tool.name == call.name);
        tool.map_or(Face::Function, |tool| tool.face.clone())
    }
}

/// The text of a message.
pub(super) fn output_text(text: &str, logprobs: &[Value]) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs})
}
