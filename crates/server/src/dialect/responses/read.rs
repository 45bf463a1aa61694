//! A Responses body as an [`Ask`].

use ds4_prompt::chat::ToolCall;
use ds4_prompt::json::Value;

use crate::ask::{self, Ask, Face, Format, Serving, Source, Tool, ToolChoice, Wish};
use crate::config::Limits;
use crate::conversation::{Conversation, content};
use crate::dialect::bounds;
use crate::dialect::shared::{arguments, choice_word, custom_call, custom_tool, read_format};
use crate::error::{ApiError, Kind};
use crate::fields::Fields;
use crate::memory::Memory;

/// Fields that ask for something nobody here can give.
const REFUSED: [(&str, &str); 2] = [
    (
        "conversation",
        "is not supported; use previous_response_id, or send the history",
    ),
    ("prompt", "is not supported: there are no stored prompts"),
];

/// What a body asks for.
pub(crate) fn read(
    body: &Fields<'_>,
    serving: Serving,
    limits: &Limits,
    memory: Memory<'_>,
) -> Result<Ask, ApiError> {
    refuse(body)?;
    let model = body.text("model")?.unwrap_or_default();
    let choice = tool_choice(body)?;
    let tools = bounds::offered(tools(body)?, &choice, limits)?;
    let text = body.object("text")?;
    let format = text
        .map(|text| text.object("format"))
        .transpose()?
        .flatten();
    let format = match format {
        Some(format) => read_format(&format, limits, |own| Ok(own.get("schema").cloned()))?,
        None => Format::Text,
    };
    let mut wish = Wish::default();
    if let Some(reasoning) = body.object("reasoning")? {
        wish.effort(&reasoning, "effort")?;
    }
    let mut conversation = Conversation::new(memory);
    if let Some(instructions) = body.text("instructions")? {
        conversation.system(&instructions.into());
    }
    let before = match body.text("previous_response_id")? {
        Some(id) => previous(id, memory)?,
        None => Vec::new(),
    };
    items(
        &before,
        "previous_response_id",
        limits,
        memory,
        &mut conversation,
    )?;
    match body.get("input") {
        None => {}
        Some(Value::String(text)) => conversation.user(text.as_str().into()),
        Some(Value::Array(given)) => items(given, "input", limits, memory, &mut conversation)?,
        Some(other) => return Err(body.wrong("input", "a string or an array of items", other)),
    }
    let read = conversation.finish(&tools, &format)?;
    let mut ask = Ask::new(model, Source::chat(read, wish, serving));
    ask::sampling(body, &mut ask)?;
    let top = body.count("top_logprobs", 0, 20)?;
    let includes = |what: &str| {
        Ok(body
            .list("include")?
            .iter()
            .any(|item| item.as_str() == Some(what)))
    };
    ask::report(includes("message.output_text.logprobs")?, top, &mut ask);
    ask.tools = tools;
    ask.choice = choice;
    ask.format = format;
    ask.is_one_call = body.flag("parallel_tool_calls")? == Some(false);
    ask.budget = body.count("max_output_tokens", 1, u32::MAX)?;
    ask.is_streamed = body.flag("stream")?.unwrap_or(false);
    Ok(ask)
}

fn refuse(body: &Fields<'_>) -> Result<(), ApiError> {
    for (field, problem) in REFUSED {
        if body.get(field).is_some() {
            return Err(ApiError::field(field, problem));
        }
    }
    if body.flag("background")? == Some(true) {
        let problem = "is not supported: an answer ends when its client leaves";
        return Err(ApiError::field("background", problem));
    }
    match body.text("truncation")? {
        None | Some("disabled") => Ok(()),
        Some(_) => {
            let problem = "must be disabled: nothing of a conversation is left out silently";
            Err(ApiError::field("truncation", problem))
        }
    }
}

/// Everything that was said until a reply.
fn previous(id: &str, memory: Memory<'_>) -> Result<Vec<Value>, ApiError> {
    let kept = memory.reply(id).ok_or_else(|| {
        let message = format!(
            "previous_response_id: no response {id:?} is kept here; send the full input instead"
        );
        ApiError {
            param: Some("previous_response_id".to_owned()),
            ..ApiError::new(Kind::NotFound, message)
        }
    })?;
    Ok(kept.items())
}

fn items(
    given: &[Value],
    path: &str,
    limits: &Limits,
    memory: Memory<'_>,
    conversation: &mut Conversation<'_>,
) -> Result<(), ApiError> {
    bounds::at_most(path, given.len(), limits.messages)?;
    for (at, value) in given.iter().enumerate() {
        let item = Fields::at(value, format!("{path}[{at}]"))?;
        if item.text("type")? != Some("item_reference") {
            read_item(&item, conversation)?;
            continue;
        }
        let id = item.required_text("id")?;
        let found = memory.item(id).ok_or_else(|| {
            let problem = format!("names item {id:?}, which is not kept here; send the item");
            ApiError::field(&item.path("id"), problem)
        })?;
        let path = item.here().to_owned();
        read_item(&Fields::at(&found, path)?, conversation)?;
    }
    Ok(())
}

