//! The published `tokenizer.json`, read with suspicion.
//!
//! The file describes a pipeline; this crate implements one. So every field that could ask for
//! something else is checked, and a file of another model is refused with the field that differs,
//! instead of giving other ids than its author meant.

use serde_json::Value;

use super::vocab::{MAX_TOKENS, TokenType};
use super::{Tokenizer, TokenizerError};

/// The published file has 6 MB.
const MAX_FILE: usize = 1 << 28;

/// The three split stages, as the published file writes them.
const STAGES: [&str; 3] = [
    r"\p{N}{1,3}",
    "[一-龥\u{3040}-ゟ゠-ヿ]+",
    concat!(
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|"##,
        "[^\r\n",
        r"\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[",
        "\r\n",
        r"]*|\s*[",
        "\r\n",
        r"]+|\s+(?!\S)|\s+",
    ),
];

/// Settings that must be off: each would change ids in a way this crate does not implement.
const OFF: [&str; 5] = [
    "/model/dropout",
    "/model/unk_token",
    "/model/continuing_subword_prefix",
    "/model/end_of_word_suffix",
    "/model/byte_fallback",
];

impl Tokenizer {
    /// Reads the published `tokenizer.json`.
    ///
    /// # Errors
    /// If it is not JSON, describes a pipeline other than DeepSeek V4's, or its vocabulary does not
    /// hold together.
    pub fn from_json(file: &[u8]) -> Result<Self, TokenizerError> {
        if file.len() > MAX_FILE {
            return Err(TokenizerError::TooMany {
                what: "bytes of JSON",
                limit: MAX_FILE,
            });
        }
        let file: Value = serde_json::from_slice(file)?;
        check_pipeline(&file)?;

        let mut table = Table::default();
        for (token, id) in object(&file, "/model/vocab")? {
            table.set(id, "/model/vocab", token, TokenType::Base)?;
        }
        for (i, added) in array(&file, "/added_tokens")?.iter().enumerate() {
            let field = format!("/added_tokens/{i}");
            let Some(content) = added["content"].as_str() else {
                return Err(differs(
                    &format!("{field}/content"),
                    "a string",
                    &added["content"],
                ));
            };
            for flag in ["single_word", "lstrip", "rstrip"] {
                let flag_of = added.get(flag).unwrap_or(&Value::Bool(false));
                if flag_of != &Value::Bool(false) {
                    return Err(differs(&format!("{field}/{flag}"), "false", flag_of));
                }
            }
            table.set(&added["id"], &field, content, TokenType::Added)?;
        }
        let tokens = table.tokens()?;
        let merges = array(&file, "/model/merges")?;
        let merges = merges
            .iter()
            .enumerate()
            .map(|(i, merge)| merge_text(i, merge));
        let merges = merges.collect::<Result<Vec<String>, _>>()?;
        Self::from_vocab(
            tokens.into_iter(),
            merges.iter().map(String::as_str),
            Some(&table.types),
        )
    }
}

fn check_pipeline(file: &Value) -> Result<(), TokenizerError> {
    let at = |field: &str| file.pointer(field).cloned().unwrap_or(Value::Null);
    let want = |field: &str, ok: bool, wanted: &'static str| match ok {
        true => Ok(()),
        false => Err(differs(field, wanted, &at(field))),
    };
    want("/model/type", at("/model/type") == "BPE", "\"BPE\"")?;
    for field in OFF {
        let off = matches!(at(field), Value::Null | Value::Bool(false)) || at(field) == "";
        want(field, off, "nothing")?;
    }
    let normalizers = at("/normalizer/normalizers");
    let none = normalizers == Value::Array(Vec::new()) || at("/normalizer").is_null();
    want("/normalizer", none, "nothing")?;
    let ignore_merges = at("/model/ignore_merges");
    want(
        "/model/ignore_merges",
        ignore_merges != Value::Bool(true),
        "false",
    )?;

    let stages = at("/pre_tokenizer/pretokenizers");
    let count = stages.as_array().map_or(0, Vec::len);
    want(
        "/pre_tokenizer/pretokenizers",
        count == STAGES.len() + 1,
        "three splits and a byte level",
    )?;
    for (i, stage) in STAGES.iter().enumerate() {
        let field = format!("/pre_tokenizer/pretokenizers/{i}");
        let split = &stages[i];
        let same = split["type"] == "Split"
            && split["pattern"]["Regex"] == *stage
            && split["behavior"] == "Isolated"
            && split["invert"] == false;
        want(&field, same, "the split stage of DeepSeek V4")?;
    }
    let last = &stages[STAGES.len()];
    let bytes = last["type"] == "ByteLevel"
        && last["add_prefix_space"] == false
        && last["use_regex"] == false;
    want(
        "/pre_tokenizer/pretokenizers/3",
        bytes,
        "a plain byte level",
    )
}

/// Tokens by id, while they are collected from the file's two lists.
#[derive(Default)]
struct Table<'a> {
    tokens: Vec<Option<&'a str>>,
    types: Vec<TokenType>,
}

impl<'a> Table<'a> {
    fn set(
        &mut self,
        id: &Value,
        field: &str,
        token: &'a str,
        kind: TokenType,
    ) -> Result<(), TokenizerError> {
        let index = id.as_u64().and_then(|id| usize::try_from(id).ok());
        let Some(index) = index.filter(|&index| index < MAX_TOKENS) else {
            return Err(differs(field, "an id below 1,048,576", id));
        };
        if index >= self.tokens.len() {
            self.tokens.resize(index + 1, None);
            self.types.resize(index + 1, TokenType::Base);
        }
        // An added token may stand in the base list as well, under the same id.
        if self.tokens[index].is_some_and(|known| known != token) {
            return Err(differs(field, "an id of its own", id));
        }
        self.tokens[index] = Some(token);
        self.types[index] = kind;
        Ok(())
    }

    fn tokens(&self) -> Result<Vec<&'a str>, TokenizerError> {
        let all = self.tokens.iter().enumerate().map(|(id, token)| {
            token.ok_or_else(|| differs("/model/vocab", "ids without gaps", &Value::from(id)))
        });
        all.collect()
    }
}

/// A merge as `left right`; newer files write a list of two.
fn merge_text(i: usize, merge: &Value) -> Result<String, TokenizerError> {
    let sides = |list: &Vec<Value>| match list.as_slice() {
        [Value::String(left), Value::String(right)] => Some(format!("{left} {right}")),
        _ => None,
    };
    let text = match merge {
        Value::String(text) => Some(text.clone()),
        Value::Array(list) => sides(list),
        _ => None,
    };
    text.ok_or_else(|| differs(&format!("/model/merges/{i}"), "two tokens", merge))
}

fn array<'a>(file: &'a Value, field: &str) -> Result<&'a Vec<Value>, TokenizerError> {
    let value = file.pointer(field).unwrap_or(&Value::Null);
    value
        .as_array()
        .ok_or_else(|| differs(field, "a list", value))
}

fn object<'a>(
    file: &'a Value,
    field: &str,
) -> Result<&'a serde_json::Map<String, Value>, TokenizerError> {
    let value = file.pointer(field).unwrap_or(&Value::Null);
    value
        .as_object()
        .ok_or_else(|| differs(field, "an object", value))
}

fn differs(field: &str, wanted: &'static str, found: &Value) -> TokenizerError {
    let mut found = found.to_string();
    if let Some((cut, _)) = found.char_indices().nth(80) {
        found.truncate(cut);
        found.push('…');
    }
    TokenizerError::Field {
        field: field.into(),
        wanted,
        found,
    }
}
