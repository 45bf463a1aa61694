//! A Chat Completions body as an [`Ask`].

use ds4_prompt::chat::ToolCall;
use ds4_prompt::json::Value;

use crate::ask::{self, Ask, Face, Format, Serving, Source, Tool, ToolChoice, Wish};
use crate::config::Limits;
use crate::conversation::{Conversation, content};
use crate::dialect::bounds;
use crate::dialect::shared::{arguments, choice_word, custom_call, custom_tool, read_format};
use crate::error::ApiError;
use crate::fields::Fields;
use crate::memory::Memory;

/// Fields that ask for something nobody here can give.
const REFUSED: [(&str, &str); 4] = [
    ("functions", "is the older form of tools; use tools"),
    (
        "function_call",
        "is the older form of tool_choice; use tool_choice",
    ),
    ("audio", "is not supported: the model writes text"),
    (
        "web_search_options",
        "is not supported: the server reaches no network",
    ),
];

/// What a body asks for.
pub(crate) fn read(
    body: &Fields<'_>,
    serving: Serving,
    limits: &Limits,
    memory: Memory<'_>,
) -> Result<Ask, ApiError> {
    for (field, problem) in REFUSED {
        if body.get(field).is_some() {
            return Err(ApiError::field(field, problem));
        }
    }
    refuse_modalities(body)?;
    let model = body.text("model")?.unwrap_or_default();
    let choice = tool_choice(body)?;
    let tools = bounds::offered(tools(body)?, &choice, limits)?;
    let format = format(body, limits)?;
    let wish = wish(body, model)?;
    let mut conversation = Conversation::new(memory);
    let messages = bounds::messages(body, limits)?;
    for message in &messages {
        read_message(message, &mut conversation)?;
    }
    let read = conversation.finish(&tools, &format)?;
    let mut ask = Ask::new(model, Source::chat(read, wish, serving));
    ask::sampling(body, &mut ask)?;
    let wanted = body.flag("logprobs")?.unwrap_or(false);
    let top = body.count("top_logprobs", 0, 20)?;
    if top.is_some_and(|top| top > 0) && !wanted {
        return Err(ApiError::field("top_logprobs", "needs logprobs to be true"));
    }
    ask::report(wanted, top, &mut ask);
    ask.tools = tools;
    ask.choice = choice;
    ask.format = format;
    ask.is_one_call = body.flag("parallel_tool_calls")? == Some(false);
    ask.budget = match body.count("max_completion_tokens", 1, u32::MAX)? {
        Some(budget) => Some(budget),
        None => body.count("max_tokens", 1, u32::MAX)?,
    };
    ask.stops = ask::stops(body, "stop", limits)?;
    ask.choices = body.count("n", 1, limits.choices)?.unwrap_or(1);
    ask.is_streamed = body.flag("stream")?.unwrap_or(false);
    Ok(ask)
}

fn refuse_modalities(body: &Fields<'_>) -> Result<(), ApiError> {
    let is_text = |kind: &Value| kind.as_str() == Some("text");
    match body.list("modalities")?.iter().all(is_text) {
        true => Ok(()),
        false => Err(ApiError::field(
            "modalities",
            "may hold text only: the model writes text",
        )),
    }
}

fn read_message(message: &Fields<'_>, conversation: &mut Conversation<'_>) -> Result<(), ApiError> {
    let text = || content(message.get("content"), &message.path("content"));
    match message.required_text("role")? {
        "system" | "developer" => conversation.system(&text()?),
        "user" => conversation.user(text()?),
        "tool" | "function" => {
            let id = message.text("tool_call_id")?;
            let path = message.path("tool_call_id");
            conversation.result(id, text()?, &path)?;
        }
        "assistant" => {
            let mut calls = Vec::new();
            for call in message.objects("tool_calls")? {
                calls.push(read_call(&call)?);
            }
            let thought = match message.text("reasoning_content")? {
                Some(thought) => Some(thought),
                None => message.text("reasoning")?,
            };
            conversation.answered();
            conversation.thought(thought.unwrap_or_default());
            conversation.said(&text()?.joined(""));
            for call in calls {
                conversation.called(call);
            }
        }
        role => {
            let problem = format!(
                "is {role:?}; it must be system, developer, user, assistant, tool or function"
            );
            return Err(ApiError::field(&message.path("role"), problem));
        }
    }
    Ok(())
}

