//! `/v1/chat/completions`.

mod read;
mod reply;

pub(crate) use read::{arguments, choice_word, custom_call, custom_tool, read, read_format};
pub(crate) use reply::{Reply, custom_input, end, fail, logprob_entries, usage};
