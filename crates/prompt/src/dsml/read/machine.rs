//! The states of a turn, and what moves between them.

use super::block::{Block, Event};
use super::output::Output;
use super::text::{Found, Text};
use super::{Begin, CALL_MAX, End, NextByte, Reading, Sink, Tools};
use crate::{Finish, Markup};

const THINK_BEGIN: &str = "<think>";
const THINK_END: &str = "</think>";

impl Begin {
    /// What the prompt ended with.
    fn tag(self) -> &'static str {
        match self {
            Self::Reasoning => THINK_BEGIN,
            Self::Text => THINK_END,
        }
    }
}

/// The states of a turn.
#[derive(Debug)]
enum State {
    /// The model may repeat the tag the prompt ended with; so much of it has matched.
    Opening { matched: usize },
    /// Up to the first `</think>`, of which so much has matched.
    Reasoning { matched: usize },
    /// Text in which a tool block may begin.
    Text(Text),
    /// Text in which nothing may.
    Plain,
    /// A tool block.
    Block(Box<Block>),
    /// Nothing that follows matters.
    Done,
}

/// Characters to pieces.
#[derive(Debug)]
pub(super) struct Machine {
    begin: Begin,
    tools: Tools,
    state: State,
    out: Output,
    markup: Markup,
    /// Bytes of the block since it began or since its last complete call.
    block_bytes: usize,
}

impl Machine {
    pub(super) fn new(reading: &Reading) -> Self {
        Self {
            begin: reading.begin,
            tools: reading.tools,
            state: State::Opening { matched: 0 },
            out: Output::new(&reading.stops, reading.delivery),
            markup: Markup::Sound,
            block_bytes: 0,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.out.is_done()
    }

    /// See [`Reader::next_byte`](super::Reader::next_byte).
    pub(super) fn next_byte(&self) -> NextByte {
        match &self.state {
            State::Text(text) if text.is_in_markup() => NextByte::Structure,
            State::Block(block) => match block.expects_structure() {
                true => NextByte::Structure,
                false => NextByte::Payload,
            },
            _ => NextByte::Free,
        }
    }

    pub(super) fn push(&mut self, mut text: &str, sink: &mut Sink<'_>) {
        while !text.is_empty() && !self.out.is_done() {
            let used = match &mut self.state {
                State::Opening { matched } => {
                    let matched = *matched;
                    self.opening(text, matched, sink)
                }
                State::Reasoning { matched } => {
                    let matched = *matched;
                    self.reasoning(text, matched, sink)
                }
                State::Text(_) => self.text(text, sink),
                State::Plain => {
                    self.out.text(text, sink);
                    text.len()
                }
                State::Block(_) => self.block(text, sink),
                State::Done => return,
            };
            text = &text[used..];
        }
    }

    /// The tag that the prompt ended with, repeated, is dropped.
    fn opening(&mut self, text: &str, matched: usize, sink: &mut Sink<'_>) -> usize {
        let tag = self.begin.tag();
        if text.as_bytes()[0] != tag.as_bytes()[matched] {
            self.leave_opening();
            self.push(&tag[..matched], sink);
            return 0;
        }
        if matched + 1 == tag.len() {
            self.leave_opening();
        } else {
            self.state = State::Opening {
                matched: matched + 1,
            };
        }
        1
    }

    /// Goes on to what the turn begins with; the tag that might have come before it.
    fn leave_opening(&mut self) -> &'static str {
        self.state = match self.begin {
            Begin::Reasoning => State::Reasoning { matched: 0 },
            Begin::Text => self.text_state(),
        };
        self.begin.tag()
    }

    fn text_state(&self) -> State {
        match self.tools {
            Tools::Active => State::Text(Text::default()),
            Tools::Inactive => State::Plain,
        }
    }

