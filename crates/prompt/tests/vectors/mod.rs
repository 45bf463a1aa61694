//! Reading the vector files with the crate's own JSON reader: it keeps key order and number text,
//! which the cases need.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a broken vector file fails its test")]

use std::io::Read;
use std::path::Path;

use std::sync::LazyLock;

use ds4_prompt::Tokenizer;
use ds4_prompt::json::{self, Grammar, Value};

/// The published tokenizer.
pub(crate) static TOKENIZER: LazyLock<Tokenizer> =
    LazyLock::new(|| Tokenizer::from_json(content("tokenizer.json.gz").as_bytes()).unwrap());

/// The cases of a vector file.
pub(crate) fn cases(file: &str) -> Vec<Value> {
    let value = json::parse(&content(file), Grammar::Python).unwrap();
    list(&value, "cases").to_vec()
}

/// A file of `tests/data`, unpacked.
fn content(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(file);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut content = String::new();
    if file.ends_with(".gz") {
        flate2::read::GzDecoder::new(&bytes[..])
            .read_to_string(&mut content)
            .unwrap();
    } else {
        content = String::from_utf8(bytes).unwrap();
    }
    content
}

/// A string field that must be there.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no text {field:?}"))
}

/// An array field that must be there.
pub(crate) fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    match value.get(field) {
        Some(Value::Array(items)) => items,
        _ => panic!("no array {field:?}"),
    }
}

/// A boolean field.
pub(crate) fn flag(value: &Value, field: &str, default: bool) -> bool {
    match value.get(field) {
        Some(Value::Bool(flag)) => *flag,
        _ => default,
    }
}
