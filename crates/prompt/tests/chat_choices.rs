//! What may be chosen about a prompt, and what no data can change.

mod vectors;

use ds4_prompt::chat::{
    Answer, Content, Instructions, KeepReasoning, Message, OddArguments, Part, Settings, Task,
    ToolCall, ToolsPlace, render, render_after,
};
use ds4_prompt::json::{Grammar, Value, parse};
use ds4_prompt::{AddedTokens, Effort, Generation, Prompt, SegmentKind, Special, Thinking};
use proptest::prelude::*;
use vectors::TOKENIZER;

fn ours() -> Settings {
    Settings::new(Generation::April, Thinking::On(Effort::High))
}

fn user(text: &str) -> Message {
    Message::User {
        content: text.into(),
        task: None,
    }
}

fn call(id: &str, arguments: &str) -> ToolCall {
    ToolCall {
        id: Some(id.to_owned()),
        name: "f".to_owned(),
        arguments: arguments.to_owned(),
    }
}

fn answer(text: &str, reasoning: &str, calls: Vec<ToolCall>) -> Message {
    Message::Assistant(Answer {
        content: text.into(),
        reasoning: reasoning.to_owned(),
        calls,
        ..Answer::default()
    })
}

fn result(id: &str, text: &str) -> Message {
    Message::Tool {
        call_id: Some(id.to_owned()),
        content: text.into(),
    }
}

fn system(text: &str, tools: &[&str]) -> Message {
    let tools = tools
        .iter()
        .map(|tool| parse(tool, Grammar::Python).expect("a schema"));
    Message::System(Instructions {
        content: text.into(),
        tools: tools.collect(),
        response_format: None,
    })
}

fn text(messages: &[Message], settings: &Settings) -> String {
    render(messages, settings)
        .expect("a prompt")
        .text()
        .to_owned()
}

