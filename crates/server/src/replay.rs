//! What the model said, exactly: so that the next request continues it instead of reading it again.
//!
//! A session's memory holds the tokens that were sampled. Clients send back a description of them,
//! in which three things may differ: the reasoning (missing, summarised, cut), the calls (JSON with
//! other spacing or order), and the token boundaries (a text may be split in other ways than the
//! tokenizer splits it). So every finished turn is remembered; when a message says the same, its
//! own tokens stand in the prompt. A turn is found by the ids of its calls, by the signature of its
//! reasoning, or by all that stood before it; it counts only if text, names and arguments are what
//! the client sent. If the client changed something, what it sent is rendered.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ds4_prompt::chat::{Answer, Ending, Message, ToolCall};
use ds4_prompt::dsml::Begin;
use ds4_prompt::json::{Grammar, Value, parse};
use ds4_prompt::{CutKind, Special, TokenCut, TokenId, Tokenizer, Tokens};

use crate::dialect::responses::{Kept, Shelf};
use crate::tenant::Tenant;

/// Turns kept.
const MOST_TURNS: usize = 50_000;

/// A finished turn.
#[derive(Debug)]
pub(crate) struct Said {
    /// How it began.
    pub(crate) begin: Begin,
    /// Its tokens, without the one that ended it.
    pub(crate) ids: Vec<TokenId>,
    pub(crate) thought: String,
    pub(crate) text: String,
    /// Names and arguments, in order.
    pub(crate) calls: Vec<ToolCall>,
    /// What its reasoning was signed with.
    pub(crate) signature: Option<String>,
    /// What stood before it.
    pub(crate) before: Place,
}

/// All that stands before a turn, its opening excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place([u8; 32]);

impl Place {
    /// The place after these tokens.
    pub(crate) fn after(ids: &[TokenId]) -> Self {
        Trail::default().up_to(ids, ids.len())
    }

    /// The place of this name.
    pub(crate) fn of_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its name.
    pub(crate) fn bytes(self) -> [u8; 32] {
        self.0
    }
}

/// Places along one prompt, each hashed from where the last one was.
#[derive(Default)]
struct Trail {
    hash: blake3::Hasher,
    at: usize,
}

impl Trail {
    fn up_to(&mut self, ids: &[TokenId], at: usize) -> Place {
        for id in &ids[self.at..at] {
            self.hash.update(&id.0.to_le_bytes());
        }
        self.at = at;
        Place(*self.hash.finalize().as_bytes())
    }
}

/// A name a turn is found by. Tenants never share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Call(Tenant, String),
    Signature(Tenant, String),
    Place(Tenant, Place),
}

/// The turns of all tenants, the oldest forgotten first.
#[derive(Debug)]
pub(crate) struct Replay {
    turns: Mutex<Turns>,
    /// Most bytes of all turns.
    most: usize,
}

#[derive(Debug, Default)]
struct Turns {
    by_key: HashMap<Key, Arc<Said>>,
    order: VecDeque<(Tenant, Arc<Said>)>,
    bytes: usize,
}

impl Replay {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            turns: Mutex::default(),
            most,
        }
    }

    /// Remembers a turn.
    pub(crate) fn keep(&self, tenant: Tenant, said: Arc<Said>) {
        let mut turns = self.turns();
        for key in keys(tenant, &said) {
            turns.by_key.insert(key, Arc::clone(&said));
        }
        turns.bytes += size(&said);
        turns.order.push_back((tenant, said));
        while turns.order.len() > MOST_TURNS || turns.bytes > self.most {
            let Some((tenant, oldest)) = turns.order.pop_front() else {
                break;
            };
            turns.bytes -= size(&oldest);
            for key in keys(tenant, &oldest) {
                // Somebody else may have come to the same place since.
                if turns
                    .by_key
                    .get(&key)
                    .is_some_and(|said| Arc::ptr_eq(said, &oldest))
                {
                    turns.by_key.remove(&key);
                }
            }
        }
    }

    /// Turns remembered, and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let turns = self.turns();
        (turns.order.len(), turns.bytes)
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keys(tenant: Tenant, said: &Said) -> Vec<Key> {
    let calls = said.calls.iter().filter_map(|call| call.id.clone());
    let mut keys: Vec<Key> = calls.map(|id| Key::Call(tenant, id)).collect();
    if let Some(signature) = &said.signature {
        keys.push(Key::Signature(tenant, signature.clone()));
    }
    keys.push(Key::Place(tenant, said.before));
    keys
}

fn size(said: &Said) -> usize {
    let calls = said.calls.iter();
    let calls: usize = calls
        .map(|call| call.name.len() + call.arguments.len() + 96)
        .sum();
    // Keys and their tables besides.
    said.ids.len() * 4 + said.thought.len() + said.text.len() + calls + 512
}

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
        let turns = self.kept?.0.turns();
        let by_call = answer.calls.first().and_then(|call| call.id.clone());
        let by_call = by_call.map(|id| Key::Call(self.tenant, id));
        let by_name = signature.map(|name| Key::Signature(self.tenant, name.to_owned()));
        let mut keys = by_call.into_iter().chain(by_name);
        let said = keys.find_map(|key| turns.by_key.get(&key)).cloned()?;
        drop(turns);
        says_the_same(&said, answer).then_some(said)
    }

    fn at(&self, place: Place) -> Option<Arc<Said>> {
        let key = Key::Place(self.tenant, place);
        self.kept?.0.turns().by_key.get(&key).cloned()
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
