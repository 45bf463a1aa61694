//! What must hold for any calls and any text: written calls read back identical, nothing panics,
//! nothing is lost.

use ds4_prompt::dsml::{
    Begin, CALL_MAX, Delivery, ESCAPED_CLOSING_TAG, End, NextByte, Reader, Reading, ToolCall,
    Tools, to_markup,
};
use ds4_prompt::json::{self, Grammar, Value};
use ds4_prompt::{Done, Finish, Markup, Piece};
use proptest::prelude::*;

/// A turn put together again.
#[derive(Debug, Default, PartialEq)]
struct Turn {
    thought: String,
    text: String,
    /// Names, arguments, and whether the call was ended.
    calls: Vec<(String, String, bool)>,
    done: Vec<Done>,
    /// Whether the turn ended before its input did.
    ended_early: bool,
}

fn read<'a>(reading: &Reading, end: End, chunks: impl Iterator<Item = &'a [u8]>) -> Turn {
    let mut turn = Turn::default();
    let mut sink = |piece: Piece<'_>| {
        assert!(turn.done.is_empty(), "{piece:?} after the end");
        match piece {
            Piece::Thought(part) => turn.thought.push_str(&part),
            Piece::Text(part) => turn.text.push_str(&part),
            Piece::CallStart { index, name } => {
                assert_eq!(index as usize, turn.calls.len());
                turn.calls.push((name.into_owned(), String::new(), false));
            }
            Piece::CallArgs { index, json } => turn.calls[index as usize].1.push_str(&json),
            Piece::CallEnd { index } => turn.calls[index as usize].2 = true,
            Piece::Done(done) => turn.done.push(done),
        }
    };
    let mut reader = Reader::new(reading);
    for chunk in chunks {
        reader.push(chunk, &mut sink);
        reader.next_byte();
    }
    let ended_early = reader.is_done();
    reader.finish(end, &mut sink);
    reader.finish(end, &mut sink);
    assert!(reader.is_done());
    assert_eq!(turn.done.len(), 1);
    Turn {
        ended_early,
        ..turn
    }
}

fn parse(text: &str) -> Value {
    json::parse(text, Grammar::Strict).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Pieces of text that come close to markup, and plain ones.
const FRAGMENTS: [&str; 44] = [
    "<",
    ">",
    "/",
    "\"",
    "=",
    " ",
    "\n",
    "\n\n",
    "\t",
    "a",
    "text",
    "é",
    "😀",
    "｜",
    "{",
    "}",
    "[1, ",
    "\\",
    "&lt;/｜DSML｜parameter>",
    "&lt;",
    "<think>",
    "</think>",
    "｜DSML｜",
    "<｜DSML｜",
    "</｜DSML｜",
    "<｜DSML｜tool_calls>",
    "<｜DSML｜invoke name=\"f\">",
    "<｜DSML｜invoke>",
    "<｜DSML｜invoke name=\"g\"/>",
    "<｜DSML｜parameter name=\"a\" string=\"true\">",
    "<｜DSML｜parameter name=\"b\" string=\"false\">",
    "<｜DSML｜parameter name=\"a\">",
    "</｜DSML｜parameter>",
    "</｜DSML｜invoke>",
    "</｜DSML｜tool_calls>",
    "<tool_calls>",
    "<invoke name=\"x\">",
    "</tool_calls>",
    "<｜DSML｜other>",
    "</｜DSML｜other>",
    "<DSML｜tool_calls>",
    "<｜｜DSML｜｜tool_calls>",
    "STOP",
    "ST",
];

fn near_markup(max: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(FRAGMENTS.as_slice()), 0..max)
        .prop_map(|parts| parts.concat())
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), near_markup(6), "[ -~\n]{0,30}"]
}

fn value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>()
            .prop_filter("JSON has only finite ones", |n| n.is_finite())
            .prop_map(|n| format!("{n:e}")),
        "[1-9][0-9]{20,40}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number.prop_map(|text| parse(&text)),
        string().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(string(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A quote that ends an attribute early is the one thing a name cannot hold.
fn name() -> impl Strategy<Value = String> {
    string().prop_filter("names end at such a quote", |name| {
        let ends = [' ', '\t', '\r', '\n', '/', '>'];
        !name
            .match_indices('"')
            .any(|(at, _)| name[at + 1..].starts_with(ends))
    })
}

fn call() -> impl Strategy<Value = (String, Value)> {
    let members = prop::collection::btree_map(name(), value(), 0..5)
        .prop_map(|members| Value::Object(members.into_iter().collect()));
    (name(), members)
}

/// The one thing the escape cannot tell apart is its own spelling.
fn holds_escape(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(_, value)| match value {
            Value::String(text) => text.contains(ESCAPED_CLOSING_TAG),
            _ => false,
        }),
        _ => false,
    }
}

