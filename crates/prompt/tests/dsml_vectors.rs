//! Every recorded completion reads as recommended, however it is cut.

mod vectors;

use ds4_prompt::dsml::{Begin, Delivery, End, Reader, Reading, Tools};
use ds4_prompt::json::Value;
use ds4_prompt::{Done, Finish, Markup, Piece, Special, TokenId};
use vectors::{TOKENIZER, cases, flag, list, text};

const EOS: &str = "<｜end▁of▁sentence｜>";

/// A case, ready to be read.
struct Case {
    id: String,
    text: String,
    reading: Reading,
    case: Value,
}

fn load() -> Vec<Case> {
    let ready = |case: Value| {
        let completion = text(&case, "text");
        let completion = completion.strip_suffix(EOS).unwrap_or(completion);
        let thinking = text(&case, "thinking_mode") == "thinking";
        Case {
            id: text(&case, "id").to_owned(),
            text: completion.to_owned(),
            reading: Reading {
                begin: if thinking {
                    Begin::Reasoning
                } else {
                    Begin::Text
                },
                tools: match flag(&case, "tools_enabled", true) {
                    true => Tools::Active,
                    false => Tools::Inactive,
                },
                delivery: Delivery::Whole,
                stops: Vec::new(),
            },
            case,
        }
    };
    cases("dsml-parse.json").into_iter().map(ready).collect()
}

/// The pieces of a turn, neighbours of one kind merged.
fn read<'a>(reading: &Reading, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Piece<'static>> {
    let mut reader = Reader::new(reading);
    let mut pieces: Vec<Piece<'static>> = Vec::new();
    let mut sink = |piece: Piece<'_>| match (pieces.last_mut(), piece) {
        (Some(Piece::Thought(all)), Piece::Thought(part)) => all.to_mut().push_str(&part),
        (Some(Piece::Text(all)), Piece::Text(part)) => all.to_mut().push_str(&part),
        (Some(Piece::CallArgs { json: all, .. }), Piece::CallArgs { json, .. }) => {
            all.to_mut().push_str(&json);
        }
        (_, piece) => pieces.push(piece.into_owned()),
    };
    for chunk in chunks {
        reader.push(chunk, &mut sink);
    }
    reader.finish(End::Turn, &mut sink);
    assert!(reader.is_done());
    pieces
}

/// A turn put together again.
#[derive(Debug, PartialEq)]
struct Turn {
    thought: String,
    text: String,
    calls: Vec<(String, Value)>,
    done: Done,
}

fn parse(json: &str) -> Value {
    use ds4_prompt::json::{Grammar, parse};
    parse(json, Grammar::Strict).expect("arguments are JSON")
}

