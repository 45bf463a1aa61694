//! Answers that must have a shape: schemas, forced calls, strict tools.
//!
//! [`Shape`] says what a request demands, and is compiled before a request joins the line, so that
//! a schema nobody can follow is refused with its field. [`Masks`] follows one answer: it leaves
//! reasoning free, holds the rest to the grammar, and computes each mask on a thread of its own
//! while the device computes the logits it is for.

mod follow;
mod markup;
mod vocabulary;

#[cfg(test)]
mod tests;

use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};

use crate::ask::{Ask, Format, Source, ToolChoice};
use crate::error::{ApiError, Kind};

pub(crate) use follow::Masks;
pub(crate) use vocabulary::Vocabulary;

/// How strings of schemas are laid out: as the model was trained to write them, so that it cannot
/// dwell on white space.
pub(crate) fn spacing() -> Value {
    json!({"whitespace_flexible": false, "item_separator": ", ", "key_separator": ": "})
}

/// What an answer must look like after its reasoning.
#[derive(Clone)]
pub(crate) struct Shape {
    /// The grammar, at its beginning.
    matcher: Matcher,
    pub(crate) hold: Hold,
}

/// From where on the grammar holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// From the end of the reasoning on.
    Answer,
    /// From the first mark of a tool block on: text before it is free.
    Block,
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shape")
            .field("hold", &self.hold)
            .finish_non_exhaustive()
    }
}

impl Shape {
    /// Whether the request demands any.
    pub(crate) fn is_demanded(ask: &Ask) -> bool {
        let is_forced = matches!(ask.choice, ToolChoice::Required | ToolChoice::Named(_));
        let is_strict = ask.tools.iter().any(|tool| tool.is_strict);
        ask.format != Format::Text || is_forced || is_strict
    }

    /// What the request demands; nothing if the model may say what it likes.
    ///
    /// # Errors
    /// If a schema cannot be followed.
    pub(crate) fn of(ask: &Ask, vocabulary: &Vocabulary) -> Result<Option<Self>, ApiError> {
        if !matches!(ask.source, Source::Chat { .. }) {
            return Ok(None);
        }
        let schema = match &ask.format {
            Format::Text => None,
            Format::Json => Some(json!({"type": "object"})),
            Format::Schema(schema) => Some(json_of(schema)),
        };
        let forced = match &ask.choice {
            ToolChoice::Required => Some(None),
            ToolChoice::Named(name) => Some(Some(name.as_str())),
            ToolChoice::None | ToolChoice::Auto => None,
        };
        let is_strict = ask.tools.iter().any(|tool| tool.is_strict);
        let (lark, hold, path) = match (forced, schema) {
            (Some(only), _) => {
                let calls = markup::forced(&ask.tools, only, ask.is_one_call);
                (calls, Hold::Answer, "tools")
            }
            (None, Some(schema)) => {
                let lark = markup::schema_or_calls(schema, &ask.tools, ask.is_one_call);
                (lark, Hold::Answer, "response_format")
            }
            (None, None) if is_strict => (
                markup::after_mark(&ask.tools, ask.is_one_call),
                Hold::Block,
                "tools",
            ),
            (None, None) => return Ok(None),
        };
        let matcher = compile(vocabulary.factory(), lark, path)?;
        Ok(Some(Self { matcher, hold }))
    }
}

fn compile(factory: &ParserFactory, lark: String, path: &str) -> Result<Matcher, ApiError> {
    let parser = factory.create_parser(TopLevelGrammar::from_lark(lark));
    let mut matcher = Matcher::new(parser);
    // The first mask finds what compiling alone does not.
    if matcher.get_error().is_none() {
        let _ = matcher.compute_mask();
    }
    match matcher.get_error() {
        None => Ok(matcher),
        Some(problem) => {
            let problem: String = problem
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(300)
                .collect();
            let message = format!("{path}: a schema cannot be followed: {problem}");
            Err(ApiError {
                param: Some(path.to_owned()),
                ..ApiError::new(Kind::Invalid, message)
            })
        }
    }
}

/// A value of a request in the library's form.
pub(crate) fn json_of(value: &ds4_prompt::json::Value) -> Value {
    serde_json::from_str(&value.to_compact()).unwrap_or(Value::Null)
}
