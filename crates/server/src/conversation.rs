//! From the items of a dialect to the messages of a prompt: the rules all dialects share.
//!
//! Leading system and developer texts form the system text. Later ones become a text of the user's
//! turn at their place: at the front they would change the prefix of everything before them.
//! Neighbouring assistant items of one turn (reasoning, text, calls) form one message. An assistant
//! text at the end is a beginning to go on from.

use std::collections::HashSet;
use std::sync::Arc;

use ds4_prompt::chat::{Answer, Content, Ending, Instructions, Message, Part, ToolCall};
use ds4_prompt::json::Value;

use crate::ask::{Format, Tool};
use crate::error::{ApiError, Kind};
use crate::memory::Memory;
use crate::replay::Said;

/// A conversation as it is read.
#[derive(Debug)]
pub(crate) struct Conversation<'a> {
    memory: Memory<'a>,
    system: Vec<String>,
    messages: Vec<Message>,
    /// For each assistant message, the turn it repeats.
    found: Vec<Option<Arc<Said>>>,
    /// The assistant's turn that is being put together.
    open: Option<Answer>,
    /// What its reasoning was signed with.
    signature: Option<String>,
    called: HashSet<String>,
}

/// What a finished conversation is.
pub(crate) struct Read {
    pub(crate) messages: Vec<Message>,
    /// For each assistant message, the turn it repeats.
    pub(crate) found: Vec<Option<Arc<Said>>>,
    /// Whether the model goes on from a text of its own: it cannot think first.
    pub(crate) goes_on: bool,
}

impl<'a> Conversation<'a> {
    /// An empty one, in which assistant messages are looked up in `memory`.
    pub(crate) fn new(memory: Memory<'a>) -> Self {
        Self {
            memory,
            system: Vec::new(),
            messages: Vec::new(),
            found: Vec::new(),
            open: None,
            signature: None,
            called: HashSet::new(),
        }
    }

    /// System or developer text.
    pub(crate) fn system(&mut self, content: &Content) {
        let text = content.joined("\n\n").into_owned();
        if self.messages.is_empty() && self.open.is_none() {
            self.system.push(text);
        } else {
            self.user(Content::Text(text));
        }
    }

    pub(crate) fn user(&mut self, content: Content) {
        self.close();
        self.messages.push(Message::User {
            content,
            task: None,
        });
    }

    /// The result of a call that must have been made.
    pub(crate) fn result(
        &mut self,
        call_id: Option<&str>,
        content: Content,
        path: &str,
    ) -> Result<(), ApiError> {
        self.close();
        if let Some(id) = call_id
            && !self.called.contains(id)
        {
            let problem = format!(
                "is the result of call {id:?}, which is not among the calls before it; send the \
                 whole history"
            );
            return Err(ApiError::field(path, problem));
        }
        self.messages.push(Message::Tool {
            call_id: call_id.map(str::to_owned),
            content,
        });
        Ok(())
    }

    /// Reasoning of the assistant.
    pub(crate) fn thought(&mut self, text: &str) {
        self.answer().reasoning.push_str(text);
    }

    /// What the reasoning of the assistant was signed with.
    pub(crate) fn signed(&mut self, signature: &str) {
        self.answer();
        self.signature = Some(signature.to_owned());
    }

    /// Text of the assistant.
    pub(crate) fn said(&mut self, text: &str) {
        if let Content::Text(said) = &mut self.answer().content {
            said.push_str(text);
        }
    }

    /// A call by the assistant.
    pub(crate) fn called(&mut self, call: ToolCall) {
        if let Some(id) = &call.id {
            self.called.insert(id.clone());
        }
        self.answer().calls.push(call);
    }

    /// An assistant message that says nothing is one all the same.
    pub(crate) fn answered(&mut self) {
        self.answer();
    }

    fn answer(&mut self) -> &mut Answer {
        self.open.get_or_insert_with(Answer::default)
    }

    fn close(&mut self) {
        let signature = self.signature.take();
        let Some(mut answer) = self.open.take() else {
            return;
        };
        let found = self.memory.find(signature.as_deref(), &answer);
        if let Some(said) = &found {
            // Clients may hold less of it than was thought.
            answer.reasoning.clone_from(&said.thought);
        }
        self.found.push(found);
        self.messages.push(Message::Assistant(answer));
    }

    /// The messages, with what stands in the system text.
    pub(crate) fn finish(mut self, tools: &[Tool], format: &Format) -> Result<Read, ApiError> {
        let goes_on = match self.open.take() {
            None => false,
            Some(answer) if !answer.calls.is_empty() => {
                let problem = "the conversation ends with calls; send their results";
                return Err(ApiError::new(Kind::Invalid, problem));
            }
            // Reasoning without an answer leaves nothing to go on from: the turn is asked for anew.
            Some(answer) if answer.content.joined("").is_empty() => false,
            Some(mut answer) => {
                answer.ending = Ending::Open;
                self.found.push(None);
                self.messages.push(Message::Assistant(answer));
                true
            }
        };
        let asks =
            |message: &Message| matches!(message, Message::User { .. } | Message::Tool { .. });
        if !goes_on && !self.messages.last().is_some_and(asks) {
            // Nobody asked anything yet; the model answers the system text.
            self.user(Content::default());
        }
        let response_format = match format {
            Format::Text => None,
            Format::Json => Some(Value::Object(vec![(
                "type".to_owned(),
                Value::String("object".to_owned()),
            )])),
            Format::Schema(schema) => Some(schema.clone()),
        };
        let lines: Vec<Value> = tools.iter().map(|tool| tool.line.clone()).collect();
        if !self.system.is_empty() || !lines.is_empty() || response_format.is_some() {
            let instructions = Instructions {
                content: self.system.join("\n\n").into(),
                tools: lines,
                response_format,
            };
            self.messages.insert(0, Message::System(instructions));
        }
        Ok(Read {
            messages: self.messages,
            found: self.found,
            goes_on,
        })
    }
}

/// A content: text, or parts of which `text` says which are text.
pub(crate) fn content(value: Option<&Value>, path: &str) -> Result<Content, ApiError> {
    match value {
        None => Ok(Content::default()),
        Some(Value::String(text)) => Ok(Content::Text(text.clone())),
        Some(Value::Array(parts)) => {
            let is_part = |value: &Value| matches!(value, Value::String(_) | Value::Object(_));
            if let Some(at) = parts.iter().position(|value| !is_part(value)) {
                let found = parts[at].type_name();
                let problem = format!("is of type {found}; a part is an object");
                return Err(ApiError::field(&format!("{path}[{at}]"), problem));
            }
            Ok(Content::Parts(parts.iter().map(part).collect()))
        }
        Some(other) => {
            let found = other.type_name();
            let problem = format!("is of type {found}; it must be a string or an array of parts");
            Err(ApiError::field(path, problem))
        }
    }
}

/// One part. A refusal is text the model said; anything else is named by a placeholder, since an
/// agent that gets an error instead tends to be stuck.
pub(crate) fn part(value: &Value) -> Part {
    if let Value::String(text) = value {
        return Part::Text(text.clone());
    }
    let text = |field| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let kind = text("type").unwrap_or_else(|| "text".to_owned());
    match kind.as_str() {
        "text" | "input_text" | "output_text" | "summary_text" | "reasoning_text" => {
            Part::Text(text("text").unwrap_or_default())
        }
        "refusal" => Part::Text(text("refusal").unwrap_or_default()),
        _ => Part::Unsupported(kind),
    }
}
