//! What a shape lets through, over the published vocabulary.

use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

use ds4_engine::Grammar as _;
use ds4_engine::sampling::TokenMask;
use ds4_prompt::dsml::Begin;
use ds4_prompt::json::{Grammar, parse};
use ds4_prompt::{Generation, TokenId, Tokenizer};
use flate2::read::GzDecoder;

use super::{Masks, Shape, Vocabulary};
use crate::ask::{Ask, Serving};
use crate::config::Config;
use crate::dialect::Dialect;
use crate::error::ApiError;
use crate::fields::Fields;
use crate::memory::Memory;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../prompt/tests/data");
    let file = std::fs::File::open(data.join("tokenizer.json.gz")).unwrap();
    let mut text = Vec::new();
    GzDecoder::new(file).read_to_end(&mut text).unwrap();
    Tokenizer::from_json(&text).unwrap()
});
static VOCABULARY: LazyLock<Vocabulary> =
    LazyLock::new(|| Vocabulary::new(&TOKENIZER, TOKENIZER.vocab_len()).unwrap());

const EOS: &str = "<｜end▁of▁sentence｜>";

fn ask(body: &str) -> Ask {
    let body = parse(body, Grammar::Strict).unwrap();
    let serving = Serving {
        generation: Generation::April,
        context: 1 << 20,
        is_thinking: true,
    };
    let limits = Config::default().limits;
    let body = Fields::root(&body).unwrap();
    Dialect::Chat
        .read(&body, serving, &limits, Memory::NONE)
        .unwrap()
}

fn shape(rest: &str) -> Result<Option<Shape>, ApiError> {
    let body = format!(r#"{{"messages": [{{"role": "user", "content": "q"}}], {rest}}}"#);
    Shape::of(&ask(&body), &VOCABULARY)
}

/// How much of an answer passes, in tokens: all of them, or as many as come before the first that
/// is not allowed.
fn passes(shape: &Shape, text: &str) -> Result<usize, String> {
    let mut masks = Masks::begin(shape, Begin::Reasoning, &TOKENIZER).unwrap();
    let tokens = TOKENIZER.encode_with_added(text);
    let mut mask = TokenMask::none(TOKENIZER.vocab_len());
    for (at, &TokenId(token)) in tokens.iter().enumerate() {
        mask.clear();
        masks.allow(&mut mask);
        if !mask.allows(token) {
            let (before, after) = tokens.split_at(at);
            return Err(format!(
                "{} | {}",
                TOKENIZER.decode(before),
                TOKENIZER.decode(after)
            ));
        }
        masks.accept(token);
    }
    Ok(tokens.len())
}

#[track_caller]
fn check(shape: &Shape, good: &[&str], bad: &[&str]) {
    for text in good {
        passes(shape, &format!("{text}{EOS}")).unwrap();
    }
    for text in bad {
        assert!(passes(shape, &format!("{text}{EOS}")).is_err(), "{text}");
    }
}

#[test]
fn a_schema_holds_after_the_reasoning() {
    let shape = shape(
        r##""response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {
            "type": "object", "additionalProperties": false, "required": ["n", "who"],
            "properties": {"n": {"type": "integer"}, "who": {"$ref": "#/$defs/who"}},
            "$defs": {"who": {"enum": ["you", "I"]}}}}}"##,
    );
    let shape = shape.unwrap().unwrap();
    check(
        &shape,
        &[
            "Free { \"thoughts\" ]</think>{\"n\": -12, \"who\": \"you\"}",
            "</think>{\"n\": 0, \"who\": \"I\"}",
        ],
        &[
            "no end of thoughts",
            "</think>Sure: {\"n\": 0, \"who\": \"I\"}",
            "</think>{\"n\": 0.5, \"who\": \"I\"}",
            "</think>{\"n\": 0}",
            "</think>{\"n\": 0, \"who\": \"they\"}",
            "</think>{\"n\": 0, \"who\": \"I\"} and more",
        ],
    );
}

#[test]
fn any_object() {
    let shape = shape(r#""response_format": {"type": "json_object"}"#)
        .unwrap()
        .unwrap();
    let deep = "</think>{\"a\": [1, {\"b\": null}], \"c\": \"d\\n\\u001fé中\"}";
    check(
        &shape,
        &[deep, "</think>{}"],
        &["</think>[]", "</think>{\"a\": }", "</think>{"],
    );
}

const TOOLS: &str = r#""tools": [
    {"type": "function", "function": {"name": "strict_one", "strict": true, "parameters": {
        "type": "object", "required": ["path", "mode"], "properties": {
            "path": {"type": "string"},
            "mode": {"type": "string", "enum": ["read", "write"]},
            "lines": {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]}
    }}}},
    {"type": "function", "function": {"name": "free_one"}}]"#;