fn read_item(item: &Fields<'_>, conversation: &mut Conversation<'_>) -> Result<(), ApiError> {
    let id = || Ok::<_, ApiError>(item.text("call_id")?.map(str::to_owned));
    match item.text("type")?.unwrap_or("message") {
        "message" => message(item, conversation)?,
        "reasoning" => reasoning(item, conversation)?,
        "function_call" => {
            let name = item.required_text("name")?;
            let name = match item.text("namespace")? {
                Some(namespace) => format!("{namespace}__{name}"),
                None => name.to_owned(),
            };
            conversation.called(ToolCall {
                id: id()?,
                name,
                arguments: arguments(item),
            });
        }
        "custom_tool_call" => {
            let input = item.text("input")?.unwrap_or_default();
            conversation.called(custom_call(id()?, item.required_text("name")?, input));
        }
        "local_shell_call" => conversation.called(ToolCall {
            id: id()?,
            name: "local_shell".to_owned(),
            arguments: item
                .get("action")
                .map_or("{}".to_owned(), Value::to_compact),
        }),
        "function_call_output" | "custom_tool_call_output" | "local_shell_call_output" => {
            let output = content(item.get("output"), &item.path("output"))?;
            let path = item.path("call_id");
            conversation.result(item.text("call_id")?, output, &path)?;
        }
        // Calls of somebody else's services, marks of compaction: nothing the model was told.
        _ => {}
    }
    Ok(())
}

fn message(item: &Fields<'_>, conversation: &mut Conversation<'_>) -> Result<(), ApiError> {
    let text = content(item.get("content"), &item.path("content"))?;
    match item.required_text("role")? {
        "system" | "developer" => conversation.system(&text),
        "user" => conversation.user(text),
        "assistant" => {
            conversation.answered();
            conversation.said(&text.joined(""));
        }
        role => {
            let problem = format!("is {role:?}; it must be user, assistant, system or developer");
            return Err(ApiError::field(&item.path("role"), problem));
        }
    }
    Ok(())
}

/// Reasoning in full if it is there, else its summary.
fn reasoning(item: &Fields<'_>, conversation: &mut Conversation<'_>) -> Result<(), ApiError> {
    let of = |field| content(item.get(field), &item.path(field));
    let full = of("content")?.joined("").into_owned();
    let thought = match full.as_str() {
        "" => of("summary")?.joined("\n\n").into_owned(),
        _ => full,
    };
    conversation.answered();
    conversation.thought(&thought);
    let signature = match item.text("encrypted_content")? {
        Some(signature) => Some(signature),
        None => item.text("id")?,
    };
    if let Some(signature) = signature {
        conversation.signed(signature);
    }
    Ok(())
}

fn tools(body: &Fields<'_>) -> Result<Vec<Tool>, ApiError> {
    let mut tools = Vec::new();
    for tool in body.objects("tools")? {
        match tool.text("type")?.unwrap_or("function") {
            "function" => tools.push(function(&tool, None)?),
            "custom" => {
                let description = tool.text("description")?;
                tools.push(custom_tool(tool.required_text("name")?, description));
            }
            "namespace" => {
                let namespace = tool.required_text("name")?;
                for nested in tool.objects("tools")? {
                    if nested.text("type")?.unwrap_or("function") == "function" {
                        tools.push(function(&nested, Some(namespace))?);
                    }
                }
            }
            // Services of the vendor; agents list them freely.
            _ => {}
        }
    }
    Ok(tools)
}

fn function(tool: &Fields<'_>, namespace: Option<&str>) -> Result<Tool, ApiError> {
    let own = tool.required_text("name")?;
    let (name, face) = match namespace {
        None => (own.to_owned(), Face::Function),
        Some(namespace) => {
            let face = Face::Namespaced {
                namespace: namespace.to_owned(),
                name: own.to_owned(),
            };
            (format!("{namespace}__{own}"), face)
        }
    };
    let mut line = vec![("name".to_owned(), Value::String(name.clone()))];
    for field in ["description", "parameters"] {
        if let Some(value) = tool.get(field) {
            line.push((field.to_owned(), value.clone()));
        }
    }
    Ok(Tool {
        name,
        line: Value::Object(line),
        parameters: tool.get("parameters").cloned(),
        is_strict: tool.flag("strict")?.unwrap_or(false),
        face,
    })
}

fn tool_choice(body: &Fields<'_>) -> Result<ToolChoice, ApiError> {
    match body.get("tool_choice") {
        None => Ok(ToolChoice::Auto),
        Some(Value::String(word)) => choice_word(word),
        Some(value) => {
            let choice = Fields::at(value, "tool_choice".to_owned())?;
            match choice.required_text("type")? {
                "function" | "custom" => {
                    Ok(ToolChoice::Named(choice.required_text("name")?.to_owned()))
                }
                kind => {
                    let problem = format!("is {kind:?}; it must be function or custom");
                    Err(ApiError::field("tool_choice.type", problem))
                }
            }
        }
    }
}
