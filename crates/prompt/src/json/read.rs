//! Reading: strict JSON, or what Python's `json.loads` accepts. One pass, no number is ever
//! converted.

use std::collections::HashMap;

use super::{Number, Value};

/// Nesting beyond this is refused. Real schemas stay below 20.
pub const MAX_DEPTH: usize = 128;

/// Text beyond this is refused: a tree costs up to some thirty bytes per byte of text.
pub const MAX_BYTES: usize = 16 << 20;

/// Which texts are numbers. Everything else is plain JSON in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grammar {
    /// JSON and nothing else. For what the model wrote.
    Strict,
    /// Also `NaN`, `Infinity` and `-Infinity`, as Python's reader does. For what goes into a
    /// prompt.
    Python,
}

/// Why a text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text ends inside a value.
    #[error("JSON ends inside a value")]
    Ends,
    /// A byte that cannot stand here.
    #[error("not JSON at byte {at}")]
    Unexpected {
        /// Offset of the byte.
        at: usize,
    },
    /// A bad escape, or a raw control character, inside a string.
    #[error("bad escape or control character in a JSON string at byte {at}")]
    BadString {
        /// Offset of the byte.
        at: usize,
    },
    /// More nesting than allowed.
    #[error("JSON nested deeper than {limit} levels at byte {at}")]
    TooDeep {
        /// Offset of the bracket.
        at: usize,
        /// Levels allowed.
        limit: usize,
    },
    /// More text than allowed.
    #[error("JSON text of {bytes} bytes; at most {MAX_BYTES} are read")]
    TooLong {
        /// Bytes given.
        bytes: usize,
    },
}

/// Reads one value that fills `text`, white space around it aside.
///
/// Half a surrogate pair becomes U+FFFD: nothing else in the prompt could carry it. A repeated key
/// keeps its first place and its last value.
pub fn parse(text: &str, grammar: Grammar) -> Result<Value, JsonError> {
    parse_nested(text, grammar, MAX_DEPTH)
}

/// [`parse`] with another bound on the nesting.
pub(crate) fn parse_nested(
    text: &str,
    grammar: Grammar,
    max_depth: usize,
) -> Result<Value, JsonError> {
    if text.len() > MAX_BYTES {
        return Err(JsonError::TooLong { bytes: text.len() });
    }
    let mut reader = Reader {
        text,
        at: 0,
        grammar,
        max_depth,
    };
    reader.skip_space();
    let value = reader.value(0)?;
    reader.skip_space();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.unexpected()),
    }
}

/// What Python's reader takes for numbers besides JSON's.
const NON_FINITE: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

