//! A Messages body as an [`Ask`].

use ds4_prompt::chat::{Content, Part, ToolCall};
use ds4_prompt::json::Value;

use crate::ask::{self, Ask, Face, Format, Serving, Source, Tool, ToolChoice, Wish};
use crate::config::Limits;
use crate::conversation::{Conversation, content, part};
use crate::dialect::bounds;
use crate::dialect::shared::read_format;
use crate::error::ApiError;
use crate::fields::Fields;
use crate::memory::Memory;

/// Texts that some clients put before the system text for their own service.
const PRIVATE: &str = "x-anthropic-";

/// What a body asks for.
pub(crate) fn read(
    body: &Fields<'_>,
    serving: Serving,
    limits: &Limits,
    memory: Memory<'_>,
) -> Result<Ask, ApiError> {
    refuse(body)?;
    let model = body.text("model")?.unwrap_or_default();
    let (choice, is_one_call) = tool_choice(body)?;
    let (tools, deferred) = tools(body)?;
    let tools = bounds::offered(tools, &choice, limits)?;
    let format = format(body, limits)?;
    let wish = wish(body, model)?;
    let mut conversation = Conversation::new(memory);
    system(body, &mut conversation)?;
    let messages = bounds::messages(body, limits)?;
    let mut reader = Reader {
        conversation,
        tools: tools.iter().chain(&deferred).collect(),
    };
    for message in &messages {
        reader.message(message)?;
    }
    let read = reader.conversation.finish(&tools, &format)?;
    let mut ask = Ask::new(model, Source::chat(read, wish, serving));
    ask::sampling(body, &mut ask)?;
    ask.tools = tools;
    ask.choice = choice;
    ask.is_one_call = is_one_call;
    ask.format = format;
    ask.budget = body.count("max_tokens", 1, u32::MAX)?;
    ask.stops = ask::stops(body, "stop_sequences", limits)?;
    ask.is_streamed = body.flag("stream")?.unwrap_or(false);
    Ok(ask)
}

fn refuse(body: &Fields<'_>) -> Result<(), ApiError> {
    if !body.list("mcp_servers")?.is_empty() {
        let problem = "is not supported: the server reaches no network";
        return Err(ApiError::field("mcp_servers", problem));
    }
    if body.get("container").is_some() {
        return Err(ApiError::field(
            "container",
            "is not supported: there are no containers",
        ));
    }
    Ok(())
}

/// System text: a string, or blocks, the client's private ones left out.
fn system(body: &Fields<'_>, conversation: &mut Conversation<'_>) -> Result<(), ApiError> {
    let system = match content(body.get("system"), "system")? {
        Content::Text(text) if text.is_empty() || text.starts_with(PRIVATE) => return Ok(()),
        Content::Text(text) => Content::Text(text),
        Content::Parts(parts) => {
            let is_private =
                |part: &Part| matches!(part, Part::Text(text) if text.starts_with(PRIVATE));
            let parts: Vec<Part> = parts.into_iter().filter(|part| !is_private(part)).collect();
            if parts.is_empty() {
                return Ok(());
            }
            Content::Parts(parts)
        }
    };
    conversation.system(&system);
    Ok(())
}

struct Reader<'a> {
    conversation: Conversation<'a>,
    /// All tools, those that are not in the prompt yet included.
    tools: Vec<&'a Tool>,
}