fn cut<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn written_calls_read_back_identical(
        calls in prop::collection::vec(call(), 1..4),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
        live in any::<bool>(),
    ) {
        prop_assume!(!calls.iter().any(|(_, arguments)| holds_escape(arguments)));
        let written: Vec<ToolCall> = calls.iter().map(|(name, arguments)| ToolCall {
            id: None,
            name: name.clone(),
            arguments: arguments.to_compact(),
        }).collect();
        let text = format!("Here:\n\n{}", to_markup(&written));
        let delivery = if live { Delivery::Live } else { Delivery::Whole };
        let reading = Reading { delivery, ..Reading::default() };
        let turn = read(&reading, End::Turn, cut(text.as_bytes(), &cuts).into_iter());
        prop_assert_eq!(turn.text, "Here:");
        prop_assert_eq!(turn.done, [Done { finish: Finish::ToolCalls, markup: Markup::Sound }]);
        prop_assert_eq!(turn.calls.len(), calls.len());
        for ((name, json, ended), (wanted_name, arguments)) in turn.calls.iter().zip(&calls) {
            prop_assert!(ended);
            prop_assert_eq!(name, wanted_name);
            // Numbers are printed for the prompt, so that is where they are compared.
            prop_assert_eq!(parse(json).to_prompt(), arguments.to_prompt());
        }
    }

    #[test]
    fn any_text_in_any_cut_reads_the_same_and_is_conserved(
        text in near_markup(24),
        noise in prop::collection::vec(any::<u8>(), 0..3),
        noise_at in any::<usize>(),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
        thinking in any::<bool>(),
        live in any::<bool>(),
        stop in any::<bool>(),
        length in any::<bool>(),
    ) {
        let mut bytes = text.into_bytes();
        let at = noise_at % (bytes.len() + 1);
        bytes.splice(at..at, noise);
        let reading = Reading {
            begin: if thinking { Begin::Reasoning } else { Begin::Text },
            tools: Tools::Active,
            delivery: if live { Delivery::Live } else { Delivery::Whole },
            stops: if stop { vec!["STOP".to_owned()] } else { Vec::new() },
        };
        let end = if length { End::Length } else { End::Turn };
        let whole = read(&reading, end, [bytes.as_slice()].into_iter());
        prop_assert_eq!(&read(&reading, end, cut(&bytes, &cuts).into_iter()), &whole);
        prop_assert_eq!(&read(&reading, end, bytes.chunks(1)), &whole);

        for (_, json, ended) in &whole.calls {
            if *ended {
                prop_assert!(matches!(parse(json), Value::Object(_)));
            }
        }
        let cut_calls = whole.calls.iter().filter(|(_, _, ended)| !ended).count();
        let broken = whole.done[0].finish == Finish::BrokenCall;
        prop_assert_eq!(cut_calls, usize::from(broken));
        prop_assert!(!broken || live);

        let stopped = matches!(whole.done[0].finish, Finish::StopString { .. });
        if whole.calls.is_empty() && !whole.ended_early && !stopped {
            let input = String::from_utf8_lossy(&bytes);
            prop_assert_eq!(conserved(&input, &whole, thinking), input.as_ref());
        }
    }
}

/// The input as its pieces tell it, with the tags put back that divide them.
fn conserved(input: &str, turn: &Turn, thinking: bool) -> String {
    let closed = turn.done[0].markup != Markup::UnclosedReasoning;
    let repeated = if thinking { "<think>" } else { "</think>" };
    let repeated = if input.starts_with(repeated) {
        repeated
    } else {
        ""
    };
    let divider = if thinking && closed { "</think>" } else { "" };
    format!("{repeated}{}{divider}{}", turn.thought, turn.text)
}

