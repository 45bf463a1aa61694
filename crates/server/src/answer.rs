//! [`Answer`]: one answer as it grows, in no dialect, and the events that voices render.

use ds4_engine::{FinishReason, Output, Progress, Token, Usage};
use ds4_prompt::{Finish, Markup, Piece, TokenId};

use crate::error::{ApiError, Kind};
use crate::ids;
use crate::ledger::{Ledger, Weighed};
use crate::model::Model;
use crate::refusal::of_engine;

/// What happens in an answer.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    Thought(&'a str),
    /// Visible text, with the tokens it is made of if log-probabilities are wanted.
    Text(&'a str, &'a [Weighed]),
    /// The last call began.
    CallStart,
    /// More of its arguments.
    CallArgs(&'a str),
    CallEnd,
}

/// A call of a tool.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    /// One compact JSON object.
    pub(crate) arguments: String,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Stop,
    /// At this string of the request.
    StopString(String),
    Calls,
    Length,
    /// A call that was being delivered broke off.
    Broken,
}

/// What an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) prompt: u32,
    pub(crate) cached: u32,
    pub(crate) generated: u32,
    /// Of those generated, the reasoning.
    pub(crate) reasoning: u32,
}

/// How an answer is read.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    pub(crate) stops: Vec<String>,
    /// What ids of calls begin with.
    pub(crate) call_prefix: &'static str,
    /// What its signature begins with.
    pub(crate) signature_prefix: &'static str,
    pub(crate) has_logprobs: bool,
    pub(crate) is_one_call: bool,
    /// Whose tokens they are.
    pub(crate) model: Model,
}

impl Manner {
    fn weigh(&self, token: Token) -> Weighed {
        let tokenizer = self.model.tokenizer();
        let top = token.top.as_slice().iter();
        let bytes = |id| tokenizer.token_bytes(TokenId(id)).to_vec();
        Weighed {
            bytes: token.bytes,
            logprob: token.logprob.unwrap_or(0.0),
            top: top.map(|item| (bytes(item.token), item.logprob)).collect(),
        }
    }
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) index: u32,
    pub(crate) manner: Manner,
    pub(crate) thought: String,
    pub(crate) text: String,
    pub(crate) calls: Vec<Call>,
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) weighed: Vec<Weighed>,
    pub(crate) counts: Counts,
    pub(crate) usage: Usage,
    pub(crate) markup: Markup,
    pub(crate) end: Option<End>,
    /// Whether the engine has said what it took.
    is_counted: bool,
    /// How far the prompt is.
    pub(crate) progress: Option<Progress>,
    /// What the reasoning is signed with.
    pub(crate) signature: String,
    ledger: Ledger,
    /// Text or reasoning of one kind that is not sent yet.
    held: Held,
}

#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    Thought(String),
    Text(String),
}

impl Answer {
    pub(crate) fn new(index: u32, manner: Manner) -> Self {
        Self {
            index,
            signature: ids::fresh(manner.signature_prefix),
            manner,
            thought: String::new(),
            text: String::new(),
            calls: Vec::new(),
            tokens: Vec::new(),
            weighed: Vec::new(),
            counts: Counts::default(),
            usage: Usage::default(),
            markup: Markup::Sound,
            end: None,
            is_counted: false,
            progress: None,
            ledger: Ledger::default(),
            held: Held::Nothing,
        }
    }

