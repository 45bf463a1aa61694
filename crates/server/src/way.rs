//! The two prompts a request may go by.

use ds4_prompt::{CutKind, TokenId, Tokens};

use crate::ask::Source;
use crate::replay::Place;

/// A prompt in tokens.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) ids: Vec<u32>,
    pub(crate) cuts: Vec<u32>,
    /// Where the answer can be found again; none if it continues a text of its own.
    pub(crate) place: Option<Place>,
}

/// The same conversation with the reasoning of earlier turns.
#[derive(Clone, Debug)]
pub(crate) struct Alias {
    pub(crate) path: Path,
    /// With so many of its tokens computed, nothing but what is new is left.
    pub(crate) live: u32,
}

/// Which of its two prompts a request goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    #[default]
    Exact,
    Alias,
}

impl Path {
    /// The path of these tokens.
    pub(crate) fn new(tokens: Tokens, source: &Source) -> Self {
        let place = match source {
            Source::Chat { goes_on: false, .. } => {
                let mut cuts = tokens.cuts.iter().rev();
                let last = cuts.find(|cut| cut.kind == CutKind::User);
                last.map(|cut| Place::after(&tokens.ids[..cut.at]))
            }
            _ => None,
        };
        Self {
            cuts: tokens.cuts.iter().map(|cut| cut.at as u32).collect(),
            ids: tokens.ids.into_iter().map(|TokenId(id)| id).collect(),
            place,
        }
    }
}
