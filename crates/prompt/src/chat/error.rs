//! Why a conversation cannot be rendered.

use crate::json::JsonError;

/// Why a conversation cannot be rendered, or a file of messages not be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// A role nobody trained the model on.
    #[error(
        "message {index}: unknown role {role:?} (there are system, developer, user, tool, assistant, \
         latest_reminder)"
    )]
    UnknownRole {
        /// Position in the list.
        index: usize,
        /// As given.
        role: String,
    },
    /// A quick task that does not exist.
    #[error(
        "message {index}: unknown task {task:?} (action, query, authority, domain, title, read_url)"
    )]
    UnknownTask {
        /// Position in the list.
        index: usize,
        /// As given.
        task: String,
    },
    /// An effort that this generation of checkpoints does not have.
    #[error("reasoning effort {effort:?} is not one of {known}")]
    UnknownEffort {
        /// As given.
        effort: String,
        /// What there is.
        known: &'static str,
    },
    /// A developer message that says nothing.
    #[error("message {index}: a developer message must have text")]
    EmptyDeveloper {
        /// Position in the list, after merging.
        index: usize,
    },
    /// Arguments that are JSON, but no object.
    #[error("arguments of a call of {call:?} are JSON of type {found}, not an object")]
    ArgumentsNotObject {
        /// The tool.
        call: String,
        /// What they are.
        found: &'static str,
    },
    /// A field of the wrong type.
    #[error("message {index}: field {field:?} is of type {found}, not {wanted}")]
    WrongType {
        /// Position in the list.
        index: usize,
        /// The field.
        field: &'static str,
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A text that should be JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
}