fn read_call(call: &Fields<'_>) -> Result<ToolCall, ApiError> {
    let custom = call.object("custom")?;
    let id = call.text("id")?.map(str::to_owned);
    if let Some(custom) = custom {
        let input = custom.text("input")?.unwrap_or_default();
        return Ok(custom_call(id, custom.required_text("name")?, input));
    }
    let Some(function) = call.object("function")? else {
        return Err(ApiError::field(
            &call.path("function"),
            "is required, an object",
        ));
    };
    Ok(ToolCall {
        id,
        name: function.required_text("name")?.to_owned(),
        arguments: arguments(&function),
    })
}

/// The callable tools. Others belong to services that are not here; agents list them freely.
fn tools(body: &Fields<'_>) -> Result<Vec<Tool>, ApiError> {
    let mut tools = Vec::new();
    for tool in body.objects("tools")? {
        if let Some(custom) = tool.object("custom")? {
            let description = custom.text("description")?;
            tools.push(custom_tool(custom.required_text("name")?, description));
        } else if let Some(function) = tool.object("function")? {
            tools.push(Tool {
                name: function.required_text("name")?.to_owned(),
                line: function.value().clone(),
                parameters: function.get("parameters").cloned(),
                is_strict: function.flag("strict")?.unwrap_or(false),
                face: Face::Function,
            });
        }
    }
    Ok(tools)
}

fn tool_choice(body: &Fields<'_>) -> Result<ToolChoice, ApiError> {
    let Some(value) = body.get("tool_choice") else {
        return Ok(ToolChoice::Auto);
    };
    if let Value::String(word) = value {
        return choice_word(word);
    }
    let choice = Fields::at(value, "tool_choice".to_owned())?;
    for kind in ["function", "custom"] {
        if let Some(tool) = choice.object(kind)? {
            return Ok(ToolChoice::Named(tool.required_text("name")?.to_owned()));
        }
    }
    let problem = "must be none, auto, required or {\"type\": \"function\", \"function\": …}";
    Err(ApiError::field("tool_choice", problem))
}

fn format(body: &Fields<'_>, limits: &Limits) -> Result<Format, ApiError> {
    let Some(format) = body.object("response_format")? else {
        return Ok(Format::Text);
    };
    let schema = |format: &Fields<'_>| match format.object("json_schema")? {
        Some(named) => Ok(named.get("schema").cloned()),
        None => Err(ApiError::field(
            &format.path("json_schema"),
            "is required, an object",
        )),
    };
    read_format(&format, limits, schema)
}

fn wish(body: &Fields<'_>, model: &str) -> Result<Wish, ApiError> {
    let mut wish = Wish {
        of_name: match model {
            "deepseek-chat" => Some(false),
            "deepseek-reasoner" => Some(true),
            _ => None,
        },
        ..Wish::default()
    };
    wish.is_on = match body.get("thinking") {
        None => body.flag("think")?,
        Some(Value::Bool(is_on)) => Some(*is_on),
        Some(value) => {
            let thinking = Fields::at(value, "thinking".to_owned())?;
            match thinking.required_text("type")? {
                "enabled" | "adaptive" => Some(true),
                "disabled" => Some(false),
                kind => {
                    let problem = format!("is {kind:?}; it must be enabled or disabled");
                    return Err(ApiError::field("thinking.type", problem));
                }
            }
        }
    };
    wish.effort(body, "reasoning_effort")?;
    if let Some(reasoning) = body.object("reasoning")? {
        wish.effort(&reasoning, "effort")?;
        if wish.is_on.is_none() {
            wish.is_on = reasoning.flag("enabled")?;
        }
    }
    Ok(wish)
}
