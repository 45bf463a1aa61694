//! Vocabularies from files: whole ones, small ones, and those that do not hold together.

use ds4_gguf::Gguf;
use ds4_gguf::ValueType;
use ds4_gguf::write::{MetadataBuf, Plan, ValueBuf, Writer};
use ds4_prompt::{Special, TokenId, TokenType, Tokenizer, TokenizerError};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fuzz_body::byte_symbols;
use crate::published::{JSON, TOKENIZER, cases, ids};

/// Bytes, one merge, two added tokens that the bytes could spell.
fn small() -> Value {
    let mut vocab = serde_json::Map::new();
    for symbol in byte_symbols() {
        vocab.insert(symbol, vocab.len().into());
    }
    vocab.insert("ab".into(), 256.into());
    let mut file: Value = serde_json::from_slice(&JSON).unwrap();
    file["model"]["vocab"] = vocab.into();
    file["model"]["merges"] = json!(["a b"]);
    let added = |id: u32, text: &str| json!({"id": id, "content": text, "normalized": false});
    file["added_tokens"] = json!([added(257, "<｜User｜>"), added(258, "<｜User")]);
    file
}

fn read(file: &Value) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::from_json(&serde_json::to_vec(file).unwrap())
}

fn tokens(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer
        .encode_with_added(text)
        .into_iter()
        .map(|id| id.0)
        .collect()
}

#[test]
fn small_vocabulary() {
    let tokenizer = read(&small()).unwrap();
    assert_eq!(tokenizer.vocab_len(), 259);
    let wanted = [256, b'c'.into(), 257, 258, b'>'.into()];
    assert_eq!(tokens(&tokenizer, "abc<｜User｜><｜User>"), wanted);
    assert_eq!(tokenizer.special(Special::User), Some(TokenId(257)));
    assert_eq!(tokenizer.special(Special::Bos), None);
}

#[test]
fn merges_as_pairs() {
    let mut file = small();
    file["model"]["merges"] = json!([["a", "b"]]);
    assert_eq!(tokens(&read(&file).unwrap(), "ab"), [256]);
}

/// What is refused, where in the file, and with which words.
#[test]
fn files_that_are_refused() {
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 19] = [
        (
            |f| f["model"]["type"] = json!("Unigram"),
            "/model/type: expected \"BPE\", found \"Un",
        ),
        (
            |f| f["model"]["dropout"] = json!(0.1),
            "/model/dropout: expected nothing, found 0.1",
        ),
        (
            |f| f["model"]["byte_fallback"] = json!(true),
            "/model/byte_fallback",
        ),
        (
            |f| f["model"]["ignore_merges"] = json!(true),
            "/model/ignore_merges",
        ),
        (
            |f| f["normalizer"] = json!({"type": "NFC"}),
            "/normalizer: expected nothing",
        ),
        (
            |f| f["pre_tokenizer"] = Value::Null,
            "/pre_tokenizer/pretokenizers",
        ),
        (
            |f| f["pre_tokenizer"]["pretokenizers"][1]["pattern"]["Regex"] = json!("x"),
            "/pre_tokenizer/pretokenizers/1: expected the split stage of DeepSeek V4",
        ),
        (
            |f| f["pre_tokenizer"]["pretokenizers"][3]["use_regex"] = json!(true),
            "a plain byte level",
        ),
        (
            |f| f["added_tokens"][0]["lstrip"] = json!(true),
            "/added_tokens/0/lstrip: expected false",
        ),
        (
            |f| f["added_tokens"][0]["content"] = json!(3),
            "/added_tokens/0/content",
        ),
        (
            |f| f["added_tokens"][0]["id"] = json!(5),
            "/added_tokens/0: expected an id of its own",
        ),
        (
            |f| f["added_tokens"][0]["id"] = json!(1u64 << 40),
            "expected an id below 1,048,576",
        ),
        (
            |f| f["added_tokens"][0]["id"] = json!(1_000_000),
            "/model/vocab: expected ids without",
        ),
        (
            |f| f["model"]["vocab"]["x y"] = json!(259),
            "token 259 \"x y\" has ' '",
        ),
        (
            |f| f["model"]["vocab"][""] = json!(259),
            "token 259 is empty",
        ),
        (|f| f["model"]["merges"] = json!(["a  b"]), "\"a  b\""),
        (
            |f| f["model"]["merges"] = json!(["b a"]),
            "needs the token \"ba\", which is not in",
        ),
        (
            |f| f["model"]["merges"] = json!(["ab"]),
            "not two tokens with a space between",
        ),
        (
            |f| f["model"]["merges"] = json!(["a b", "a b"]),
            "is merge 0 again",
        ),
    ];
    for (change, wanted) in changes {
        let mut file = small();
        change(&mut file);
        let error = read(&file).expect_err(wanted).to_string();
        assert!(error.contains(wanted), "{error:?} does not say {wanted:?}");
    }
    let mut file = small();
    file["model"]["vocab"].as_object_mut().unwrap().remove("Ā");
    assert!(read(&file).is_err());
    assert!(matches!(
        Tokenizer::from_json(b"{"),
        Err(TokenizerError::Json(_))
    ));
    assert!(matches!(
        Tokenizer::from_json(&b"[".repeat(1 << 20)),
        Err(TokenizerError::Json(_))
    ));
}