fn assemble(pieces: &[Piece<'_>]) -> Turn {
    let (mut thought, mut text, mut calls) = (String::new(), String::new(), Vec::new());
    let (done, rest) = pieces.split_last().expect("a turn has pieces");
    let Piece::Done(done) = *done else {
        panic!("the last piece is {done:?}")
    };
    let mut rest = rest.iter();
    while let Some(piece) = rest.next() {
        match piece {
            Piece::Thought(part) => thought.push_str(part),
            Piece::Text(part) => text.push_str(part),
            Piece::CallStart { index, name } => {
                assert_eq!(*index as usize, calls.len());
                let Some(Piece::CallArgs { json, .. }) = rest.next() else {
                    panic!("no arguments")
                };
                assert_eq!(rest.next(), Some(&Piece::CallEnd { index: *index }));
                calls.push((name.to_string(), parse(json)));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    Turn {
        thought,
        text,
        calls,
        done,
    }
}

/// What the vector recommends.
fn recommended(case: &Value) -> Turn {
    let want = case
        .get("recommended")
        .expect("a case has a recommendation");
    let calls: Vec<(String, Value)> = list(want, "tool_calls")
        .iter()
        .map(|call| {
            let arguments = call.get("arguments").expect("a call has arguments");
            (text(call, "name").to_owned(), arguments.clone())
        })
        .collect();
    let markup = match text(want, "status") {
        "ok" => Markup::Sound,
        "malformed" | "malformed_as_text" => Markup::Malformed,
        "truncated" | "truncated_as_text" => Markup::Truncated,
        "unclosed_reasoning" => Markup::UnclosedReasoning,
        other => panic!("unknown status {other}"),
    };
    let finish = if calls.is_empty() {
        Finish::Stop
    } else {
        Finish::ToolCalls
    };
    Turn {
        thought: want
            .get("reasoning")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        text: text(want, "content").to_owned(),
        calls,
        done: Done { finish, markup },
    }
}

/// Numbers as Python reads them: the vectors were written by it, the reader keeps what the model
/// wrote.
fn as_python(turn: Turn) -> Turn {
    let calls = turn.calls.into_iter();
    let calls = calls.map(|(name, arguments)| (name, parse(&arguments.to_prompt())));
    Turn {
        calls: calls.collect(),
        ..turn
    }
}

#[test]
fn every_completion_reads_as_recommended() {
    let cases = load();
    assert_eq!(cases.len(), 100);
    for Case {
        id,
        text,
        reading,
        case,
    } in &cases
    {
        let turn = assemble(&read(reading, [text.as_bytes()]));
        assert_eq!(as_python(turn), as_python(recommended(case)), "{id}");
    }
}

#[test]
fn well_formed_completions_read_as_the_official_parser_does() {
    let mut seen = 0;
    for Case {
        id,
        text: completion,
        reading,
        case,
    } in &load()
    {
        if text(case, "kind") != "well-formed" {
            continue;
        }
        seen += 1;
        let official = case.get("official").expect("a case has an official result");
        assert!(flag(official, "ok", false), "{id}");
        let turn = assemble(&read(reading, [completion.as_bytes()]));
        assert_eq!(turn.text, text(official, "content"), "{id}");
        assert_eq!(turn.thought, text(official, "reasoning_content"), "{id}");
        let calls = list(official, "tool_calls");
        assert_eq!(turn.calls.len(), calls.len(), "{id}");
        for ((name, arguments), call) in turn.calls.iter().zip(calls) {
            assert_eq!(name, text(call, "name"), "{id}");
            let wanted = call.get("arguments").expect("arguments").to_prompt();
            assert_eq!(parse(&arguments.to_prompt()), parse(&wanted), "{id}");
        }
    }
    assert!(seen >= 34, "{seen} well-formed cases");
}

#[test]
fn every_cut_gives_the_same_pieces() {
    for delivery in [Delivery::Whole, Delivery::Live] {
        for Case {
            id, text, reading, ..
        } in &load()
        {
            let reading = Reading {
                delivery,
                ..reading.clone()
            };
            let bytes = text.as_bytes();
            let whole = read(&reading, [bytes]);
            for cut in 0..=bytes.len() {
                let (left, right) = bytes.split_at(cut);
                assert_eq!(read(&reading, [left, right]), whole, "{id} cut at {cut}");
            }
            assert_eq!(read(&reading, bytes.chunks(1)), whole, "{id} byte by byte");
        }
    }
}

/// A small generator: the cuts only have to be different every time, and the same in every run.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[test]
fn random_chunks_give_the_same_pieces() {
    let mut random = Lcg(1);
    for Case {
        id, text, reading, ..
    } in &load()
    {
        let whole = read(reading, [text.as_bytes()]);
        for _ in 0..50 {
            let longest = 1 + random.below(24);
            let mut chunks = Vec::new();
            let mut rest = text.as_bytes();
            while !rest.is_empty() {
                let len = (1 + random.below(longest) as usize).min(rest.len());
                let (chunk, after) = rest.split_at(len);
                chunks.push(chunk);
                rest = after;
            }
            assert_eq!(read(reading, chunks), whole, "{id}");
        }
    }
}

/// The bytes of the recorded tokens, without EOS.
fn tokens(case: &Value) -> Vec<&'static [u8]> {
    let id = |value: &Value| match value {
        Value::Number(number) => TokenId(number.as_written().parse().expect("an id")),
        other => panic!("an id is a number, not {other:?}"),
    };
    let eos = TOKENIZER
        .special(Special::Eos)
        .expect("the vocabulary has EOS");
    let ids = list(case, "ids").iter().map(id).filter(|&id| id != eos);
    ids.map(|id| TOKENIZER.token_bytes(id)).collect()
}

#[test]
fn cuts_at_tokens_give_the_same_pieces() {
    let mut random = Lcg(2);
    for Case {
        id,
        text,
        reading,
        case,
    } in &load()
    {
        let whole = read(reading, [text.as_bytes()]);
        let tokens = tokens(case);
        assert_eq!(tokens.concat(), text.as_bytes(), "{id}");
        assert_eq!(
            read(reading, tokens.iter().copied()),
            whole,
            "{id} token by token"
        );
        for _ in 0..20 {
            let mut groups: Vec<Vec<u8>> = vec![Vec::new()];
            for token in &tokens {
                if random.below(3) == 0 {
                    groups.push(Vec::new());
                }
                groups
                    .last_mut()
                    .expect("one group at least")
                    .extend(*token);
            }
            assert_eq!(
                read(reading, groups.iter().map(Vec::as_slice)),
                whole,
                "{id}"
            );
        }
    }
}

#[test]
fn live_calls_are_the_whole_ones_earlier_and_never_closed_when_cut() {
    for Case {
        id, text, reading, ..
    } in &load()
    {
        let whole = read(reading, [text.as_bytes()]);
        let live = Reading {
            delivery: Delivery::Live,
            ..reading.clone()
        };
        let live = read(&live, [text.as_bytes()]);
        let Some(Piece::Done(done)) = live.last() else {
            panic!("{id}: no end")
        };
        if done.finish == Finish::BrokenCall {
            let starts = live
                .iter()
                .filter(|p| matches!(p, Piece::CallStart { .. }))
                .count();
            let ends = live
                .iter()
                .filter(|p| matches!(p, Piece::CallEnd { .. }))
                .count();
            assert_eq!(starts, ends + 1, "{id}");
        } else {
            assert_eq!(assemble(&live), assemble(&whole), "{id}");
        }
    }
}
