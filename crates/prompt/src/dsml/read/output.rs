//! From what was read to pieces, in the order and at the moment they may be seen.

use std::borrow::Cow;

use super::call::Call;
use super::stops::Stops;
use super::{Delivery, Sink};
use crate::{Done, Finish, Markup, Piece};

/// The side of the reader that makes pieces.
#[derive(Debug)]
pub(super) struct Output {
    stops: Stops,
    delivery: Delivery,
    /// Complete calls.
    calls: u32,
    /// A call was begun live and is not complete.
    call_is_open: bool,
    /// The block so far and the white space before it: text again, if no call comes of it.
    withheld: String,
    is_done: bool,
}

impl Output {
    pub(super) fn new(stops: &[String], delivery: Delivery) -> Self {
        Self {
            stops: Stops::new(stops),
            delivery,
            calls: 0,
            call_is_open: false,
            withheld: String::new(),
            is_done: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Complete calls.
    pub(super) fn calls(&self) -> u32 {
        self.calls
    }

    pub(super) fn call_is_open(&self) -> bool {
        self.call_is_open
    }

    pub(super) fn thought(&mut self, text: &str, sink: &mut Sink<'_>) {
        if !text.is_empty() {
            sink(Piece::Thought(Cow::Borrowed(text)));
        }
    }

    /// Visible text. A stop string in it ends the turn.
    pub(super) fn text(&mut self, text: &str, sink: &mut Sink<'_>) {
        if self.is_done {
            return;
        }
        let mut emit = |text: &str| sink(Piece::Text(Cow::Borrowed(text)));
        if let Some(index) = self.stops.push(text, &mut emit) {
            self.done(Finish::StopString { index }, Markup::Sound, sink);
        }
    }

    /// Keeps a piece of the block, in case it turns out to be text.
    pub(super) fn withhold(&mut self, text: &str) {
        if self.calls == 0 && !self.call_is_open {
            self.withheld.push_str(text);
        }
    }

    /// The block was text.
    pub(super) fn release(&mut self, sink: &mut Sink<'_>) {
        let text = std::mem::take(&mut self.withheld);
        self.text(&text, sink);
    }

    pub(super) fn call_begins(&mut self, call: &mut Call, sink: &mut Sink<'_>) {
        if self.delivery == Delivery::Live {
            self.start(&call.name, sink);
            self.call_grows(call, sink);
        }
    }

    pub(super) fn call_grows(&mut self, call: &mut Call, sink: &mut Sink<'_>) {
        if self.call_is_open && !call.arguments.is_empty() {
            let index = self.calls;
            let json = Cow::Borrowed(call.arguments.as_str());
            sink(Piece::CallArgs { index, json });
            call.arguments.clear();
        }
    }

    pub(super) fn call_ends(&mut self, call: &mut Call, sink: &mut Sink<'_>) {
        if !self.call_is_open {
            call.settle_repeats();
            self.start(&call.name, sink);
        }
        self.call_grows(call, sink);
        sink(Piece::CallEnd { index: self.calls });
        self.call_is_open = false;
        self.calls += 1;
    }

    fn start(&mut self, name: &str, sink: &mut Sink<'_>) {
        self.flush_text(sink);
        self.withheld = String::new();
        let (index, name) = (self.calls, Cow::Borrowed(name));
        sink(Piece::CallStart { index, name });
        self.call_is_open = true;
    }

    /// The last piece.
    pub(super) fn done(&mut self, finish: Finish, markup: Markup, sink: &mut Sink<'_>) {
        if !self.is_done {
            self.is_done = true;
            self.withheld = String::new();
            self.flush_text(sink);
            sink(Piece::Done(Done { finish, markup }));
        }
    }

    fn flush_text(&mut self, sink: &mut Sink<'_>) {
        self.stops
            .flush(&mut |text| sink(Piece::Text(Cow::Borrowed(text))));
    }
}
