//! A rendered prompt: text in segments, and the places where computation is worth keeping.

use crate::{AddedTokens, Segment, SegmentKind, Special, TokenId, Tokenizer};

/// A prompt, or the part of one that follows a rendered context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    text: String,
    spans: Vec<Span>,
    cuts: Vec<Cut>,
    /// Whether the text ends with an added token the protocol wrote.
    ends_in_token: bool,
    /// A cut that holds if an added token comes next.
    pending_cut: Option<CutKind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    kind: SegmentKind,
    /// Where it ends in the text; it begins where the one before ends.
    end: usize,
}

/// A place where other prompts are likely to part from this one, or to go on.
///
/// An added token stands right before or right after it, so the ids of the segments before a cut
/// are a prefix of the ids of the whole prompt. That is why a few ends of turns (system text that
/// runs into an answer) have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// How many segments lie before it.
    pub segments: usize,
    /// What ends here.
    pub kind: CutKind,
}

/// What ends at a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CutKind {
    /// System text with its tools and response format: what all conversations of one client share.
    System,
    /// A user turn, before the assistant's opening: a later request may open the same turn without
    /// its reasoning.
    User,
    /// An assistant turn, after its EOS: where the next request goes on, and where an edited
    /// question forks.
    Assistant,
}

/// The ids of a prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// All of them.
    pub ids: Vec<TokenId>,
    /// The cuts in order.
    pub cuts: Vec<TokenCut>,
}

/// A [`Cut`] among ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenCut {
    /// How many ids lie before it.
    pub at: usize,
    /// What ends here.
    pub kind: CutKind,
}

impl Prompt {
    /// The text of all segments. What it tokenizes to depends on the segments too.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The segments in order; none is empty.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = Segment<'_>> {
        let mut start = 0;
        self.spans.iter().map(move |span| {
            let text = &self.text[start..span.end];
            start = span.end;
            let kind = span.kind;
            Segment { kind, text }
        })
    }

    /// The cuts in order.
    pub fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// The ids, and where the cuts are among them.
    pub fn encode(&self, tokenizer: &Tokenizer, policy: AddedTokens) -> Tokens {
        let segments: Vec<Segment<'_>> = self.segments().collect();
        let mut tokens = Tokens::default();
        let mut from = 0;
        for cut in &self.cuts {
            let part = &segments[from..cut.segments];
            tokens.ids.extend(tokenizer.encode_segments(part, policy));
            from = cut.segments;
            let (at, kind) = (tokens.ids.len(), cut.kind);
            tokens.cuts.push(TokenCut { at, kind });
        }
        let rest = &segments[from..];
        tokens.ids.extend(tokenizer.encode_segments(rest, policy));
        tokens
    }

    /// Appends text of the protocol that is no added token at its ends.
    pub(crate) fn control(&mut self, text: &str) {
        self.push(SegmentKind::Control, text, Seam::Open);
    }

    /// Appends text from somebody else.
    pub(crate) fn data(&mut self, text: &str) {
        self.push(SegmentKind::Data, text, Seam::Open);
    }

    /// Appends an added token.
    pub(crate) fn token(&mut self, token: Special) {
        self.push(SegmentKind::Control, token.text(), Seam::Token);
    }

    /// Marks this place as a cut, if the tokens part here. A turn that wrote nothing adds none to the
    /// cut of the turn before.
    pub(crate) fn cut(&mut self, kind: CutKind) {
        if self.is_at_cut() || self.spans.is_empty() || self.pending_cut.is_some() {
            return;
        }
        match self.ends_in_token {
            true => self.place_cut(kind),
            false => self.pending_cut = Some(kind),
        }
    }

    fn is_at_cut(&self) -> bool {
        let here = self.spans.len();
        self.cuts.last().is_some_and(|cut| cut.segments == here)
    }

    fn place_cut(&mut self, kind: CutKind) {
        let segments = self.spans.len();
        self.cuts.push(Cut { segments, kind });
    }

    /// Ends the prompt: whatever cut was waiting for the next token is one, for nothing follows.
    pub(crate) fn finish(mut self) -> Self {
        if let Some(kind) = self.pending_cut.take() {
            self.place_cut(kind);
        }
        self
    }

    fn push(&mut self, kind: SegmentKind, text: &str, seam: Seam) {
        if text.is_empty() {
            return;
        }
        let is_token = seam == Seam::Token;
        if let Some(cut) = self.pending_cut.take()
            && is_token
        {
            self.place_cut(cut);
        }
        self.text.push_str(text);
        self.ends_in_token = is_token;
        let end = self.text.len();
        let at_cut = self.is_at_cut();
        match self.spans.last_mut() {
            Some(last) if last.kind == kind && !at_cut => last.end = end,
            _ => self.spans.push(Span { kind, end }),
        }
    }
}

/// Whether a text is exactly one added token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seam {
    Token,
    Open,
}
