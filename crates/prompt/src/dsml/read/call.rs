//! A call while it is read: its arguments grow as compact JSON text.

use std::collections::HashSet;

use crate::json::{self, Grammar, Value, write_escaped, write_string};

/// Deepest nesting of parameters inside parameters.
pub(super) const NEST_MAX: usize = 16;

/// The call being read.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) name: String,
    /// The arguments so far. Live delivery empties it as it goes.
    pub(super) arguments: String,
    /// The objects that are open: the arguments, and parameters that turned out to hold parameters.
    levels: Vec<Level>,
    /// A key occurred twice in one object.
    repeats: bool,
}

#[derive(Debug, Default)]
struct Level {
    keys: HashSet<String>,
}

impl Call {
    pub(super) fn begin(&mut self, name: String) {
        self.name = name;
        self.arguments.clear();
        self.arguments.push('{');
        self.levels.clear();
        self.levels.push(Level::default());
        self.repeats = false;
    }

    /// Whether no parameter was seen yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.levels.len() == 1 && self.levels[0].keys.is_empty()
    }

    /// Whether a parameter that holds parameters is open.
    pub(super) fn is_nested(&self) -> bool {
        self.levels.len() > 1
    }

    /// Begins a member of the innermost open object.
    pub(super) fn key(&mut self, key: String) {
        let level = self.levels.last_mut().expect("a call is open");
        if !level.keys.is_empty() {
            self.arguments.push(',');
        }
        write_string(&key, &mut self.arguments);
        self.arguments.push(':');
        self.repeats |= !level.keys.insert(key);
    }

    /// Begins a string value.
    pub(super) fn open_string(&mut self) {
        self.arguments.push('"');
    }

    /// Goes on with the string value.
    pub(super) fn push_string(&mut self, text: &str) {
        write_escaped(text, &mut self.arguments);
    }

    /// Ends the string value.
    pub(super) fn close_string(&mut self) {
        self.arguments.push('"');
    }

    /// A value of another type, or the string it would have been.
    pub(super) fn value(&mut self, text: &str) {
        match json::parse(text, Grammar::Strict) {
            Ok(value) => value.write_compact(&mut self.arguments),
            Err(_) => {
                let text =
                    text.replace(super::super::ESCAPED_CLOSING_TAG, super::super::CLOSING_TAG);
                write_string(&text, &mut self.arguments);
            }
        }
    }

    /// The member's value is an object of parameters. False if there are too many inside each
    /// other.
    #[must_use]
    pub(super) fn open_object(&mut self) -> bool {
        self.arguments.push('{');
        self.levels.push(Level::default());
        self.levels.len() <= NEST_MAX
    }

    /// Ends the innermost open object.
    pub(super) fn close_object(&mut self) {
        self.arguments.push('}');
        self.levels.pop();
    }

    /// All arguments at once. False if the text is not a JSON object.
    #[must_use]
    pub(super) fn all_arguments(&mut self, text: &str) -> bool {
        let Ok(value @ Value::Object(_)) = json::parse(text, Grammar::Strict) else {
            return false;
        };
        // The brace of `begin`, which live delivery may have sent.
        let opened = self.arguments.is_empty();
        self.arguments.clear();
        value.write_compact(&mut self.arguments);
        if opened {
            self.arguments.remove(0);
        }
        self.levels.clear();
        true
    }

    /// Ends the call.
    pub(super) fn end(&mut self) {
        if self.levels.pop().is_some() {
            self.arguments.push('}');
        }
    }

    /// The last value of a repeated key wins, in the place of the first.
    pub(super) fn settle_repeats(&mut self) {
        if self.repeats {
            let depth = json::MAX_DEPTH + NEST_MAX + 1;
            let value = json::parse_nested(&self.arguments, Grammar::Strict, depth)
                .expect("the arguments were written as JSON, no deeper than this");
            self.arguments = value.to_compact();
        }
    }
}