#[test]
fn the_sampler_is_never_left_in_structure() {
    let openings = [
        "<｜DSML｜tool_calls>",
        "<｜DSML｜tool_calls><｜DSML｜invoke name=\"f\">",
        "<｜DSML｜tool_calls><｜DSML｜invoke name=\"f\"><｜DSML｜parameter name=\"a\" string=\"false\">",
    ];
    for opening in openings {
        for filler in [" ", "\n", "1", "[", "<", "x"] {
            let mut reader = Reader::new(&Reading::default());
            let mut sink = |_: Piece<'_>| {};
            reader.push(opening.as_bytes(), &mut sink);
            assert_eq!(reader.next_byte(), NextByte::Structure, "{opening}");
            let mut longest = 0;
            while reader.next_byte() == NextByte::Structure {
                reader.push(filler.as_bytes(), &mut sink);
                longest += 1;
                assert!(longest < 1000, "{opening} {filler:?}");
            }
        }
    }
}

#[test]
fn structure_and_payload_are_told_apart() {
    let turn = "hi\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n\
        <｜DSML｜parameter name=\"a\" string=\"true\">body</｜DSML｜parameter>\n\
        <｜DSML｜parameter name=\"b\" string=\"false\">{\"k\": \"v\"}</｜DSML｜parameter>\n";
    let mut reader = Reader::new(&Reading::default());
    // One letter for what each byte was expected to be.
    let mut seen = String::new();
    for byte in turn.bytes() {
        seen.push(match reader.next_byte() {
            NextByte::Free => 'f',
            NextByte::Structure => 's',
            NextByte::Payload => 'p',
        });
        reader.push(&[byte], &mut |_| {});
    }
    let kinds = |text: &str, from: usize| {
        let at = turn[from..]
            .find(text)
            .map(|at| at + from)
            .unwrap_or_else(|| panic!("{text}"));
        let kinds = &seen[at..at + text.len()];
        kinds.to_owned()
    };
    assert_eq!(kinds("hi", 0), "ff");
    assert_eq!(kinds("tool_calls>\n", 0), "s".repeat(12));
    assert_eq!(kinds("name=\"a\"", 0), "s".repeat(8));
    assert_eq!(kinds("body", 0), "pppp");
    assert_eq!(
        kinds("parameter>", turn.find("body").unwrap_or(0)),
        "s".repeat(10)
    );
    assert_eq!(kinds("{\"k\": \"v\"}", 0), "sspp sspps".replace(' ', "s"));
}

#[test]
fn a_call_beyond_the_bound_is_text_and_memory_stays_bounded() {
    let opening = "<｜DSML｜tool_calls><｜DSML｜invoke name=\"f\">\
        <｜DSML｜parameter name=\"a\" string=\"true\">";
    let body = "x".repeat(1 << 16);
    let count = CALL_MAX / body.len() + 1;
    let chunks = std::iter::once(opening.as_bytes());
    let chunks = chunks.chain(std::iter::repeat_n(body.as_bytes(), count));
    let turn = read(&Reading::default(), End::Turn, chunks);
    assert_eq!(
        turn.done,
        [Done {
            finish: Finish::Stop,
            markup: Markup::Malformed
        }]
    );
    assert_eq!(turn.text.len(), opening.len() + count * body.len());
}

#[test]
fn a_stop_string_ends_visible_text_and_nothing_else() {
    let reading = Reading {
        begin: Begin::Reasoning,
        stops: vec!["END".to_owned(), "</think>".to_owned()],
        ..Reading::default()
    };
    let input = "END of thought</think>say EN\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"END\">\n\
        </｜DSML｜invoke>\n</｜DSML｜tool_calls>";
    let turn = read(&reading, End::Turn, input.as_bytes().chunks(1));
    assert_eq!((turn.text.as_str(), turn.calls.len()), ("say EN", 1));
    let turn = read(
        &reading,
        End::Turn,
        "</think>one END two".as_bytes().chunks(1),
    );
    assert_eq!(turn.text, "one ");
    assert_eq!(turn.done[0].finish, Finish::StopString { index: 0 });
    assert!(turn.ended_early);
}

#[test]
fn a_word_about_markup_hides_no_call() {
    let call = "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n</｜DSML｜invoke>\n\
        </｜DSML｜tool_calls>";
    for before in [
        "Use <tool_calls> here.",
        "a <｜DSML｜note> b",
        "<｜DSML｜x>\n",
        "< <｜D <DSML｜",
    ] {
        let turn = read(
            &Reading::default(),
            End::Turn,
            [before, call].map(str::as_bytes).into_iter(),
        );
        assert_eq!(turn.text, before.trim_end(), "{before:?}");
        assert_eq!(turn.calls.len(), 1, "{before:?}");
    }
}
