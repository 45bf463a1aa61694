//! A real server over a real engine with a small model of noise, spoken to over sockets.

#![allow(
    clippy::unwrap_used,
    reason = "the lint spares test functions, not their helpers"
)]

mod chat;
mod client;
mod completions;
mod corpus;
mod crowd;
mod docs;
mod faults;
mod guards;
mod messages;
mod page;
mod responses;
mod restart;
mod rig;
mod sdk;
mod shapes;
mod thoughts;
