//! The published tokenizer, read once for all tests.

use std::io::Read;
use std::sync::LazyLock;

use ds4_prompt::{TokenId, Tokenizer};

/// The bytes of a file in `tests/data`, unpacked if its name ends in `.gz`.
pub(crate) fn data(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    if !name.ends_with(".gz") {
        return file;
    }
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file.as_slice())
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

/// The cases of a vector file.
pub(crate) fn cases(name: &str) -> Vec<serde_json::Value> {
    let mut file: serde_json::Value = serde_json::from_slice(&data(name)).unwrap();
    serde_json::from_value(file["cases"].take()).unwrap()
}

pub(crate) fn ids(list: &serde_json::Value) -> Vec<TokenId> {
    let list = list.as_array().unwrap();
    list.iter()
        .map(|id| TokenId(u32::try_from(id.as_u64().unwrap()).unwrap()))
        .collect()
}

pub(crate) static JSON: LazyLock<Vec<u8>> = LazyLock::new(|| data("tokenizer.json.gz"));
pub(crate) static TOKENIZER: LazyLock<Tokenizer> =
    LazyLock::new(|| Tokenizer::from_json(&JSON).unwrap());
