//! What several dialects read alike: calls, tools that take a text, choices, formats.

use ds4_prompt::chat::ToolCall;
use ds4_prompt::json::Value;

use crate::ask::{Face, Format, Tool, ToolChoice};
use crate::config::Limits;
use crate::error::ApiError;
use crate::fields::Fields;

/// A call of a tool whose one argument is a text.
pub(crate) fn custom_call(id: Option<String>, name: &str, input: &str) -> ToolCall {
    let input = ("input".to_owned(), Value::String(input.to_owned()));
    ToolCall {
        id,
        name: name.to_owned(),
        arguments: Value::Object(vec![input]).to_compact(),
    }
}

/// Arguments are JSON in a string; some clients send the object itself.
pub(crate) fn arguments(function: &Fields<'_>) -> String {
    match function.get("arguments") {
        None => String::new(),
        Some(Value::String(json)) => json.clone(),
        Some(other) => other.to_compact(),
    }
}

/// A tool whose one argument is a text: to the model a function of one string.
pub(crate) fn custom_tool(name: &str, description: Option<&str>) -> Tool {
    let text = |text: &str| Value::String(text.to_owned());
    let object = |members: Vec<(&str, Value)>| {
        let own = members
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value));
        Value::Object(own.collect())
    };
    let input = object(vec![("type", text("string"))]);
    let parameters = object(vec![
        ("type", text("object")),
        ("properties", object(vec![("input", input)])),
        ("required", Value::Array(vec![text("input")])),
    ]);
    let mut line = vec![("name", text(name))];
    if let Some(description) = description {
        line.push(("description", text(description)));
    }
    line.push(("parameters", parameters.clone()));
    Tool {
        name: name.to_owned(),
        line: object(line),
        parameters: Some(parameters),
        is_strict: false,
        face: Face::Custom,
    }
}

/// A choice in one word.
pub(crate) fn choice_word(word: &str) -> Result<ToolChoice, ApiError> {
    match word {
        "none" => Ok(ToolChoice::None),
        "auto" => Ok(ToolChoice::Auto),
        "required" => Ok(ToolChoice::Required),
        _ => {
            let problem = format!("is {word:?}; it must be none, auto, required or a tool");
            Err(ApiError::field("tool_choice", problem))
        }
    }
}

/// A format by its type; `schema` says where the dialect keeps the schema.
pub(crate) fn read_format(
    format: &Fields<'_>,
    limits: &Limits,
    schema: impl Fn(&Fields<'_>) -> Result<Option<Value>, ApiError>,
) -> Result<Format, ApiError> {
    match format.required_text("type")? {
        "text" => Ok(Format::Text),
        "json_object" => Ok(Format::Json),
        "json_schema" => match schema(format)? {
            Some(schema) if schema.to_compact().len() > limits.schema_bytes => {
                let problem = format!("has a schema of more than {} bytes", limits.schema_bytes);
                Err(ApiError::field(format.here(), problem))
            }
            Some(schema) => Ok(Format::Schema(schema)),
            None => Ok(Format::Json),
        },
        kind => {
            let problem = format!("is {kind:?}; it must be text, json_object or json_schema");
            Err(ApiError::field(&format.path("type"), problem))
        }
    }
}
