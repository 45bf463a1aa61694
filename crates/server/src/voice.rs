//! [`Voice`]: how a dialect says an answer, at once or in events.

use serde_json::Value;

use crate::answer::{Answer, Counts, Event};
use crate::error::ApiError;
use crate::sse::Sse;

/// One request's reply in one dialect. The order of calls is that of the methods.
pub(crate) trait Voice: Send {
    /// At once, before anything is known.
    fn open(&mut self, out: &mut Sse);

    /// A session is found; so much of the prompt is in it.
    fn begin(&mut self, counts: Counts, out: &mut Sse);

    /// Nothing happened for a while, or another part of the prompt is read (of so many tokens).
    fn alive(&mut self, progress: Option<(u32, u32)>, out: &mut Sse);

    /// Something happened in an answer, which has it already.
    fn say(&mut self, answer: &Answer, event: Event<'_>, out: &mut Sse);

    /// An answer is over.
    fn close(&mut self, answer: &Answer, out: &mut Sse);

    /// All are.
    fn end(&mut self, answers: &[Answer], out: &mut Sse);

    /// It failed. Nothing follows.
    fn fail(&mut self, error: &ApiError, out: &mut Sse);

    /// All answers at once.
    fn whole(&mut self, answers: &[Answer]) -> Result<Value, ApiError>;
}

/// What several answers to one prompt took together.
pub(crate) fn total(answers: &[Answer]) -> Counts {
    let mut total = Counts::default();
    for answer in answers {
        // The first answer reads the prompt; the others find it read.
        if answer.index == 0 {
            total.prompt = answer.counts.prompt;
            total.cached = answer.counts.cached;
        }
        total.generated += answer.counts.generated;
        total.reasoning += answer.counts.reasoning;
    }
    total
}
