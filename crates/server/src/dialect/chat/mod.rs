//! `/v1/chat/completions`.

mod read;
mod reply;

pub(crate) use read::read;
pub(crate) use reply::{Reply, custom_input, end, fail, logprob_entries, usage};