impl Reader<'_> {
    fn message(&mut self, message: &Fields<'_>) -> Result<(), ApiError> {
        let path = message.path("content");
        match (message.required_text("role")?, message.get("content")) {
            ("system", value) => self.conversation.system(&content(value, &path)?),
            ("user", Some(Value::Array(_))) => {
                for block in message.objects("content")? {
                    self.user_block(&block)?;
                }
            }
            ("user", value) => self.conversation.user(content(value, &path)?),
            ("assistant", Some(Value::Array(_))) => self.assistant(message)?,
            ("assistant", value) => {
                let said = content(value, &path)?.joined("").into_owned();
                self.conversation.answered();
                self.conversation.said(&said);
            }
            (role, _) => {
                let problem = format!("is {role:?}; it must be user, assistant or system");
                return Err(ApiError::field(&message.path("role"), problem));
            }
        }
        Ok(())
    }

    fn user_block(&mut self, block: &Fields<'_>) -> Result<(), ApiError> {
        if block.text("type")? != Some("tool_result") {
            let part = part(block.value());
            self.conversation.user(Content::Parts(vec![part]));
            return Ok(());
        }
        let text = match block.get("content") {
            Some(Value::Array(parts)) => {
                Content::Parts(parts.iter().map(|part| self.result_part(part)).collect())
            }
            value => content(value, &block.path("content"))?,
        };
        let id = block.required_text("tool_use_id")?;
        let path = block.path("tool_use_id");
        self.conversation.result(Some(id), text, &path)
    }

    /// A reference to a tool is replaced by what the prompt says about tools.
    fn result_part(&self, value: &Value) -> Part {
        let text = |field| value.get(field).and_then(Value::as_str);
        if text("type") == Some("tool_reference")
            && let Some(name) = text("tool_name")
            && let Some(tool) = self.tools.iter().find(|tool| tool.name == name)
        {
            return Part::Text(tool.line.to_prompt());
        }
        part(value)
    }

    fn assistant(&mut self, message: &Fields<'_>) -> Result<(), ApiError> {
        let conversation = &mut self.conversation;
        conversation.answered();
        for block in message.objects("content")? {
            match block.text("type")?.unwrap_or("text") {
                "text" => conversation.said(block.text("text")?.unwrap_or_default()),
                "thinking" => {
                    conversation.thought(block.text("thinking")?.unwrap_or_default());
                    if let Some(signature) = block.text("signature")? {
                        conversation.signed(signature);
                    }
                }
                "redacted_thinking" => {
                    conversation.signed(block.text("data")?.unwrap_or_default());
                }
                "tool_use" => conversation.called(ToolCall {
                    id: block.text("id")?.map(str::to_owned),
                    name: block.required_text("name")?.to_owned(),
                    arguments: block
                        .get("input")
                        .map_or("{}".to_owned(), Value::to_compact),
                }),
                // Calls and results of somebody else's services.
                _ => {}
            }
        }
        Ok(())
    }
}

/// The callable tools, and those whose schema comes later in a result.
fn tools(body: &Fields<'_>) -> Result<(Vec<Tool>, Vec<Tool>), ApiError> {
    let (mut tools, mut deferred) = (Vec::new(), Vec::new());
    for tool in body.objects("tools")? {
        // A type other than this names a service of the vendor.
        if !matches!(tool.text("type")?, None | Some("custom")) {
            continue;
        }
        let Some(schema) = tool.get("input_schema") else {
            continue;
        };
        let name = tool.required_text("name")?;
        let text = |text: &str| Value::String(text.to_owned());
        let mut line = vec![("name".to_owned(), text(name))];
        if let Some(description) = tool.text("description")? {
            line.push(("description".to_owned(), text(description)));
        }
        line.push(("parameters".to_owned(), schema.clone()));
        let list = match tool.flag("defer_loading")? {
            Some(true) => &mut deferred,
            _ => &mut tools,
        };
        list.push(Tool {
            name: name.to_owned(),
            line: Value::Object(line),
            parameters: Some(schema.clone()),
            is_strict: tool.flag("strict")?.unwrap_or(false),
            face: Face::Function,
        });
    }
    Ok((tools, deferred))
}

fn tool_choice(body: &Fields<'_>) -> Result<(ToolChoice, bool), ApiError> {
    let Some(choice) = body.object("tool_choice")? else {
        return Ok((ToolChoice::Auto, false));
    };
    let is_one_call = choice.flag("disable_parallel_tool_use")?.unwrap_or(false);
    let choice = match choice.required_text("type")? {
        "none" => ToolChoice::None,
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "tool" => ToolChoice::Named(choice.required_text("name")?.to_owned()),
        kind => {
            let problem = format!("is {kind:?}; it must be auto, any, tool or none");
            return Err(ApiError::field("tool_choice.type", problem));
        }
    };
    Ok((choice, is_one_call))
}

fn format(body: &Fields<'_>, limits: &Limits) -> Result<Format, ApiError> {
    let older = body.object("output_format")?;
    let newer = body.object("output_config")?;
    let newer = newer.map(|config| config.object("format")).transpose()?;
    match newer.flatten().or(older) {
        None => Ok(Format::Text),
        Some(format) => read_format(&format, limits, |format| Ok(format.get("schema").cloned())),
    }
}

fn wish(body: &Fields<'_>, model: &str) -> Result<Wish, ApiError> {
    let mut wish = Wish {
        // Small models of that family write titles and summaries with a few tokens to spare.
        of_name: model.contains("haiku").then_some(false),
        ..Wish::default()
    };
    if let Some(thinking) = body.object("thinking")? {
        wish.is_on = match thinking.required_text("type")? {
            "enabled" | "adaptive" => Some(true),
            "disabled" => Some(false),
            kind => {
                let problem = format!("is {kind:?}; it must be enabled, adaptive or disabled");
                return Err(ApiError::field("thinking.type", problem));
            }
        };
    }
    if let Some(config) = body.object("output_config")? {
        wish.effort(&config, "effort")?;
    }
    Ok(wish)
}