fn block(calls: &str) -> String {
    format!("</think>\n\n<｜DSML｜tool_calls>\n{calls}</｜DSML｜tool_calls>")
}

fn call(name: &str, parameters: &str) -> String {
    format!("<｜DSML｜invoke name=\"{name}\">\n{parameters}</｜DSML｜invoke>\n")
}

fn parameter(name: &str, is_text: bool, value: &str) -> String {
    format!("<｜DSML｜parameter name=\"{name}\" string=\"{is_text}\">{value}</｜DSML｜parameter>\n")
}

fn strict_calls() -> (Vec<String>, Vec<String>) {
    let path = parameter("path", true, "a\n<b> \"c\" é");
    let mode = parameter("mode", true, "read");
    let all = parameter("lines", false, "[1, 22]");
    let none = parameter("lines", false, "null");
    let good = vec![
        call("strict_one", &format!("{path}{mode}")),
        call("strict_one", &format!("{path}{mode}{all}")),
        call("strict_one", &format!("{path}{mode}{none}"))
            + &call("strict_one", &format!("{path}{mode}")),
        call("free_one", &parameter("x", false, "{\"y\": 1}")),
        call("free_one", "\n"),
    ];
    let bad = vec![
        call("strict_one", &path),
        call("strict_one", &format!("{mode}{path}")),
        call(
            "strict_one",
            &format!("{path}{}", parameter("mode", true, "delete")),
        ),
        call(
            "strict_one",
            &format!("{path}{mode}{}", parameter("lines", false, "[1.5]")),
        ),
        call(
            "strict_one",
            &format!("{path}{mode}{}", parameter("more", true, "x")),
        ),
        call("strict_one", "\n"),
        call("other_one", "\n"),
        String::new(),
    ];
    (good, bad)
}

#[test]
fn a_required_call_is_made_and_a_strict_one_fits() {
    let shape = shape(&format!("{TOOLS}, \"tool_choice\": \"required\""))
        .unwrap()
        .unwrap();
    let (good, bad) = strict_calls();
    let good: Vec<String> = good.iter().map(|calls| block(calls)).collect();
    let mut bad: Vec<String> = bad.iter().map(|calls| block(calls)).collect();
    bad.push("</think>I would rather talk.".to_owned());
    let (good, bad): (Vec<&str>, Vec<&str>) = (
        good.iter().map(String::as_str).collect(),
        bad.iter().map(String::as_str).collect(),
    );
    check(&shape, &good, &bad);
}

#[test]
fn a_named_tool_is_the_only_one_and_called_once() {
    let choice = r#""tool_choice": {"type": "function", "function": {"name": "free_one"}}"#;
    let shape = shape(&format!("{TOOLS}, {choice}")).unwrap().unwrap();
    let once = call("free_one", "\n");
    let twice = block(&once.repeat(2));
    let other = block(&strict_calls().0[0]);
    check(&shape, &[&block(&once)], &[&twice, &other]);
}

#[test]
fn text_stays_free_and_calls_of_strict_tools_fit() {
    let shape = shape(TOOLS).unwrap().unwrap();
    let (good, bad) = strict_calls();
    let with_text = |calls: &String| format!("hm</think>Let <me> look:{}", &block(calls)[8..]);
    let good: Vec<String> = good.iter().map(with_text).collect();
    let bad: Vec<String> = bad.iter().map(with_text).collect();
    let mut good: Vec<&str> = good.iter().map(String::as_str).collect();
    good.push("</think>Nothing to call. {\"a\": ");
    good.push("only thoughts");
    let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
    check(&shape, &good, &bad);
}

#[test]
fn what_is_not_demanded_is_free_and_what_cannot_be_followed_is_refused() {
    let free = r#""tools": [{"type": "function", "function": {"name": "f"}}]"#;
    assert!(shape(free).unwrap().is_none());
    for schema in [
        r#"{"type": "object", "properties": {"a": {"type": "nonsense"}}}"#,
        r#"{"$ref": "https://example.com/schema"}"#,
        r##"{"$ref": "#/$defs/missing"}"##,
        r#"{"type": "string", "pattern": "(?<=a)b"}"#,
    ] {
        let format = format!(
            r#""response_format": {{"type": "json_schema", "json_schema": {{"schema": {schema}}}}}"#
        );
        let error = shape(&format).expect_err(schema);
        assert_eq!(error.param.as_deref(), Some("response_format"), "{error:?}");
        assert!(error.message.contains("cannot be followed: "), "{error:?}");
    }
}
