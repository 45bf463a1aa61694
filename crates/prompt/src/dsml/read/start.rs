//! Where a tool block may begin, in visible text.
//!
//! A `<` is held only while it may still open a block. The openings that count (`P` is a mark of
//! [`Mark::ALL`]):
//!
//! * `<P` + `tool_calls>`;
//! * `<P` + another name of letters and underscores + `>`, if an invoke of the same mark follows
//!   after white space (`function_calls` and `toolcall` were seen in the wild);
//! * `<P` + `invoke name="`: the block's own tag is missing;
//! * `<tool_calls>` without a mark, if an invoke follows: people and models write that word in
//!   prose.

use super::mark::{Element, Mark};

/// Longest name of a block: beyond it, `<P…` is text.
pub(super) const NAME_MAX: usize = 64;

/// Longest white space between an opening tag and its first invoke that keeps both in suspense.
pub(super) const GAP_MAX: usize = 256;

/// The only name that opens a block without a mark.
const PLAIN_OPENING: &str = "<tool_calls>";

/// Text from a `<` on that may open a block.
#[derive(Debug)]
pub(super) struct Candidate {
    text: String,
    stage: Stage,
}

impl Default for Candidate {
    /// With room for an opening: a `<` in text allocates nothing.
    fn default() -> Self {
        Self {
            text: String::with_capacity(NAME_MAX),
            stage: Stage::Idle,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    /// No candidate.
    #[default]
    Idle,
    /// In the mark, or in [`PLAIN_OPENING`].
    Mark,
    /// In the name that follows the mark.
    Name { mark: Mark, from: usize },
    /// In ` name="` after `<Pinvoke`, where `from` is its first byte.
    Bare { mark: Mark, from: usize },
    /// In the white space after a complete tag that began with `<P` and whose name is `name`.
    Gap {
        mark: Mark,
        name: (usize, usize),
        from: usize,
    },
    /// In the tag that must be an invoke; it begins at `from`.
    Invoke {
        mark: Mark,
        name: (usize, usize),
        from: usize,
    },
}

/// What a character made of the candidate.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Still undecided.
    Open,
    /// No opening; the character is not part of the candidate.
    Text,
    /// A block begins.
    Block(Opening),
}

/// How a block begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) mark: Mark,
    /// The name of the block's tag; none if it is missing.
    pub(super) wrapper: Option<String>,
    /// How much of the candidate is the opening itself. The rest belongs to the block.
    pub(super) len: usize,
}

impl Candidate {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle)
    }

    /// Whether a mark is complete: what follows is structure, most likely.
    pub(super) fn is_marked(&self) -> bool {
        !matches!(self.stage, Stage::Idle | Stage::Mark)
    }

    /// Begins with a `<`.
    pub(super) fn begin(&mut self) {
        self.text.push('<');
        self.stage = Stage::Mark;
    }

    /// Gives up or hands over; the text so far.
    pub(super) fn take(&mut self) -> String {
        self.stage = Stage::Idle;
        std::mem::take(&mut self.text)
    }

    /// Gives back the memory of a text taken before.
    pub(super) fn reuse(&mut self, mut text: String) {
        text.clear();
        self.text = text;
    }

    /// Takes the next character.
    pub(super) fn push(&mut self, c: char) -> Verdict {
        let before = self.text.len();
        self.text.push(c);
        let verdict = match self.stage {
            Stage::Idle => Verdict::Text,
            Stage::Mark => self.in_mark(),
            Stage::Name { mark, from } => self.in_name(c, mark, from),
            Stage::Bare { mark, from } => self.in_bare(mark, from),
            Stage::Gap { mark, name, from } => self.in_gap(c, mark, name, from),
            Stage::Invoke { mark, name, from } => self.in_invoke(c, mark, name, from),
        };
        if verdict == Verdict::Text {
            self.text.truncate(before);
        }
        verdict
    }

    fn in_mark(&mut self) -> Verdict {
        let inner = &self.text[1..];
        if let Some(mark) = Mark::ALL.into_iter().find(|mark| mark.text() == inner) {
            let from = self.text.len();
            self.stage = Stage::Name { mark, from };
            return Verdict::Open;
        }
        if self.text == PLAIN_OPENING {
            let mark = Mark::None;
            let (name, from) = ((1, self.text.len() - 1), self.text.len());
            self.stage = Stage::Gap { mark, name, from };
            return Verdict::Open;
        }
        let may_be_mark = Mark::ALL.iter().any(|mark| mark.text().starts_with(inner));
        match may_be_mark || PLAIN_OPENING.starts_with(&self.text) {
            true => Verdict::Open,
            false => Verdict::Text,
        }
    }

    fn in_name(&mut self, c: char, mark: Mark, from: usize) -> Verdict {
        let end = self.text.len() - c.len_utf8();
        let name = &self.text[from..end];
        match c {
            'a'..='z' | 'A'..='Z' | '_' if name.len() < NAME_MAX => Verdict::Open,
            ' ' if name == "invoke" => {
                self.stage = Stage::Bare { mark, from: end };
                Verdict::Open
            }
            '>' if name == "tool_calls" => Verdict::Block(Opening {
                mark,
                wrapper: Some(name.to_owned()),
                len: self.text.len(),
            }),
            '>' if !matches!(name, "" | "invoke" | "parameter") => {
                let (name, from) = ((from, end), self.text.len());
                self.stage = Stage::Gap { mark, name, from };
                Verdict::Open
            }
            _ => Verdict::Text,
        }
    }

    fn in_bare(&self, mark: Mark, from: usize) -> Verdict {
        const NAME: &str = " name=\"";
        match &self.text[from..] {
            NAME => Verdict::Block(Opening {
                mark,
                wrapper: None,
                len: 0,
            }),
            part if NAME.starts_with(part) => Verdict::Open,
            _ => Verdict::Text,
        }
    }

    fn in_gap(&mut self, c: char, mark: Mark, name: (usize, usize), from: usize) -> Verdict {
        match c {
            ' ' | '\t' | '\r' | '\n' if self.text.len() - from <= GAP_MAX => Verdict::Open,
            '<' => {
                let from = self.text.len() - 1;
                self.stage = Stage::Invoke { mark, name, from };
                Verdict::Open
            }
            _ => Verdict::Text,
        }
    }

    fn in_invoke(&self, c: char, mark: Mark, name: (usize, usize), from: usize) -> Verdict {
        let tag = &self.text[from..];
        let invoke = mark.opening(Element::Invoke);
        if invoke.starts_with(tag) {
            return Verdict::Open;
        }
        let is_invoke = tag.len() == invoke.len() + 1 && tag.starts_with(invoke);
        if is_invoke && matches!(c, ' ' | '\t' | '\r' | '\n' | '>' | '/') {
            let wrapper = Some(self.text[name.0..name.1].to_owned());
            return Verdict::Block(Opening {
                mark,
                wrapper,
                len: from,
            });
        }
        Verdict::Text
    }
}

/// Where in `text` a block may begin: the first `<` that is not plainly something else.
pub(super) fn find(text: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = text[from..].find('<') {
        let at = from + found;
        match text.as_bytes().get(at + 1) {
            // The first bytes of the marks and of `tool_calls`; or the text ends here.
            None | Some(b'D' | b't' | 0xEF) => return Some(at),
            Some(_) => from = at + 1,
        }
    }
    None
}
