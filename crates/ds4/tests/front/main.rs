//! The front door: settings, help, errors, exit codes, the original program's command lines, and
//! the chat on a real pseudo-terminal.

#![allow(
    clippy::unwrap_used,
    reason = "the lint spares test functions, not their helpers"
)]

mod bench;
mod chat;
mod command;
mod companions;
mod launch;
mod machine;
mod pages;
mod piped;
mod settings;
mod terminal;
mod watched;
