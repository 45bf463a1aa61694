//! Every recorded conversation renders to the recorded prompt, and every refused one is refused for
//! its reason.

mod vectors;

use ds4_prompt::chat::{ChatError, KeepReasoning, Settings, Start, official, render_after};
use ds4_prompt::json::Value;
use ds4_prompt::{
    AddedTokens, CutKind, Generation, Prompt, Segment, SegmentKind, Thinking, TokenId,
};
use vectors::{TOKENIZER, cases, flag, list, text};

fn render_case(case: &Value, generation: Generation) -> Result<Prompt, ChatError> {
    let effort = case.get("reasoning_effort").and_then(Value::as_str);
    let effort = official::effort(generation, effort)?;
    let thinking = match text(case, "thinking_mode") {
        "thinking" => Thinking::On(effort),
        _ => Thinking::Off,
    };
    let mut settings = Settings::official(generation, thinking);
    if !flag(case, "drop_thinking", true) {
        settings.keep_reasoning = KeepReasoning::Always;
    }
    if !flag(case, "add_bos", true) {
        settings.start = Start::Bare;
    }
    let context = match case.get("context") {
        Some(context) => official::messages_of(context)?,
        None => Vec::new(),
    };
    let key = if case.get("messages").is_some() {
        "messages"
    } else {
        "encoder_messages"
    };
    let messages = official::messages_of(case.get(key).expect("a case has messages"))?;
    render_after(&context, &messages, &settings)
}

/// Renders all cases of a file; returns how many were refused.
fn check(file: &str, generation: Generation, count: usize) -> usize {
    let cases = cases(file);
    assert_eq!(cases.len(), count, "{file}");
    let mut refused = 0;
    for case in &cases {
        let id = text(case, "id");
        let rendered = render_case(case, generation);
        if case.get("error").is_some() {
            let error = rendered.expect_err(id);
            let expected = match id {
                "effort-invalid-low" => matches!(error, ChatError::UnknownEffort { .. }),
                "developer-empty" => matches!(error, ChatError::EmptyDeveloper { .. }),
                "task-invalid" => matches!(error, ChatError::UnknownTask { .. }),
                "unknown-role" | "function-role" => matches!(error, ChatError::UnknownRole { .. }),
                "args-array-top-level" => matches!(error, ChatError::ArgumentsNotObject { .. }),
                _ => false,
            };
            assert!(expected, "{id}: {error}");
            refused += 1;
            continue;
        }
        let prompt = rendered.unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!(prompt.text(), text(case, "prompt"), "{id}");
        let joined: String = prompt.segments().map(|segment| segment.text).collect();
        assert_eq!(joined, prompt.text(), "{id}");
        check_ids(id, &prompt, &ids(case));
    }
    refused
}

fn ids(case: &Value) -> Vec<TokenId> {
    let number = |value: &Value| match value {
        Value::Number(number) => TokenId(number.as_written().parse().expect("an id")),
        other => panic!("an id is a number, not {other:?}"),
    };
    list(case, "ids").iter().map(number).collect()
}

/// The recorded ids under the official policy, the same ones hardened unless data holds added
/// tokens, and cuts that are seams of the ids in either.
fn check_ids(id: &str, prompt: &Prompt, recorded: &[TokenId]) {
    let official = prompt.encode(&TOKENIZER, AddedTokens::AsToken);
    assert_eq!(official.ids, recorded, "{id}");
    let hardened = prompt.encode(&TOKENIZER, AddedTokens::AsText);
    let whole = TOKENIZER.encode_segments(prompt.segments(), AddedTokens::AsText);
    assert_eq!(hardened.ids, whole, "{id}: a cut is no seam");
    let added = |segment: Segment<'_>| {
        let ids = TOKENIZER.encode_with_added(segment.text).into_iter();
        ids.filter(|&id| TOKENIZER.is_added(id)).count()
    };
    let of_kind = |kind| prompt.segments().filter(move |s| s.kind == kind);
    if of_kind(SegmentKind::Data).all(|segment| added(segment) == 0) {
        assert_eq!(hardened.ids, official.ids, "{id}");
    }
    let allowed: usize = of_kind(SegmentKind::Control).map(added).sum();
    let found = hardened
        .ids
        .iter()
        .filter(|&&id| TOKENIZER.is_added(id))
        .count();
    assert_eq!(found, allowed, "{id}: data became structure");
}

#[test]
fn cuts_are_where_turns_end() {
    let messages = r#"[{"role": "system", "content": "S"}, {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"}, {"role": "user", "content": "r"}]"#;
    let messages = official::messages(messages).expect("messages");
    let settings = Settings::official(Generation::April, Thinking::Off);
    let prompt = render_after(&[], &messages, &settings).expect("a prompt");
    let texts: Vec<String> = prompt
        .cuts()
        .iter()
        .map(|cut| before(&prompt, cut.segments))
        .collect();
    let kinds: Vec<CutKind> = prompt.cuts().iter().map(|cut| cut.kind).collect();
    assert_eq!(
        kinds,
        [
            CutKind::System,
            CutKind::User,
            CutKind::Assistant,
            CutKind::User
        ]
    );
    let whole = prompt.text();
    for (text, end) in texts.iter().zip(["S", "q", "<｜end▁of▁sentence｜>", "r"]) {
        assert!(whole.starts_with(text) && text.ends_with(end), "{text:?}");
    }
}

fn before(prompt: &Prompt, segments: usize) -> String {
    prompt
        .segments()
        .take(segments)
        .map(|segment| segment.text)
        .collect()
}

#[test]
fn first_release_prompts() {
    assert_eq!(check("chat-official.json.gz", Generation::April, 158), 6);
}

#[test]
fn prompts_of_the_0731_checkpoints() {
    assert_eq!(check("chat-0731.json", Generation::July, 30), 0);
}

#[test]
fn prompts_of_recorded_requests() {
    assert_eq!(check("api-requests.json", Generation::April, 38), 0);
}
