//! What a fuzzer does with arbitrary bytes. Shared with the fuzz targets in `fuzz/`; it needs
//! nothing but the crate.

use ds4_prompt::chat::{ClosingTags, KeepReasoning, Settings, ToolsPlace, official, render};
use ds4_prompt::dsml::{Begin, Delivery, End, Reader, Reading, Tools};
use ds4_prompt::json::{Grammar, Value, parse};
use ds4_prompt::{Effort, Finish, Generation, Piece, Segment, SegmentKind, Thinking};

/// A list of messages renders, or is refused, under every setting; what data says stays data.
///
/// The first byte chooses the settings, the rest is JSON in the encoder's own form.
pub(crate) fn chat_render(bytes: &[u8]) {
    let Some((&choice, json)) = bytes.split_first() else {
        return;
    };
    let json = String::from_utf8_lossy(json);
    let messages = match official::messages(&json) {
        Ok(messages) => messages,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let bit = |n: u8| choice >> n & 1 == 1;
    let generation = if bit(0) {
        Generation::July
    } else {
        Generation::April
    };
    let thinking = if bit(1) {
        Thinking::On(Effort::Max)
    } else {
        Thinking::Off
    };
    let mut settings = match bit(2) {
        true => Settings::official(generation, thinking),
        false => Settings::new(generation, thinking),
    };
    if bit(3) {
        settings.tools = ToolsPlace::BeforeText;
    }
    if bit(4) {
        settings.keep_reasoning = KeepReasoning::Always;
    }
    let prompt = match render(&messages, &settings) {
        Ok(prompt) => prompt,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let segments: Vec<Segment<'_>> = prompt.segments().collect();
    assert!(segments.iter().all(|segment| !segment.text.is_empty()));
    let joined: String = segments.iter().map(|segment| segment.text).collect();
    assert_eq!(joined, prompt.text());
    for pair in prompt.cuts().windows(2) {
        assert!(pair[0].segments < pair[1].segments, "cuts are in order");
    }
    assert!(
        prompt
            .cuts()
            .iter()
            .all(|cut| cut.segments <= segments.len())
    );
    let control = segments
        .iter()
        .filter(|segment| segment.kind == SegmentKind::Control);
    let turns = control
        .map(|segment| segment.text.matches("<｜User｜>").count())
        .sum::<usize>();
    assert!(
        turns <= messages.len(),
        "{turns} user turns of {} messages",
        messages.len()
    );
    if settings.closing_tags == ClosingTags::Escaped {
        assert_eq!(
            prompt,
            render(&messages, &settings).expect("it rendered before")
        );
    }
}

/// Any bytes, in any cut, read the same, end once, lose nothing, and every complete call has an
/// object.
///
/// The first byte chooses how the turn is read, the second where it is cut.
pub(crate) fn dsml_reader(bytes: &[u8]) {
    let [choice, cut, bytes @ ..] = bytes else {
        return;
    };
    let bit = |n: u8| choice >> n & 1 == 1;
    let reading = Reading {
        begin: if bit(0) {
            Begin::Reasoning
        } else {
            Begin::Text
        },
        delivery: if bit(1) {
            Delivery::Live
        } else {
            Delivery::Whole
        },
        stops: if bit(2) {
            vec!["x\n".to_owned(), "\n\n".to_owned()]
        } else {
            Vec::new()
        },
        tools: if bit(3) {
            Tools::Inactive
        } else {
            Tools::Active
        },
    };
    let end = if bit(4) { End::Length } else { End::Turn };
    let whole = read(&reading, end, bytes, bytes.len().max(1));
    assert_eq!(whole, read(&reading, end, bytes, 1));
    assert_eq!(whole, read(&reading, end, bytes, usize::from(*cut).max(2)));
    check_calls(&whole, &reading);
    if reading.tools == Tools::Inactive && reading.stops.is_empty() && reading.begin == Begin::Text
    {
        let input = String::from_utf8_lossy(bytes);
        let shown = input.strip_prefix("</think>").unwrap_or(&input);
        match &whole[0] {
            Piece::Text(text) => assert_eq!(text, shown),
            piece => assert!(shown.is_empty(), "{piece:?}"),
        }
    }
}

/// The pieces of a turn, neighbours of one kind merged.
fn read(reading: &Reading, end: End, bytes: &[u8], chunk: usize) -> Vec<Piece<'static>> {
    let mut pieces: Vec<Piece<'static>> = Vec::new();
    let mut sink = |piece: Piece<'_>| match (pieces.last_mut(), piece) {
        (Some(Piece::Thought(all)), Piece::Thought(part)) => all.to_mut().push_str(&part),
        (Some(Piece::Text(all)), Piece::Text(part)) => all.to_mut().push_str(&part),
        (Some(Piece::CallArgs { json: all, .. }), Piece::CallArgs { json, .. }) => {
            all.to_mut().push_str(&json);
        }
        (_, piece) => pieces.push(piece.into_owned()),
    };
    let mut reader = Reader::new(reading);
    for chunk in bytes.chunks(chunk) {
        reader.push(chunk, &mut sink);
        reader.next_byte();
    }
    reader.finish(end, &mut sink);
    assert!(reader.is_done());
    pieces
}

/// Calls are whole and in order, and the turn ends once.
fn check_calls(pieces: &[Piece<'_>], reading: &Reading) {
    let (last, before) = pieces.split_last().expect("a turn has pieces");
    let Piece::Done(done) = last else {
        panic!("the last piece is {last:?}");
    };
    let mut open = None;
    let mut calls = 0;
    for piece in before {
        match piece {
            Piece::CallStart { index, .. } => {
                assert_eq!((*index, open), (calls, None));
                open = Some(String::new());
                calls += 1;
            }
            Piece::CallArgs { json, .. } => open.as_mut().expect("an open call").push_str(json),
            Piece::CallEnd { .. } => {
                let json = open.take().expect("an open call");
                // Levels of parameters add to those of JSON in them.
                let shallow = json.matches(['{', '[']).count() < 100;
                let object = matches!(parse(&json, Grammar::Strict), Ok(Value::Object(_)));
                assert!(object || !shallow, "{json}");
            }
            Piece::Thought(_) | Piece::Text(_) => assert_eq!(calls, 0, "text after a call"),
            Piece::Done(_) => panic!("two ends"),
        }
    }
    assert_eq!(open.is_some(), done.finish == Finish::BrokenCall);
    assert!(open.is_none() || reading.delivery == Delivery::Live);
}
