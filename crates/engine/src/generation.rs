//! A generation, seen from the front end: a stream of [`Output`]s that ends with one
//! [`Output::Finish`].
//!
//! The engine thread sends numbers; bytes and pieces are made here, on the thread that wants them.
//! Dropping a [`Generation`] cancels it within one step; what was computed until then stays in the
//! session.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Release};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use ds4_prompt::dsml::{End, Reader};
use ds4_prompt::{Piece, TokenId};

use crate::engine::Engine;
use crate::error::EngineError;
use crate::outlet::Signals;
use crate::sampling::{Choice, Logprob, TopLogprobs};

/// What a generation yields.
#[derive(Debug)]
pub enum Output {
    /// Part of the prompt was computed.
    Progress(Progress),
    /// The log-probability of a token of the prompt, if scoring was asked for.
    Score(Score),
    /// A token was generated. Its text, if it has one yet, follows in pieces.
    Token(Token),
    /// Generated text, taken apart, if a reading was asked for.
    Piece(Piece<'static>),
    /// Nothing follows.
    Finish(Finish),
}

/// How much of the prompt is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Tokens of the prompt that are computed, those that were to begin with included.
    pub done: u32,
    /// Tokens of the prompt.
    pub total: u32,
}

/// A token of the prompt and how likely it was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Its position in the prompt, from 1.
    pub at: u32,
    /// The token with its raw log-probability.
    pub token: Logprob,
    /// The likeliest tokens in its place.
    pub top: TopLogprobs,
}

/// A generated token.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its bytes, which need not be whole characters; empty without a tokenizer.
    pub bytes: Vec<u8>,
    /// Its raw log-probability, if asked for.
    pub logprob: Option<f32>,
    /// The likeliest tokens in its place, if asked for.
    pub top: TopLogprobs,
}

/// How a generation ended, and what it took.
#[derive(Debug)]
pub struct Finish {
    /// Why it ended.
    pub reason: FinishReason,
    /// What it took.
    pub usage: Usage,
}

/// Why a generation ended.
#[derive(Debug)]
pub enum FinishReason {
    /// The model ended its turn, closed its calls, or wrote a stop string.
    Stop,
    /// The budget or the context ran out.
    Length,
    /// It was cancelled; the session keeps what was computed.
    Cancelled,
    /// It cannot go on.
    Error(EngineError),
}

/// What a generation took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Those of them that the session had already computed.
    pub cached_tokens: u32,
    /// Tokens generated, the one that ended the turn included.
    pub generated_tokens: u32,
    /// From the request until it was admitted.
    pub waited: Duration,
    /// From there to the first token.
    pub prefill: Duration,
    /// From the first token to the last.
    pub decode: Duration,
}

/// What travels from the engine thread.
#[derive(Debug)]
pub(crate) enum Message {
    Progress(Progress),
    Score(Score),
    Token(Choice),
    Finish(Finish),
}

/// A generation under way.
#[derive(Debug)]
pub struct Generation {
    messages: Receiver<Message>,
    signals: Arc<Signals>,
    engine: Engine,
    reader: Option<Reader>,
    /// Outputs made of the last message and not taken yet.
    ready: VecDeque<Output>,
    /// Whether the last output was made.
    is_over: bool,
}

impl Generation {
    pub(crate) fn new(
        messages: Receiver<Message>,
        signals: Arc<Signals>,
        engine: Engine,
        reader: Option<Reader>,
    ) -> Self {
        Self {
            messages,
            signals,
            engine,
            reader,
            ready: VecDeque::new(),
            is_over: false,
        }
    }

    /// Ends the generation within one step. The stream still ends with its [`Output::Finish`].
    pub fn cancel(&self) {
        self.signals.cancel.store(true, Release);
        self.engine.wake();
    }

    /// A handle that cancels this generation from elsewhere.
    pub fn canceller(&self) -> Canceller {
        Canceller {
            signals: Arc::clone(&self.signals),
            engine: self.engine.clone(),
        }
    }

    /// The next output if it comes within `patience`.
    ///
    /// # Errors
    /// If it does not; the generation goes on.
    pub fn next_within(&mut self, patience: Duration) -> Result<Option<Output>, Late> {
        loop {
            if let Some(output) = self.ready.pop_front() {
                return Ok(Some(output));
            }
            match self.messages.recv_timeout(patience) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => return Err(Late),
                Err(RecvTimeoutError::Disconnected) if self.is_over => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => self.take(lost()),
            }
        }
    }

    /// Turns a message into outputs.
    fn take(&mut self, message: Message) {
        // The engine paused this generation because nobody listened; somebody does.
        if self.signals.paused.swap(false, AcqRel) {
            self.engine.wake();
        }
        match message {
            Message::Progress(progress) => self.ready.push_back(Output::Progress(progress)),
            Message::Score(score) => self.ready.push_back(Output::Score(score)),
            Message::Token(choice) => self.take_token(&choice),
            Message::Finish(finish) => {
                self.is_over = true;
                let ready = &mut self.ready;
                if let Some(reader) = &mut self.reader {
                    let end = match finish.reason {
                        FinishReason::Stop => End::Turn,
                        _ => End::Length,
                    };
                    reader.finish(end, &mut |piece| {
                        ready.push_back(Output::Piece(piece.into_owned()));
                    });
                }
                ready.push_back(Output::Finish(finish));
            }
        }
    }

    fn take_token(&mut self, choice: &Choice) {
        let tokenizer = self.engine.tokenizer();
        let bytes = tokenizer.map(|tokenizer| tokenizer.token_bytes(TokenId(choice.token)));
        let bytes = bytes.unwrap_or_default();
        let ready = &mut self.ready;
        ready.push_back(Output::Token(Token {
            id: choice.token,
            bytes: bytes.to_vec(),
            logprob: choice.logprob,
            top: choice.top,
        }));
        if let Some(reader) = &mut self.reader {
            reader.push(bytes, &mut |piece| {
                ready.push_back(Output::Piece(piece.into_owned()));
            });
        }
    }
}

/// The end of a stream whose engine thread is gone without a word: it panicked.
fn lost() -> Message {
    Message::Finish(Finish {
        reason: FinishReason::Error(EngineError::Stopped),
        usage: Usage::default(),
    })
}

/// Nothing came in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing came in time")]
pub struct Late;

impl Iterator for Generation {
    type Item = Output;

    fn next(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.ready.pop_front() {
                return Some(output);
            }
            match self.messages.recv() {
                Ok(message) => self.take(message),
                Err(_) if self.is_over => return None,
                Err(_) => self.take(lost()),
            }
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Cancels a generation from another thread.
#[derive(Clone, Debug)]
pub struct Canceller {
    signals: Arc<Signals>,
    engine: Engine,
}

impl Canceller {
    /// Ends the generation within one step.
    pub fn cancel(&self) {
        self.signals.cancel.store(true, Release);
        self.engine.wake();
    }
}