    fn reasoning(&mut self, text: &str, matched: usize, sink: &mut Sink<'_>) -> usize {
        if matched == 0 {
            let run = text.find('<').unwrap_or(text.len());
            self.out.thought(&text[..run], sink);
            let begins = usize::from(run < text.len());
            self.state = State::Reasoning { matched: begins };
            return run + begins;
        }
        if text.as_bytes()[0] != THINK_END.as_bytes()[matched] {
            self.out.thought(&THINK_END[..matched], sink);
            self.state = State::Reasoning { matched: 0 };
            return 0;
        }
        self.state = match matched + 1 == THINK_END.len() {
            true => self.text_state(),
            false => State::Reasoning {
                matched: matched + 1,
            },
        };
        1
    }

    fn text(&mut self, text: &str, sink: &mut Sink<'_>) -> usize {
        let State::Text(state) = &mut self.state else {
            unreachable!("called in this state only");
        };
        let (used, found) = state.step(text, &mut self.out, sink);
        match found {
            Found::Nothing => {}
            Found::Again(held) => self.push(&held, sink),
            Found::Block {
                opening,
                space,
                candidate,
            } => {
                self.out.withhold(&space);
                let (before, inside) = candidate.split_at(opening.len);
                self.out.withhold(before);
                self.block_bytes = 0;
                let block = Block::new(opening.mark, opening.wrapper.as_deref());
                self.state = State::Block(Box::new(block));
                self.push(inside, sink);
            }
        }
        used
    }

    fn block(&mut self, text: &str, sink: &mut Sink<'_>) -> usize {
        let State::Block(block) = &mut self.state else {
            unreachable!("called in this state only");
        };
        let room = text.floor_char_boundary(CALL_MAX - self.block_bytes);
        let had_calls = self.out.calls();
        let (used, event) = match room {
            0 => (0, Event::Broken),
            room => block.step(&text[..room], &mut self.out, sink),
        };
        self.out.withhold(&text[..used]);
        self.block_bytes += used;
        if self.out.calls() > had_calls {
            self.block_bytes = 0;
        }
        match event {
            Event::Inside => {}
            Event::Ends => {
                let finish = match self.out.calls() {
                    0 => Finish::Stop,
                    _ => Finish::ToolCalls,
                };
                self.out.done(finish, Markup::Sound, sink);
                self.state = State::Done;
            }
            Event::Broken => {
                let may_end = block.may_end();
                self.broken(may_end, sink);
            }
        }
        used
    }

    /// The block broke the grammar. What was delivered stays delivered; otherwise it was text, and
    /// so is the rest.
    fn broken(&mut self, may_end: bool, sink: &mut Sink<'_>) {
        if self.out.call_is_open() {
            self.out.done(Finish::BrokenCall, Markup::Malformed, sink);
        } else if self.out.calls() > 0 {
            let markup = if may_end {
                Markup::Sound
            } else {
                Markup::Malformed
            };
            self.out.done(Finish::ToolCalls, markup, sink);
        } else {
            self.markup = Markup::Malformed;
            self.state = State::Plain;
            return self.out.release(sink);
        }
        self.state = State::Done;
    }

    pub(super) fn finish(&mut self, end: End, sink: &mut Sink<'_>) {
        if let State::Opening { matched } = self.state {
            let tag = self.leave_opening();
            self.push(&tag[..matched], sink);
        }
        match &mut self.state {
            State::Reasoning { matched } => {
                self.markup = Markup::UnclosedReasoning;
                self.out.thought(&THINK_END[..*matched], sink);
            }
            State::Text(text) => text.finish(&mut self.out, sink),
            State::Block(_) if self.out.call_is_open() => {
                self.out.done(Finish::BrokenCall, Markup::Truncated, sink);
            }
            State::Block(block) if self.out.calls() > 0 => {
                let markup = if block.may_end() {
                    Markup::Sound
                } else {
                    Markup::Truncated
                };
                let finish = match end {
                    End::Turn => Finish::ToolCalls,
                    End::Length => Finish::Length,
                };
                self.out.done(finish, markup, sink);
            }
            State::Block(_) => {
                self.markup = Markup::Truncated;
                self.out.release(sink);
            }
            State::Opening { .. } | State::Plain | State::Done => {}
        }
        let finish = match end {
            End::Turn => Finish::Stop,
            End::Length => Finish::Length,
        };
        self.out.done(finish, self.markup, sink);
        self.state = State::Done;
    }
}
