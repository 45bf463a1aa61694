//! `/v1/responses`, and the replies that can be gone on from.

mod items;
mod read;
mod reply;
mod shelf;
mod skeleton;

pub(crate) use read::read;
pub(crate) use reply::Reply;
pub(crate) use shelf::{Kept, Shelf};
