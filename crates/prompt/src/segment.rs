//! Rendered text in segments: what the protocol wrote, and what somebody's data says.
//!
//! The official encoder renders one string and tokenizes it whole, so a message that contains
//! `<｜User｜>` opens a turn. Here the renderer keeps the two kinds of text apart, and
//! [`AddedTokens`] says which of them may become added tokens. Nothing else depends on the seams:
//! the pre-tokenizer and BPE run over the whole text between recognised added tokens, so every
//! policy gives the same ids wherever data holds none.

/// Who wrote a piece of rendered text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SegmentKind {
    /// The protocol: role tokens, markup, fixed texts.
    Control,
    /// A user, a tool, a file, a client: text that must not be able to forge the above.
    Data,
}

/// A piece of rendered text of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segment<'a> {
    /// Who wrote it.
    pub kind: SegmentKind,
    /// The text.
    pub text: &'a str,
}

impl<'a> Segment<'a> {
    /// Text the protocol wrote.
    pub fn control(text: &'a str) -> Self {
        Self {
            kind: SegmentKind::Control,
            text,
        }
    }

    /// Text somebody else wrote.
    pub fn data(text: &'a str) -> Self {
        Self {
            kind: SegmentKind::Data,
            text,
        }
    }
}

/// What the text of an added token is when it stands in [`SegmentKind::Data`].
///
/// In control segments added tokens are always recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AddedTokens {
    /// Ordinary text, all of them: nobody's message or file can become structure.
    #[default]
    AsText,
    /// Ordinary text if the token delimits or opens turns
    /// ([`Standing::Turn`](crate::token::Standing::Turn)), a token otherwise: closes the forging of
    /// turns and nothing more.
    TurnsAsText,
    /// Tokens, as in the official encoder, which sees no segments.
    AsToken,
}
