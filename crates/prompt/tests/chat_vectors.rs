//! Every recorded conversation renders to the recorded prompt, and every refused one is refused for its reason.

mod vectors;

use ds4_prompt::chat::{ChatError, KeepReasoning, Settings, Start, official, render_after};
use ds4_prompt::json::Value;
use ds4_prompt::{Generation, Prompt, Thinking};
use vectors::{cases, flag, text};

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
    }
    refused
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
