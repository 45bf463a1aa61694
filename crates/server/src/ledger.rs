//! [`Ledger`]: which tokens a visible text is made of, for its log-probabilities.

/// A token of the visible text with its log-probability.
#[derive(Clone, Debug)]
pub(crate) struct Weighed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) logprob: f32,
    /// The likeliest tokens in its place.
    pub(crate) top: Vec<(Vec<u8>, f32)>,
}

/// Which tokens the visible text is made of.
///
/// Text may come later than its tokens (white space before a possible call is held back), and a
/// token may carry more than text. So when text comes, it is laid to the tokens that came last, as
/// many as have its bytes.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Tokens whose text has not come.
    open: Vec<Weighed>,
    /// Bytes of text since the last token.
    pub(crate) text_bytes: usize,
    /// Whether the last token gave reasoning.
    pub(crate) is_thought: bool,
    /// Tokens of text that is not sent yet.
    pub(crate) fresh: Vec<Weighed>,
}

/// Tokens held for text that may never come.
const MOST_OPEN: usize = 256;

impl Ledger {
    /// A token came.
    pub(crate) fn open(&mut self, weighed: Weighed) {
        if self.open.len() == MOST_OPEN {
            self.open.clear();
        }
        self.open.push(weighed);
    }

    /// What came gave no visible text.
    pub(crate) fn forget(&mut self) {
        self.open.clear();
    }

    /// The last token's text is all here.
    pub(crate) fn settle(&mut self) {
        let wanted = std::mem::take(&mut self.text_bytes);
        if wanted == 0 {
            return;
        }
        let (mut from, mut bytes) = (self.open.len(), 0);
        while from > 0 && bytes < wanted {
            from -= 1;
            bytes += self.open[from].bytes.len();
        }
        self.fresh.extend(self.open.drain(from..));
        self.open.clear();
    }
}