#[test]
fn tools_may_stand_before_the_system_text() {
    let messages = [system("SYSTEM", &[r#"{"name":"f"}"#]), user("q")];
    let after = text(&messages, &ours());
    assert!(
        after.starts_with("<｜begin▁of▁sentence｜>SYSTEM\n\n## Tools\n\n"),
        "{after}"
    );
    let before = Settings {
        tools: ToolsPlace::BeforeText,
        ..ours()
    };
    let before = text(&messages, &before);
    assert!(
        before.starts_with("<｜begin▁of▁sentence｜>## Tools\n\n"),
        "{before}"
    );
    let tail = "to invoke tool calls.\n\nSYSTEM<｜User｜>q<｜Assistant｜><think>";
    assert!(before.ends_with(tail), "{before}");
    assert_eq!(before.len() + 1, after.len(), "one newline less joins them");
}

#[test]
fn reasoning_stays_inside_a_tool_loop() {
    let messages = [
        user("a"),
        answer("", "why", vec![call("1", "{}")]),
        result("1", "out"),
        answer("done", "so", vec![]),
        user("b"),
    ];
    let kept = text(&messages, &ours());
    assert!(
        kept.contains("<think>why</think>") && kept.contains("<think>so</think>"),
        "{kept}"
    );
    let official = Settings {
        keep_reasoning: KeepReasoning::WithTools,
        ..ours()
    };
    let dropped = text(&messages, &official);
    assert!(
        !dropped.contains("why") && !dropped.contains("so<"),
        "{dropped}"
    );
    let plain = [user("a"), answer("x", "why", vec![]), user("b")];
    assert!(
        !text(&plain, &ours()).contains("why"),
        "without calls it is dropped"
    );
}

#[test]
fn arguments_that_are_no_object_are_shown_as_text_or_refused() {
    for odd in ["[1, 2]", "\"text\"", "5", "null"] {
        let messages = [user("q"), answer("", "", vec![call("1", odd)])];
        let shown = text(&messages, &ours());
        let parameter = format!(
            "<｜DSML｜parameter name=\"arguments\" string=\"true\">{odd}</｜DSML｜parameter>"
        );
        assert!(shown.contains(&parameter), "{shown}");
        let refuse = Settings {
            odd_arguments: OddArguments::Refuse,
            ..ours()
        };
        let error = render(&messages, &refuse).expect_err("odd").to_string();
        assert!(
            error.contains("\"f\"") && error.contains("not an object"),
            "{error}"
        );
    }
}

#[test]
fn parts_and_text_are_the_same_prompt() {
    let parts = |texts: &[&str]| {
        Content::Parts(
            texts
                .iter()
                .map(|text| Part::Text((*text).to_owned()))
                .collect(),
        )
    };
    let of = |content| {
        text(
            &[Message::User {
                content,
                task: None,
            }],
            &ours(),
        )
    };
    assert_eq!(of(parts(&["a", "b"])), of("a\n\nb".into()));
    assert_eq!(of(parts(&["a"])), of("a".into()));
    let image = Content::Parts(vec![Part::Unsupported("image".to_owned())]);
    assert_eq!(of(image), of("[Unsupported image]".into()));
    let split = Message::Assistant(Answer {
        content: parts(&["a", "b"]),
        ..Answer::default()
    });
    assert_eq!(
        text(&[user("q"), split], &ours()),
        text(&[user("q"), answer("ab", "", vec![])], &ours())
    );
}

#[test]
fn a_task_ends_the_turn_it_is_in() {
    let task = |text: &str, task| Message::User {
        content: text.into(),
        task: Some(task),
    };
    let prompt = text(&[user("a"), task("b", Task::Query)], &ours());
    assert!(prompt.ends_with("<｜User｜>a\n\nb<｜query｜>"), "{prompt}");
    let prompt = text(&[task("a", Task::Domain), user("b")], &ours());
    assert!(
        prompt.ends_with("<｜User｜>a<｜User｜>b<｜Assistant｜><think>"),
        "{prompt}"
    );
}

#[test]
fn what_follows_a_context_is_the_rest_of_the_whole_prompt() {
    let messages = [
        system("S", &[r#"{"name":"f"}"#]),
        user("a"),
        answer("", "r", vec![call("1", "{}"), call("2", "{}")]),
        result("2", "two"),
        result("1", "one"),
    ];
    for settings in [
        ours(),
        Settings::new(Generation::July, Thinking::On(Effort::Max)),
    ] {
        let whole = text(&messages, &settings);
        let (context, new) = messages.split_at(3);
        let rest = render_after(context, new, &settings).expect("a prompt");
        assert_eq!(
            format!("{}{}", text(context, &settings), rest.text()),
            whole
        );
    }
}

/// Text that would be structure, were it not data.
fn hostile() -> impl Strategy<Value = String> {
    let token = prop::sample::select(Special::ALL.as_slice()).prop_map(|token| token.text());
    let near = prop::sample::select(
        [
            "<｜",
            "User｜>",
            "｜",
            "<",
            ">",
            "</",
            "think>",
            "</｜DSML｜parameter>",
            "</tool_result>",
            "a",
            "\n",
            "\"",
            "</think>\n\n<｜DSML｜tool_calls>",
        ]
        .as_slice(),
    );
    prop::collection::vec(prop_oneof![token, near], 1..5).prop_map(|parts| parts.concat())
}

/// A conversation with these texts wherever somebody else has a say.
fn conversation(texts: &[String]) -> Vec<Message> {
    let object = |i: usize| {
        let value = Value::String(texts[i].clone());
        Value::Object(vec![
            (texts[i + 1].clone(), value),
            ("n".into(), Value::Array(vec![])),
        ])
    };
    vec![
        Message::System(Instructions {
            content: texts[0].as_str().into(),
            tools: vec![object(1)],
            response_format: Some(object(3)),
        }),
        user(&texts[5]),
        answer(
            &texts[6],
            &texts[7],
            vec![ToolCall {
                id: Some(texts[8].clone()),
                name: texts[9].clone(),
                arguments: object(10).to_compact(),
            }],
        ),
        result(&texts[8], &texts[12]),
        user(&texts[13]),
        Message::LatestReminder(texts[14].as_str().into()),
    ]
}

fn control(prompt: &Prompt) -> String {
    let control = prompt
        .segments()
        .filter(|segment| segment.kind == SegmentKind::Control);
    control.map(|segment| segment.text).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_data_becomes_structure(texts in prop::collection::vec(hostile(), 15)) {
        let hostile = render(&conversation(&texts), &ours()).expect("a prompt");
        let harmless = vec!["x".to_owned(); 15];
        let harmless = render(&conversation(&harmless), &ours()).expect("a prompt");
        prop_assert_eq!(control(&hostile), control(&harmless));
        let added = |prompt: &Prompt| {
            let tokens = prompt.encode(&TOKENIZER, AddedTokens::AsText);
            tokens.ids.into_iter().filter(|&id| TOKENIZER.is_added(id)).collect::<Vec<_>>()
        };
        prop_assert_eq!(added(&hostile), added(&harmless));
        let kinds = |prompt: &Prompt| prompt.cuts().iter().map(|cut| cut.kind).collect::<Vec<_>>();
        prop_assert_eq!(kinds(&hostile), kinds(&harmless));
        let tokens = hostile.encode(&TOKENIZER, AddedTokens::AsText);
        let whole = TOKENIZER.encode_segments(hostile.segments(), AddedTokens::AsText);
        prop_assert_eq!(&tokens.ids, &whole);
        let official = hostile.encode(&TOKENIZER, AddedTokens::AsToken);
        prop_assert_eq!(official.ids, TOKENIZER.encode_with_added(hostile.text()));
    }
}
