//! Text of DeepSeek V4: bytes to tokens, conversations to prompts, generated text back to messages
//! and calls.
//!
//! This crate knows text and ids, never tensors. [`Segment`] is where its halves meet: the chat
//! renderer produces segments (what the protocol writes, what somebody's data says), the tokenizer
//! turns them into ids.

#![forbid(unsafe_code)]

pub mod chat;
pub mod decode;
pub mod dsml;
pub mod json;
mod piece;
pub mod pretokenize;
mod prompt;
pub mod segment;
mod thinking;
pub mod token;
pub mod tokenizer;
mod unicode;

pub use decode::Decoder;
pub use piece::{Done, Finish, Markup, Piece};
pub use prompt::{Cut, CutKind, Prompt, TokenCut, Tokens};
pub use segment::{AddedTokens, Segment, SegmentKind};
pub use thinking::{Effort, EffortLowered, Generation, MAX_EFFORT_CONTEXT, Thinking};
pub use token::{Special, Standing, TokenId};
pub use tokenizer::{TokenType, Tokenizer, TokenizerError};