#[test]
fn lists_that_do_not_hold_together() {
    let bytes = byte_symbols();
    let base = || bytes.iter().map(String::as_str);
    let error = |tokens: &mut dyn Iterator<Item = &str>, types: Option<&[TokenType]>| {
        let merges = std::iter::empty();
        Tokenizer::from_vocab(tokens, merges, types)
            .expect_err("refused")
            .to_string()
    };
    assert_eq!(
        error(&mut base().chain(["a"]), None),
        "tokens 97 and 256 are both \"a\""
    );
    let missing = error(&mut base().skip(1), None);
    assert_eq!(
        missing,
        "no token for the byte 0x00; byte-level vocabularies have all 256"
    );
    let types = [TokenType::Base; 3];
    assert_eq!(
        error(&mut base(), Some(&types)),
        "256 tokens, but 3 token types"
    );
    let endless = error(&mut std::iter::repeat("a"), None);
    assert_eq!(endless, "more than 1048576 tokens");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_files_do_no_harm(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut file = serde_json::to_vec(&small()).unwrap();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Ok(tokenizer) = Tokenizer::from_json(&file) {
            let text = "ab <｜User｜> 中文\n";
            prop_assert_eq!(tokenizer.decode(&tokenizer.encode_with_added(text)), text);
        }
    }
}

/// The published vocabulary as a weight file carries it.
fn metadata() -> MetadataBuf {
    let file: Value = serde_json::from_slice(&JSON).unwrap();
    let mut tokens = vec![ValueBuf::Str(String::new()); 129_280];
    let mut types = vec![ValueBuf::I32(1); 129_280];
    for (token, id) in file["model"]["vocab"].as_object().unwrap() {
        tokens[id.as_u64().unwrap() as usize] = ValueBuf::Str(token.clone());
    }
    for added in file["added_tokens"].as_array().unwrap() {
        let id = added["id"].as_u64().unwrap() as usize;
        tokens[id] = ValueBuf::Str(added["content"].as_str().unwrap().into());
        types[id] = ValueBuf::I32(if added["special"] == true { 3 } else { 4 });
    }
    let merges = file["model"]["merges"].as_array().unwrap().iter();
    let merges = merges
        .map(|merge| ValueBuf::Str(merge.as_str().unwrap().into()))
        .collect();
    let mut metadata = MetadataBuf::new();
    metadata.set("general.architecture", "deepseek4");
    metadata.set("tokenizer.ggml.model", "gpt2");
    metadata.set("tokenizer.ggml.pre", "joyai-llm");
    metadata.set(
        "tokenizer.ggml.tokens",
        ValueBuf::Array(ValueType::Str, tokens),
    );
    metadata.set(
        "tokenizer.ggml.token_type",
        ValueBuf::Array(ValueType::I32, types),
    );
    metadata.set(
        "tokenizer.ggml.merges",
        ValueBuf::Array(ValueType::Str, merges),
    );
    metadata
}

fn gguf(metadata: &MetadataBuf) -> Gguf {
    let writer = Writer::to_memory(Plan::new(metadata, &[]).unwrap());
    Gguf::from_bytes("made.gguf", writer.finish().unwrap()).unwrap()
}

#[test]
fn weight_file() {
    let mut metadata = metadata();
    let tokenizer = Tokenizer::from_gguf(&gguf(&metadata)).unwrap();
    metadata.remove("tokenizer.ggml.token_type");
    let without_types = Tokenizer::from_gguf(&gguf(&metadata)).unwrap();
    for case in cases("tokenizer-strings.json.gz") {
        let (text, wanted) = (case["text"].as_str().unwrap(), ids(&case["ids"]));
        assert_eq!(tokenizer.encode_with_added(text), wanted, "{}", case["id"]);
        assert_eq!(
            without_types.encode_with_added(text),
            wanted,
            "{}",
            case["id"]
        );
    }
    let same = |special| tokenizer.special(special) == TOKENIZER.special(special);
    assert!(Special::ALL.into_iter().all(same));

    let refused = |metadata: &MetadataBuf| {
        Tokenizer::from_gguf(&gguf(metadata))
            .expect_err("refused")
            .to_string()
    };
    metadata.set("tokenizer.ggml.pre", "llama-bpe");
    let wanted = "tokenizer.ggml.pre: expected joyai-llm, found \"llama-bpe\"";
    assert_eq!(refused(&metadata), wanted);
    metadata.set("tokenizer.ggml.pre", "joyai-llm");
    metadata.set(
        "tokenizer.ggml.merges",
        ValueBuf::Array(ValueType::I32, Vec::new()),
    );
    let wanted = "tokenizer.ggml.merges: expected strings, found [i32; 0]";
    assert_eq!(refused(&metadata), wanted);
    metadata.remove("tokenizer.ggml.merges");
    assert!(refused(&metadata).starts_with("made.gguf: metadata key \"tokenizer.ggml.merges\""));
}
