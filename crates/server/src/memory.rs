//! [`Memory`]: what one tenant may find of what was said, and how it gets into a prompt.

use std::sync::Arc;

use ds4_prompt::chat::{Answer, Ending, Message, ToolCall};
use ds4_prompt::dsml::Begin;
use ds4_prompt::json::{Grammar, Value, parse};
use ds4_prompt::{CutKind, Special, TokenCut, TokenId, Tokenizer, Tokens};

use crate::dialect::responses::{Kept, Shelf};
use crate::replay::{Key, Place, Replay, Said, Trail};
use crate::tenant::Tenant;

/// What one tenant may find.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory<'a> {
    kept: Option<(&'a Replay, &'a Shelf)>,
    tenant: Tenant,
}

impl<'a> Memory<'a> {
    /// A memory of nothing.
    pub(crate) const NONE: Memory<'static> = Memory {
        kept: None,
        tenant: Tenant::EVERYBODY,
    };

    pub(crate) fn new(replay: &'a Replay, replies: &'a Shelf, tenant: Tenant) -> Self {
        Self {
            kept: Some((replay, replies)),
            tenant,
        }
    }

    /// The kept reply of this id.
    pub(crate) fn reply(&self, id: &str) -> Option<Arc<Kept>> {
        self.kept?.1.find(self.tenant, id)
    }

    /// The item of this id in a kept reply.
    pub(crate) fn item(&self, id: &str) -> Option<Value> {
        self.kept?.1.item(self.tenant, id)
    }

    /// The turn that says this, by its calls or its signature.
    pub(crate) fn find(&self, signature: Option<&str>, answer: &Answer) -> Option<Arc<Said>> {
        let turns = self.kept?.0;
        let by_call = answer.calls.first().and_then(|call| call.id.clone());
        let by_call = by_call.map(|id| Key::Call(self.tenant, id));
        let by_name = signature.map(|name| Key::Signature(self.tenant, name.to_owned()));
        let mut keys = by_call.into_iter().chain(by_name);
        let said = keys.find_map(|key| turns.find(&key))?;
        says_the_same(&said, answer).then_some(said)
    }

    fn at(&self, place: Place) -> Option<Arc<Said>> {
        let key = Key::Place(self.tenant, place);
        self.kept?.0.find(&key)
    }

    /// Puts remembered turns into a prompt as they were sampled. `found` are those that are known
    /// already, one for each assistant message.
    pub(crate) fn restore(
        &self,
        tokens: Tokens,
        messages: &[Message],
        found: &[Option<Arc<Said>>],
        tokenizer: &Tokenizer,
    ) -> Tokens {
        let answers = messages.iter().filter_map(|message| match message {
            Message::Assistant(answer) => Some(answer),
            _ => None,
        });
        let mut answers = answers.zip(found);
        let mut out = Tokens::default();
        let mut trail = Trail::default();
        let (mut from, mut user_at) = (0, None);
        for TokenCut { at, kind } in tokens.cuts.iter().copied() {
            let part = &tokens.ids[from..at];
            let opened = user_at.take();
            match (kind, opened) {
                (CutKind::Assistant, Some(before)) => {
                    let Some((answer, found)) = answers.next() else {
                        out.ids.extend_from_slice(part);
                        break;
                    };
                    let said = found.clone().or_else(|| {
                        let said = self.at(before)?;
                        says_the_same(&said, answer).then_some(said)
                    });
                    let is_open = answer.ending == Ending::Open;
                    match said.filter(|said| !is_open && fits(said, part, tokenizer)) {
                        Some(said) => {
                            out.ids.extend_from_slice(&part[..2]);
                            out.ids.extend_from_slice(&said.ids);
                            out.ids.extend(part.last());
                        }
                        None => out.ids.extend_from_slice(part),
                    }
                }
                (CutKind::Assistant, None) => {
                    answers.next();
                    out.ids.extend_from_slice(part);
                }
                _ => out.ids.extend_from_slice(part),
            }
            from = at;
            let at = out.ids.len();
            if kind == CutKind::User {
                user_at = Some(trail.up_to(&out.ids, at));
            }
            out.cuts.push(TokenCut { at, kind });
        }
        out.ids.extend_from_slice(&tokens.ids[from..]);
        out
    }
}

/// Whether a turn's tokens may stand for `part`: the opening, the answer, and EOS.
fn fits(said: &Said, part: &[TokenId], tokenizer: &Tokenizer) -> bool {
    let opening = match said.begin {
        Begin::Reasoning => Special::ThinkBegin,
        Begin::Text => Special::ThinkEnd,
    };
    let is =
        |at: Option<&TokenId>, special| at.is_some() && at == tokenizer.special(special).as_ref();
    part.len() >= 3
        && is(part.first(), Special::Assistant)
        && is(part.get(1), opening)
        && is(part.last(), Special::Eos)
}

/// Whether the client sent back what was said.
fn says_the_same(said: &Said, answer: &Answer) -> bool {
    let same_call = |(own, given): (&ToolCall, &ToolCall)| {
        own.name == given.name && same_arguments(&own.arguments, &given.arguments)
    };
    said.calls.len() == answer.calls.len()
        && said.text.trim_end() == answer.content.joined("").trim_end()
        && said.calls.iter().zip(&answer.calls).all(same_call)
}

fn same_arguments(own: &str, given: &str) -> bool {
    own == given
        || match (parse(own, Grammar::Strict), parse(given, Grammar::Strict)) {
            (Ok(own), Ok(given)) => same(&own, &given),
            _ => false,
        }
}

/// The same value, whatever the order of keys and the spelling of numbers.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let number = |text: &str| text.parse::<f64>().ok();
            a == b || number(a.as_written()) == number(b.as_written())
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(members)) => {
            let found =
                |(key, value): &(String, Value)| b.get(key).is_some_and(|other| same(value, other));
            a.len() == members.len() && a.iter().all(found)
        }
        (a, b) => a == b,
    }
}
