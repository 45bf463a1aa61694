//! Conversations, and the prompts they become.
//!
//! A [`Message`] is what a dialect of the HTTP interface, the agent or a file of the encoder's own
//! form ([`official`]) says; it is closed and typed, so a conversation that exists can be rendered,
//! up to the few refusals of [`ChatError`]. [`render`] prepares the list (merge, sort, drop) and
//! writes a [`Prompt`](crate::Prompt). The layout is the model's and described in `docs/prompt.md`;
//! what may be chosen is in [`Settings`].

mod error;
mod message;
pub mod official;
mod prepare;
mod render;
mod texts;

pub use crate::dsml::{ClosingTags, OddArguments, ToolCall};
pub use error::ChatError;
pub use message::{Answer, Content, Ending, Instructions, Message, Part, Task};
pub use render::{KeepReasoning, Settings, Start, ToolsPlace, render, render_after};
