//! `/v1/messages` and `/v1/messages/count_tokens`.

mod read;
mod reply;

pub(crate) use read::read;
pub(crate) use reply::Reply;
