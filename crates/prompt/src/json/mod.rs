//! JSON text as the protocol needs it: schemas and arguments printed back the way the model was
//! trained to see them.
//!
//! A general JSON library loses what matters here: the text of a number, the order of keys, the
//! words `NaN` and `Infinity`, and half a surrogate pair. So this module reads text into a
//! [`Value`] that keeps numbers as they were written, and prints it in two styles:
//!
//! * [`Value::to_prompt`]: what Python's `json.dumps(x, ensure_ascii=False)` prints. The model has
//!   seen nothing else.
//! * [`Value::to_compact`]: no white space, numbers untouched. What clients receive as call
//!   arguments.
//!
//! Depth and size are bounded ([`MAX_DEPTH`], [`MAX_BYTES`]); reading and printing are linear in
//! the text.

mod number;
mod read;
mod write;

pub use number::Number;

pub(crate) use read::parse_nested;
pub use read::{Grammar, JsonError, MAX_BYTES, MAX_DEPTH, parse};
pub(crate) use write::{write_escaped, write_string};

/// A JSON value whose numbers are still text and whose keys are in the order received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number as it was written.
    Number(Number),
    /// A string, unescaped.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object: unique keys, each where it first occurred, with the value it had last.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// The value of `key`, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Object(members) => members.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// What this is, for messages: `null`, `boolean`, `number`, `string`, `array`, `object`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        }
    }
}