    /// Takes what came together, and says what happened. Neighbouring text is one event.
    ///
    /// # Errors
    /// If the generation failed. What happened before that has been said.
    pub(crate) fn take(
        &mut self,
        outputs: Vec<Output>,
        sink: &mut dyn FnMut(&Self, Event<'_>),
    ) -> Result<(), ApiError> {
        let mut failure = None;
        for output in outputs {
            match output {
                Output::Progress(progress) => self.progress = Some(progress),
                Output::Token(token) => self.token(token),
                Output::Piece(piece) if self.end.is_none() => self.piece(piece, sink),
                Output::Finish(finish) => {
                    self.count(finish.usage);
                    match finish.reason {
                        FinishReason::Error(error) => failure = Some(of_engine(&error)),
                        FinishReason::Cancelled if self.end.is_none() => {
                            let message = "the answer was cancelled: the server is going down";
                            failure = Some(ApiError::new(Kind::Unavailable, message));
                        }
                        // A budget that ends in the reading of bare tokens has no last piece.
                        FinishReason::Length => {
                            self.end.get_or_insert(End::Length);
                        }
                        _ => {}
                    }
                }
                Output::Piece(_) | Output::Score(_) => {}
            }
        }
        self.release(sink);
        failure.map_or(Ok(()), Err)
    }

    /// Whether nothing more of it is wanted. An answer that ends by itself still has to say what it
    /// took; one that was cut after its call does not.
    pub(crate) fn is_over(&self) -> bool {
        self.end.is_some() && (self.is_counted || self.manner.is_one_call)
    }

    fn token(&mut self, token: Token) {
        self.settle();
        self.tokens.push(TokenId(token.id));
        self.counts.generated += 1;
        if self.manner.has_logprobs {
            let weighed = self.manner.weigh(token);
            self.ledger.open(weighed);
        }
        self.ledger.is_thought = false;
    }

    /// The last token's pieces are all here.
    fn settle(&mut self) {
        if std::mem::take(&mut self.ledger.is_thought) {
            self.counts.reasoning += 1;
        }
        self.ledger.settle();
    }

    fn piece(&mut self, piece: Piece<'_>, sink: &mut dyn FnMut(&Self, Event<'_>)) {
        match piece {
            Piece::Thought(text) => {
                self.ledger.is_thought = true;
                self.ledger.forget();
                if let Held::Thought(held) = &mut self.held {
                    held.push_str(&text);
                } else {
                    self.release(sink);
                    self.held = Held::Thought(text.into_owned());
                }
            }
            Piece::Text(text) => {
                self.ledger.text_bytes += text.len();
                if let Held::Text(held) = &mut self.held {
                    held.push_str(&text);
                } else {
                    self.release(sink);
                    self.held = Held::Text(text.into_owned());
                }
            }
            Piece::CallStart { name, .. } => {
                self.release(sink);
                self.calls.push(Call {
                    id: ids::fresh(self.manner.call_prefix),
                    name: name.into_owned(),
                    arguments: String::new(),
                });
                sink(self, Event::CallStart);
            }
            Piece::CallArgs { json, .. } => {
                if let Some(call) = self.calls.last_mut() {
                    call.arguments.push_str(&json);
                }
                sink(self, Event::CallArgs(&json));
            }
            Piece::CallEnd { .. } => {
                sink(self, Event::CallEnd);
                if self.manner.is_one_call {
                    self.end = Some(End::Calls);
                }
            }
            Piece::Done(done) => {
                self.release(sink);
                self.markup = done.markup;
                self.end = Some(match done.finish {
                    Finish::Stop => End::Stop,
                    Finish::StopString { index } => {
                        let stop = self.manner.stops.get(index);
                        End::StopString(stop.cloned().unwrap_or_default())
                    }
                    Finish::ToolCalls => End::Calls,
                    Finish::Length => End::Length,
                    Finish::BrokenCall => End::Broken,
                });
            }
        }
    }

    /// Says what is held.
    fn release(&mut self, sink: &mut dyn FnMut(&Self, Event<'_>)) {
        self.settle();
        match std::mem::take(&mut self.held) {
            Held::Nothing => {}
            Held::Thought(text) => {
                self.thought.push_str(&text);
                sink(self, Event::Thought(&text));
            }
            Held::Text(text) => {
                self.text.push_str(&text);
                let fresh = std::mem::take(&mut self.ledger.fresh);
                sink(self, Event::Text(&text, &fresh));
                self.weighed.extend(fresh);
            }
        }
    }

    fn count(&mut self, usage: Usage) {
        self.is_counted = true;
        self.usage = usage;
        self.counts.prompt = usage.prompt_tokens;
        self.counts.cached = usage.cached_tokens;
        self.counts.generated = usage.generated_tokens;
    }
}
