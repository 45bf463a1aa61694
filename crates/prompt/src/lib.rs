//! Text of DeepSeek V4: bytes to tokens, conversations to prompts, generated text back to messages and calls.
//!
//! This crate knows text and ids, never tensors. [`Segment`] is where its halves meet: the chat renderer produces
//! segments (what the protocol writes, what somebody's data says), the tokenizer turns them into ids.

#![forbid(unsafe_code)]

pub mod segment;
pub mod token;

pub use segment::{AddedTokens, Segment, SegmentKind};
pub use token::{Special, TokenId};
