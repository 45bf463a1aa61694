//! Conversations in the encoder's own JSON form: a list of messages much like the Chat Completions
//! one, with `tools`, `response_format`, `task` and `wo_eos` on the messages they belong to.
//!
//! Strict, as that encoder is: an unknown role, task or effort is refused here. The HTTP dialects
//! have their own readers, which forgive more.

use super::{Answer, ChatError, Content, Ending, Instructions, Message, Part, Task, ToolCall};
use crate::json::{self, Grammar, Value};
use crate::{Effort, Generation};

/// Reads a JSON array of messages.
pub fn messages(text: &str) -> Result<Vec<Message>, ChatError> {
    messages_of(&json::parse(text, Grammar::Python)?)
}

/// [`messages`] of a value already read.
pub fn messages_of(value: &Value) -> Result<Vec<Message>, ChatError> {
    let Value::Array(items) = value else {
        let (field, wanted, found) = ("messages", "array", value.type_name());
        return Err(ChatError::WrongType {
            index: 0,
            field,
            wanted,
            found,
        });
    };
    let fields = items
        .iter()
        .enumerate()
        .map(|(index, value)| Fields { index, value });
    fields.map(message).collect()
}

/// The effort of its word, refusing those this generation does not have. No word is ordinary
/// reasoning.
pub fn effort(generation: Generation, word: Option<&str>) -> Result<Effort, ChatError> {
    let known = match generation {
        Generation::April => "high, max",
        Generation::July => "low, high, max",
    };
    match (generation, word) {
        (_, None) => Ok(generation.ordinary_effort()),
        (Generation::July, Some("low")) => Ok(Effort::Low),
        (_, Some("high")) => Ok(Effort::High),
        (_, Some("max")) => Ok(Effort::Max),
        (_, Some(word)) => {
            let effort = word.to_owned();
            Err(ChatError::UnknownEffort { effort, known })
        }
    }
}

fn message(fields: Fields<'_>) -> Result<Message, ChatError> {
    match fields.text("role")?.unwrap_or_default() {
        "system" => Ok(Message::System(fields.instructions()?)),
        "developer" => Ok(Message::Developer(fields.instructions()?)),
        "user" => Ok(Message::User {
            content: fields.content()?,
            task: fields.task()?,
        }),
        "tool" => Ok(Message::Tool {
            call_id: fields.text("tool_call_id")?.map(str::to_owned),
            content: fields.content()?,
        }),
        "assistant" => Ok(Message::Assistant(Answer {
            content: fields.content()?,
            reasoning: fields
                .text("reasoning_content")?
                .unwrap_or_default()
                .to_owned(),
            calls: fields.calls()?,
            task: fields.task()?,
            ending: fields.ending(),
        })),
        "latest_reminder" => Ok(Message::LatestReminder(fields.content()?)),
        role => Err(ChatError::UnknownRole {
            index: fields.index,
            role: role.to_owned(),
        }),
    }
}

/// The fields of one message. `null` is absence everywhere.
#[derive(Clone, Copy)]
struct Fields<'a> {
    index: usize,
    value: &'a Value,
}

impl<'a> Fields<'a> {
    fn get(self, field: &str) -> Option<&'a Value> {
        self.value.get(field).filter(|value| **value != Value::Null)
    }

    fn wrong(self, field: &'static str, wanted: &'static str, found: &Value) -> ChatError {
        let (index, found) = (self.index, found.type_name());
        ChatError::WrongType {
            index,
            field,
            wanted,
            found,
        }
    }

    fn text(self, field: &'static str) -> Result<Option<&'a str>, ChatError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(field, "string", other)),
        }
    }

    fn list(self, field: &'static str) -> Result<&'a [Value], ChatError> {
        match self.get(field) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(self.wrong(field, "array", other)),
        }
    }

    fn content(self) -> Result<Content, ChatError> {
        match self.get("content") {
            None => Ok(Content::default()),
            Some(Value::String(text)) => Ok(Content::Text(text.clone())),
            Some(Value::Array(parts)) => Ok(Content::Parts(parts.iter().map(part).collect())),
            Some(other) => Err(self.wrong("content", "string or array", other)),
        }
    }

    fn instructions(self) -> Result<Instructions, ChatError> {
        let mut tools = Vec::new();
        for tool in self.list("tools")? {
            let function = tool.get("function");
            tools.push(
                function
                    .ok_or_else(|| self.wrong("tools", "function", tool))?
                    .clone(),
            );
        }
        Ok(Instructions {
            content: self.content()?,
            tools,
            response_format: self.get("response_format").cloned(),
        })
    }

    fn calls(self) -> Result<Vec<ToolCall>, ChatError> {
        let mut calls = Vec::new();
        for call in self.list("tool_calls")? {
            let function = call.get("function").unwrap_or(call);
            let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
            let name = text(function.get("name"));
            calls.push(ToolCall {
                id: text(call.get("id")),
                name: name.ok_or_else(|| self.wrong("tool_calls", "call with a name", call))?,
                arguments: match function.get("arguments") {
                    Some(Value::String(json)) => json.clone(),
                    Some(value) => value.to_compact(),
                    None => String::new(),
                },
            });
        }
        Ok(calls)
    }

    fn task(self) -> Result<Option<Task>, ChatError> {
        let Some(name) = self.text("task")? else {
            return Ok(None);
        };
        match Task::named(name) {
            Some(task) => Ok(Some(task)),
            None => Err(ChatError::UnknownTask {
                index: self.index,
                task: name.to_owned(),
            }),
        }
    }

    fn ending(self) -> Ending {
        match self.get("wo_eos") {
            Some(Value::Bool(true)) => Ending::Open,
            _ => Ending::Closed,
        }
    }
}

/// One part of a content list.
fn part(value: &Value) -> Part {
    let kind = value
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or("unknown");
    match (kind, value.get("text").and_then(Value::as_str)) {
        ("text", text) => Part::Text(text.unwrap_or_default().to_owned()),
        _ => Part::Unsupported(kind.to_owned()),
    }
}
