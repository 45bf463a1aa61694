//! Visible text in which a tool block may begin.

use super::Sink;
use super::output::Output;
use super::start::{self, Candidate, Opening, Verdict};

/// Longest run of white space held back at once. Of a longer run before a block, the beginning
/// stays in the text.
const SPACE_MAX: usize = 4 << 10;

/// Text; holds back white space, which a block that follows drops, and what may be that block's
/// beginning.
#[derive(Debug)]
pub(super) struct Text {
    space: String,
    candidate: Candidate,
}

impl Default for Text {
    /// With room for the usual white space.
    fn default() -> Self {
        Self {
            space: String::with_capacity(64),
            candidate: Candidate::default(),
        }
    }
}

/// What a step found.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing to act on.
    Nothing,
    /// Characters that were held for a block that did not come: to be read again.
    Again(String),
    /// A block.
    Block {
        opening: Opening,
        /// The white space before it.
        space: String,
        /// The text it was recognised by.
        candidate: String,
    },
}

impl Text {
    /// Whether the model is most likely writing the beginning of a block.
    pub(super) fn is_in_markup(&self) -> bool {
        self.candidate.is_marked()
    }

    /// Consumes some of `text`, which is not empty.
    pub(super) fn step(
        &mut self,
        text: &str,
        out: &mut Output,
        sink: &mut Sink<'_>,
    ) -> (usize, Found) {
        if self.candidate.is_idle() {
            let run = start::find(text).unwrap_or(text.len());
            self.run(&text[..run], out, sink);
            if run == text.len() {
                return (run, Found::Nothing);
            }
            self.candidate.begin();
            return (run + 1, Found::Nothing);
        }
        let c = text.chars().next().expect("a step has text");
        match self.candidate.push(c) {
            Verdict::Open => (c.len_utf8(), Found::Nothing),
            Verdict::Text => (0, self.give_up(out, sink)),
            Verdict::Block(opening) => {
                let space = std::mem::take(&mut self.space);
                let candidate = self.candidate.take();
                (
                    c.len_utf8(),
                    Found::Block {
                        opening,
                        space,
                        candidate,
                    },
                )
            }
        }
    }

    /// The end of the turn: nothing held is part of a block.
    pub(super) fn finish(&mut self, out: &mut Output, sink: &mut Sink<'_>) {
        let held = self.candidate.take();
        out.text(&self.space, sink);
        out.text(&held, sink);
        self.space.clear();
    }

    /// The candidate is text, at least up to the next `<` in it, where another may begin.
    fn give_up(&mut self, out: &mut Output, sink: &mut Sink<'_>) -> Found {
        let mut held = self.candidate.take();
        let next = held[1..].find('<').map_or(held.len(), |at| at + 1);
        self.run(&held[..next], out, sink);
        if next == held.len() {
            // The usual case: a `<` that opens nothing.
            self.candidate.reuse(held);
            return Found::Nothing;
        }
        held.drain(..next);
        Found::Again(held)
    }

    /// Text without the beginning of a block: passed on, except for white space at its end.
    fn run(&mut self, text: &str, out: &mut Output, sink: &mut Sink<'_>) {
        let shown = text.trim_end_matches(|c: char| c.is_ascii_whitespace());
        if !shown.is_empty() {
            out.text(&self.space, sink);
            self.space.clear();
            out.text(shown, sink);
        }
        let mut space = &text[shown.len()..];
        while self.space.len() + space.len() > SPACE_MAX {
            let (fits, rest) = space.split_at(SPACE_MAX - self.space.len());
            self.space.push_str(fits);
            out.text(&self.space, sink);
            self.space.clear();
            space = rest;
        }
        self.space.push_str(space);
    }
}
