//! The closed model of a conversation.

use std::borrow::Cow;

use super::ToolCall;
use crate::Special;
use crate::json::Value;

/// One message, in the order of the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// System text. The model knows no token for this role; the text stands as it is.
    System(Instructions),
    /// A user turn with tools of its own. For internal use of the protocol; must have text.
    Developer(Instructions),
    /// What a user said.
    User {
        /// The text.
        content: Content,
        /// Makes the prompt a quick task.
        task: Option<Task>,
    },
    /// The result of a call.
    Tool {
        /// Which call.
        call_id: Option<String>,
        /// The text. Nothing else marks a failed call.
        content: Content,
    },
    /// What the model answered.
    Assistant(Answer),
    /// A reminder between turns.
    LatestReminder(Content),
}

/// System text and what hangs on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instructions {
    /// The text.
    pub content: Content,
    /// The schema of each callable tool, all its keys printed in their order.
    pub tools: Vec<Value>,
    /// The schema of the reply.
    pub response_format: Option<Value>,
}

/// An assistant message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The visible text.
    pub content: Content,
    /// What was thought before.
    pub reasoning: String,
    /// Calls of tools, all of them in one block.
    pub calls: Vec<ToolCall>,
    /// Makes the prompt a quick task about this answer.
    pub task: Option<Task>,
    /// Whether the turn is over.
    pub ending: Ending,
}

/// Whether an assistant turn is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// It ends with EOS.
    #[default]
    Closed,
    /// The model goes on from here.
    Open,
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text.
    Text(String),
    /// Parts, joined when rendered. The same text in parts or not is the same prompt.
    Parts(Vec<Part>),
}

/// One part of a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text.
    Text(String),
    /// Something the model cannot see, by its type: `image`, `document`. A placeholder names it.
    Unsupported(String),
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl Content {
    /// The text, parts joined by `separator`.
    pub fn joined(&self, separator: &str) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Parts(parts) => {
                let mut out = String::new();
                for (i, part) in parts.iter().enumerate() {
                    if i > 0 {
                        out.push_str(separator);
                    }
                    match part {
                        Part::Text(text) => out.push_str(text),
                        Part::Unsupported(kind) => out.push_str(&format!("[Unsupported {kind}]")),
                    }
                }
                Cow::Owned(out)
            }
        }
    }
}

/// A single-purpose prompt the model was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Search or answer?
    Action,
    /// Search queries for the question.
    Query,
    /// Does the answer need an authority?
    Authority,
    /// The domain of the question.
    Domain,
    /// A title for the conversation.
    Title,
    /// Should the URL be read?
    ReadUrl,
}

impl Task {
    /// The task of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "action" => Some(Self::Action),
            "query" => Some(Self::Query),
            "authority" => Some(Self::Authority),
            "domain" => Some(Self::Domain),
            "title" => Some(Self::Title),
            "read_url" => Some(Self::ReadUrl),
            _ => None,
        }
    }

    /// Its token.
    pub fn token(self) -> Special {
        match self {
            Self::Action => Special::Action,
            Self::Query => Special::Query,
            Self::Authority => Special::Authority,
            Self::Domain => Special::Domain,
            Self::Title => Special::Title,
            Self::ReadUrl => Special::ReadUrl,
        }
    }
}
