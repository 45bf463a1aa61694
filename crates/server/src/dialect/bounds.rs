//! What every dialect of a conversation bounds alike: how many tools and messages there may be, and
//! that the choice among the tools is possible.

use crate::ask::{Tool, ToolChoice};
use crate::config::Limits;
use crate::error::ApiError;
use crate::fields::Fields;

/// The tools that the model is told of: no more than allowed, and none if it may call none.
pub(crate) fn offered(
    mut tools: Vec<Tool>,
    choice: &ToolChoice,
    limits: &Limits,
) -> Result<Vec<Tool>, ApiError> {
    at_most("tools", tools.len(), limits.tools)?;
    possible(choice, &tools)?;
    if *choice == ToolChoice::None {
        tools.clear();
    }
    Ok(tools)
}

/// The messages: one at least, and no more than allowed.
pub(crate) fn messages<'a>(
    body: &Fields<'a>,
    limits: &Limits,
) -> Result<Vec<Fields<'a>>, ApiError> {
    let messages = body.objects("messages")?;
    if messages.is_empty() {
        return Err(ApiError::field(
            "messages",
            "is required, an array with a message",
        ));
    }
    at_most("messages", messages.len(), limits.messages)?;
    Ok(messages)
}

/// A list of `has` entries must not be longer than `most`.
pub(crate) fn at_most(field: &str, has: usize, most: usize) -> Result<(), ApiError> {
    if has > most {
        let problem = format!("has {has} entries; at most {most} are taken");
        return Err(ApiError::field(field, problem));
    }
    Ok(())
}

/// The choice must be possible.
fn possible(choice: &ToolChoice, tools: &[Tool]) -> Result<(), ApiError> {
    let refuse = |problem: String| Err(ApiError::field("tool_choice", problem));
    match choice {
        ToolChoice::Required if tools.is_empty() => {
            refuse("asks for a call, but tools holds no function".into())
        }
        ToolChoice::Named(name) if !tools.iter().any(|tool| tool.name == *name) => refuse(format!(
            "names {name:?}, which is not among the functions in tools"
        )),
        _ => Ok(()),
    }
}
