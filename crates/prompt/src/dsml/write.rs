//! Writing calls as markup.

use super::{CLOSING_TAG, ESCAPED_CLOSING_TAG, ToolCall};
use crate::chat::ChatError;
use crate::json::{self, Grammar, Value};
use crate::{Prompt, Special};

/// What to do with [`CLOSING_TAG`] inside an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClosingTags {
    /// Write it so that the reader gets the value back: escaped in strings, `\u003c` inside JSON.
    #[default]
    Escaped,
    /// Write it as it is, as the official encoder does. Such a value ends early when read.
    Raw,
}

/// What to do with arguments that are JSON, but no object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OddArguments {
    /// Treat them as text that is not JSON: one string parameter named `arguments`.
    #[default]
    AsText,
    /// Refuse them, as the official encoder does.
    Refuse,
}

/// The markup of a turn's calls, without the blank line before it. Arguments that are no JSON
/// object are text.
pub fn to_markup(calls: &[ToolCall]) -> String {
    let mut out = Prompt::default();
    write(calls, ClosingTags::Escaped, OddArguments::AsText, &mut out)
        .expect("odd arguments are text here, and nothing else is refused");
    out.text().to_owned()
}

/// Appends the block of a turn's calls to a prompt.
pub(crate) fn write(
    calls: &[ToolCall],
    closing: ClosingTags,
    odd: OddArguments,
    out: &mut Prompt,
) -> Result<(), ChatError> {
    open(out, "tool_calls");
    out.control(">\n");
    for call in calls {
        open(out, "invoke");
        name(out, &call.name);
        out.control(">\n");
        parameters(&members(call, odd)?, closing, out);
        out.control("\n");
        close(out, "invoke");
        out.control("\n");
    }
    close(out, "tool_calls");
    Ok(())
}

/// The arguments of a call, one parameter each.
fn members(call: &ToolCall, odd: OddArguments) -> Result<Vec<(String, Value)>, ChatError> {
    match json::parse(&call.arguments, Grammar::Python) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(other) if odd == OddArguments::Refuse => Err(ChatError::ArgumentsNotObject {
            call: call.name.clone(),
            found: other.type_name(),
        }),
        _ => {
            let text = Value::String(call.arguments.clone());
            Ok(vec![("arguments".to_owned(), text)])
        }
    }
}

/// Parameters, one a line; nothing at all if there are none, which leaves an empty line between the
/// invoke tags.
fn parameters(members: &[(String, Value)], closing: ClosingTags, out: &mut Prompt) {
    for (i, (key, value)) in members.iter().enumerate() {
        if i > 0 {
            out.control("\n");
        }
        open(out, "parameter");
        name(out, key);
        let (kind, text, escape) = match value {
            Value::String(text) => ("true", text.clone(), ESCAPED_CLOSING_TAG),
            // A `<` in JSON text stands inside a string, where this escape means the same
            // character.
            other => ("false", other.to_prompt(), "\\u003c/｜DSML｜parameter>"),
        };
        out.control(" string=\"");
        out.control(kind);
        out.control("\">");
        match closing {
            ClosingTags::Escaped if text.contains(CLOSING_TAG) => {
                out.data(&text.replace(CLOSING_TAG, escape));
            }
            _ => out.data(&text),
        }
        close(out, "parameter");
    }
}

/// ` name="…"`; names are written raw.
fn name(out: &mut Prompt, name: &str) {
    out.control(" name=\"");
    out.data(name);
    out.control("\"");
}

/// `<｜DSML｜element`
fn open(out: &mut Prompt, element: &str) {
    out.control("<");
    out.token(Special::Dsml);
    out.control(element);
}

/// `</｜DSML｜element>`
fn close(out: &mut Prompt, element: &str) {
    out.control("</");
    out.token(Special::Dsml);
    out.control(element);
    out.control(">");
}
