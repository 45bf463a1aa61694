//! Printing: the spacing the model was trained on, and the compact form clients get.

use super::Value;

impl Value {
    /// What Python's `json.dumps(self, ensure_ascii=False)` prints: `", "`, `": "`, doubles in
    /// Python's layout.
    pub fn to_prompt(&self) -> String {
        let mut out = String::new();
        self.write(&PROMPT, &mut out);
        out
    }

    /// No white space, numbers as they were written.
    pub fn to_compact(&self) -> String {
        let mut out = String::new();
        self.write_compact(&mut out);
        out
    }

    /// Appends [`to_compact`](Self::to_compact).
    pub(crate) fn write_compact(&self, out: &mut String) {
        self.write(&COMPACT, out);
    }

    fn write(&self, style: &Style, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(true) => out.push_str("true"),
            Value::Bool(false) => out.push_str("false"),
            Value::Number(number) => match style.numbers {
                Numbers::Python => number.write_python(out),
                Numbers::AsWritten => out.push_str(number.as_written()),
            },
            Value::String(text) => write_string(text, out),
            Value::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { style.comma });
                    item.write(style, out);
                }
                out.push(']');
            }
            Value::Object(members) => {
                out.push('{');
                for (i, (key, value)) in members.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { style.comma });
                    write_string(key, out);
                    out.push_str(style.colon);
                    value.write(style, out);
                }
                out.push('}');
            }
        }
    }
}

struct Style {
    comma: &'static str,
    colon: &'static str,
    numbers: Numbers,
}

enum Numbers {
    Python,
    AsWritten,
}

const PROMPT: Style = Style {
    comma: ", ",
    colon: ": ",
    numbers: Numbers::Python,
};

const COMPACT: Style = Style {
    comma: ",",
    colon: ":",
    numbers: Numbers::AsWritten,
};

/// Appends a quoted string.
pub(crate) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    write_escaped(text, out);
    out.push('"');
}

/// Appends the inside of a quoted string. Python (without ASCII escaping) and JavaScript agree on
/// every character.
pub(crate) fn write_escaped(text: &str, out: &mut String) {
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[plain_from..at]);
        plain_from = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.push_str("\\u00");
                out.push(HEX[usize::from(byte >> 4)].into());
                out.push(HEX[usize::from(byte & 15)].into());
            }
        }
    }
    out.push_str(&text[plain_from..]);
}