struct Reader<'a> {
    text: &'a str,
    at: usize,
    grammar: Grammar,
    max_depth: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The error for whatever stands here.
    fn unexpected(&self) -> JsonError {
        match self.peek() {
            None => JsonError::Ends,
            Some(_) => JsonError::Unexpected { at: self.at },
        }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Takes `byte` if it is next.
    fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(value);
        }
        Err(self.unexpected())
    }

    /// A value at nesting `depth`; white space before it is gone.
    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        match self.peek() {
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'{' | b'[') if depth >= self.max_depth => Err(JsonError::TooDeep {
                at: self.at,
                limit: self.max_depth,
            }),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => self.number(),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            self.skip_space();
            items.push(self.value(depth)?);
            self.skip_space();
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            if !self.take(b',') {
                return Err(self.unexpected());
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut members = Members::default();
        self.skip_space();
        if self.take(b'}') {
            return Ok(Value::Object(members.list));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected());
            }
            let key = self.string()?;
            self.skip_space();
            if !self.take(b':') {
                return Err(self.unexpected());
            }
            self.skip_space();
            let value = self.value(depth)?;
            members.set(key, value);
            self.skip_space();
            if self.take(b'}') {
                return Ok(Value::Object(members.list));
            }
            if !self.take(b',') {
                return Err(self.unexpected());
            }
        }
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        if self.grammar == Grammar::Python {
            let rest = &self.text.as_bytes()[start..];
            let word = NON_FINITE
                .iter()
                .find(|word| rest.starts_with(word.as_bytes()));
            if let Some(word) = word {
                self.at += word.len();
                return Ok(Value::Number(Number::from_checked(word)));
            }
        }
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        Ok(Value::Number(Number::from_checked(text)))
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        match self.at > start {
            true => Ok(()),
            false => Err(self.unexpected()),
        }
    }

    /// A string; its opening quote is next.
    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let plain_from = self.at;
            while self
                .peek()
                .is_some_and(|b| b >= 0x20 && b != b'"' && b != b'\\')
            {
                self.at += 1;
            }
            out.push_str(&self.text[plain_from..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                Some(_) => return Err(JsonError::BadString { at: self.at }),
                None => return Err(JsonError::Ends),
            }
        }
    }

    /// What an escape stands for; the backslash is gone.
    fn escape(&mut self) -> Result<char, JsonError> {
        let plain = match self.peek().ok_or(JsonError::Ends)? {
            b'u' => {
                self.at += 1;
                return self.unicode_escape();
            }
            b @ (b'"' | b'\\' | b'/') => b.into(),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            _ => return Err(JsonError::BadString { at: self.at }),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let unit = self.hex4()?;
        if !(0xD800..0xDC00).contains(&unit) {
            // A low half on its own is no character.
            return Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let after_high = self.at;
        if self.take(b'\\') && self.take(b'u') {
            let low = self.hex4()?;
            if (0xDC00..0xE000).contains(&low) {
                let code = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                return Ok(char::from_u32(code).expect("a surrogate pair is a character"));
            }
        }
        // Whatever followed the lone half is read again, for itself.
        self.at = after_high;
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut unit = 0;
        for _ in 0..4 {
            let byte = self.peek().ok_or(JsonError::Ends)?;
            let digit = char::from(byte).to_digit(16);
            unit = unit * 16 + digit.ok_or(JsonError::BadString { at: self.at })?;
            self.at += 1;
        }
        Ok(unit)
    }
}

/// Members of an object being read.
#[derive(Default)]
struct Members {
    list: Vec<(String, Value)>,
    /// Built once an object is too large to be searched: a million keys must not cost a trillion
    /// comparisons.
    places: HashMap<String, usize>,
}

impl Members {
    const SEARCHED: usize = 16;

    fn set(&mut self, key: String, value: Value) {
        let place = if self.list.len() <= Self::SEARCHED {
            self.list.iter().position(|(k, _)| *k == key)
        } else {
            if self.places.is_empty() {
                let known = self.list.iter().enumerate();
                self.places = known.map(|(i, (k, _))| (k.clone(), i)).collect();
            }
            self.places.get(&key).copied()
        };
        match place {
            Some(place) => self.list[place].1 = value,
            None => {
                if !self.places.is_empty() {
                    self.places.insert(key.clone(), self.list.len());
                }
                self.list.push((key, value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(text: &str) -> String {
        parse(text, Grammar::Python).unwrap().to_prompt()
    }

    #[test]
    fn printed_as_python_prints() {
        // Left: input; right: `json.dumps(json.loads(input), ensure_ascii=False)` of CPython 3.12.
        let cases = [
            (
                r#" {"b":1,"a":[ ],"c":{}} "#,
                r#"{"b": 1, "a": [], "c": {}}"#,
            ),
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a": 3, "b": 2}"#),
            (r#""\u00e9\/\u007f\u2028""#, "\"é/\u{7f}\u{2028}\""),
            (r#""\ud83d\ude00""#, "\"😀\""),
            (
                r#"[NaN,Infinity,-Infinity,true,null]"#,
                "[NaN, Infinity, -Infinity, true, null]",
            ),
            (r#""\b\f\n\r\t\u0001\u001F""#, r#""\b\f\n\r\t\u0001\u001f""#),
        ];
        for (input, output) in cases {
            assert_eq!(prompt(input), output);
        }
    }

    #[test]
    fn half_a_pair_becomes_the_replacement_character() {
        assert_eq!(prompt(r#""\ud83d""#), "\"\u{fffd}\"");
        assert_eq!(prompt(r#""\ude00x""#), "\"\u{fffd}x\"");
        assert_eq!(prompt(r#""\ud83d\n""#), "\"\u{fffd}\\n\"");
        assert_eq!(prompt(r#""\ud83d\ud83d\ude00""#), "\"\u{fffd}😀\"");
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\"}",
            "{\"a\":1,}",
            "{a:1}",
            "'a'",
            "01",
            "1.",
            ".5",
            "1e",
            "-",
            "+1",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"",
            "tru",
            "nul",
            "1 2",
            "\u{feff}1",
            "\"\\ud83d\\u12\"",
        ] {
            assert!(parse(text, Grammar::Python).is_err(), "{text:?}");
        }
        for word in ["NaN", "Infinity", "-Infinity", "[NaN]"] {
            assert!(parse(word, Grammar::Strict).is_err(), "{word}");
        }
    }

    #[test]
    fn nesting_is_bounded_and_reported() {
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(parse(&deep(MAX_DEPTH), Grammar::Strict).is_ok());
        let refused = parse(&deep(MAX_DEPTH + 1), Grammar::Strict);
        let at = MAX_DEPTH;
        assert_eq!(
            refused,
            Err(JsonError::TooDeep {
                at,
                limit: MAX_DEPTH
            })
        );
    }

    #[test]
    fn numbers_stay_as_written_in_the_compact_form() {
        let text = r#"{"a": 1.50, "b": 12345678901234567890123, "c": -0, "d": 1E5}"#;
        let compact = parse(text, Grammar::Strict).unwrap().to_compact();
        assert_eq!(
            compact,
            r#"{"a":1.50,"b":12345678901234567890123,"c":-0,"d":1E5}"#
        );
    }

    #[test]
    fn many_keys_keep_order_and_last_value() {
        let members: Vec<String> = (0..200).map(|i| format!("\"k{}\": {i}", i % 50)).collect();
        let value = parse(&format!("{{{}}}", members.join(",")), Grammar::Strict).unwrap();
        let Value::Object(list) = value else {
            panic!("an object")
        };
        assert_eq!(list.len(), 50);
        assert_eq!(list[0], ("k0".into(), Value::Number(Number::from_int(150))));
        assert_eq!(list[49].0, "k49");
    }
}
