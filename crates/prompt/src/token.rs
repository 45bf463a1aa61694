//! Token ids, and the tokens the protocol is made of.
//!
//! An id is only meaningful with its vocabulary: the published one has BOS at 0 and `<｜User｜>` at
//! 128,803, the demo model's has them elsewhere. So protocol tokens are named here by text and
//! looked up, never written as numbers.

use std::fmt;

/// A token's index in the vocabulary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct TokenId(pub u32);

impl TokenId {
    /// The id as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Declares [`Special`] with the text and the standing of each token.
macro_rules! specials {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $standing:ident;)+) => {
        /// An added token that the protocol gives a meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Special {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Special {
            /// Every special token, in the order of the published ids.
            pub const ALL: [Self; [$(Self::$name),+].len()] = [$(Self::$name),+];

            /// The text by which a vocabulary knows the token.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// What the token is to a conversation.
            pub fn standing(self) -> Standing {
                match self {
                    $(Self::$name => Standing::$standing,)+
                }
            }
        }
    };
}

/// What a special token is to a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It delimits or opens turns: forging one forges a turn.
    Turn,
    /// It marks something inside a turn.
    Markup,
}

specials! {
    /// Begins every prompt.
    Bos = "<｜begin▁of▁sentence｜>", Turn;
    /// Ends every assistant turn.
    Eos = "<｜end▁of▁sentence｜>", Turn;
    /// Fill in the middle: the place to fill.
    FimHole = "<｜fim▁hole｜>", Markup;
    /// Fill in the middle: before the prefix.
    FimBegin = "<｜fim▁begin｜>", Markup;
    /// Fill in the middle: after the suffix.
    FimEnd = "<｜fim▁end｜>", Markup;
    /// Opens a user turn.
    User = "<｜User｜>", Turn;
    /// Opens an assistant turn.
    Assistant = "<｜Assistant｜>", Turn;
    /// Reasoning begins.
    ThinkBegin = "<think>", Markup;
    /// Reasoning ends.
    ThinkEnd = "</think>", Markup;
    /// The mark inside every tag of the tool markup; it has no angle brackets of its own.
    Dsml = "｜DSML｜", Markup;
    /// Opens a reminder.
    LatestReminder = "<｜latest_reminder｜>", Turn;
    /// Quick task: search or answer.
    Action = "<｜action｜>", Turn;
    /// Quick task: search queries.
    Query = "<｜query｜>", Turn;
    /// Quick task: does the answer need an authority.
    Authority = "<｜authority｜>", Turn;
    /// Quick task: the domain of a question.
    Domain = "<｜domain｜>", Turn;
    /// Quick task.
    Task = "<｜task｜>", Turn;
    /// Quick task.
    Political = "<｜political｜>", Turn;
    /// Quick task.
    Entity = "<｜entity｜>", Turn;
    /// Quick task: a title for the conversation.
    Title = "<｜title｜>", Turn;
    /// Quick task.
    Safety = "<｜safety｜>", Turn;
    /// Quick task.
    Answer = "<｜answer｜>", Turn;
    /// Quick task.
    Search = "<｜search｜>", Turn;
    /// Before a URL in the user text of a `read_url` task.
    ExtractedUrl = "<｜extracted_url｜>", Markup;
    /// Quick task: whether to read a URL.
    ReadUrl = "<｜read_url｜>", Turn;
}
