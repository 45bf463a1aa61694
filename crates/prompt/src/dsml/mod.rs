//! Tool markup, called DSML: how the model writes calls, in both directions.
//!
//! [`ToolCall`]s become markup in [`mod@write`]; generated text becomes [`Piece`](crate::Piece)s in
//! [`read`]. The grammar and the reader's states are described in `docs/dsml.md`.
//!
//! ```text
//! <｜DSML｜tool_calls>
//! <｜DSML｜invoke name="NAME">
//! <｜DSML｜parameter name="KEY" string="true">text as it is</｜DSML｜parameter>
//! <｜DSML｜parameter name="KEY2" string="false">[1, 2]</｜DSML｜parameter>
//! </｜DSML｜invoke>
//! </｜DSML｜tool_calls>
//! ```

pub mod read;
pub mod write;

pub use read::{Begin, CALL_MAX, Delivery, End, NextByte, Reader, Reading, Sink, Tools};
pub use write::{ClosingTags, OddArguments, to_markup};

/// Ends the value of a parameter; the one sequence that no value can hold.
pub const CLOSING_TAG: &str = "</｜DSML｜parameter>";

/// What stands for [`CLOSING_TAG`] inside a string value. The reader undoes exactly this and no
/// other entity: HTML and XML in arguments must arrive as they were written.
pub const ESCAPED_CLOSING_TAG: &str = "&lt;/｜DSML｜parameter>";

/// A call of a tool, as clients write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// What the result refers to. Never part of a prompt.
    pub id: Option<String>,
    /// The tool.
    pub name: String,
    /// The arguments as JSON text, not yet looked at.
    pub arguments: String,
}
