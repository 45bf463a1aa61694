//! KV pages and frontiers that outlive a session.
//!
//! A session of the engine is a list of pages, each the rows of a fixed number of tokens, and a
//! frontier, which is what else is needed to go on at a position. Here these get names that say
//! what they are the result of, and a tree in which a new prompt finds the deepest frontier on its
//! path. This crate knows bytes, token ids and hashes; it has never seen a tensor.
//!
//! | module | what |
//! |---|---|
//! | [`name`] | what a page or frontier is called: a hash of all the tokens before it, model and tenant |
//! | [`tree`] | from a list of tokens to the deepest frontier on its path; what is worth keeping |
//! | [`disk`] | the disk tier: a directory of records, its budget, its writer's thread |
//! | [`buffer`] | memory that pages and frontiers travel in |
//! | [`host`] | the tier in memory of the host |
//! | [`care`] | looking after a directory: what is in it, whether it is sound |
//! | [`record`], [`directory`], [`files`] | a record as bytes, where records lie, what is done to files |

#![forbid(unsafe_code)]

pub mod buffer;
pub mod care;
pub mod directory;
pub mod disk;
pub mod files;
pub mod host;
mod index;
pub mod name;
pub mod record;
pub mod tree;
mod writer;

pub use buffer::{Buffer, Pool};
pub use directory::{Directory, Shelf};
pub use disk::{Disk, Put, Report, Stored};
pub use host::Host;
pub use name::{Chain, Name, Scope, Tenant};
pub use record::{Body, Head, ReadError, Refused};
pub use tree::{Found, Freed, FreedPage, Kind, Lost, New, Place, Shared, Tree};
