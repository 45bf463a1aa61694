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

use ds4_prompt::TokenId;
use ds4_prompt::chat::ToolCall;
use ds4_prompt::dsml::Begin;

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

impl Said {
    /// How much memory it takes, about: its keys and their tables besides.
    pub(crate) fn bytes(&self) -> usize {
        let calls = self.calls.iter();
        let calls: usize = calls
            .map(|call| call.name.len() + call.arguments.len() + 96)
            .sum();
        self.ids.len() * 4 + self.thought.len() + self.text.len() + calls + 512
    }
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
pub(crate) struct Trail {
    hash: blake3::Hasher,
    at: usize,
}

impl Trail {
    /// The place after so many of these tokens.
    pub(crate) fn up_to(&mut self, ids: &[TokenId], at: usize) -> Place {
        for id in &ids[self.at..at] {
            self.hash.update(&id.0.to_le_bytes());
        }
        self.at = at;
        Place(*self.hash.finalize().as_bytes())
    }
}

/// A name a turn is found by. Tenants never share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
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
        turns.bytes += said.bytes();
        turns.order.push_back((tenant, said));
        while turns.order.len() > MOST_TURNS || turns.bytes > self.most {
            let Some((tenant, oldest)) = turns.order.pop_front() else {
                break;
            };
            turns.bytes -= oldest.bytes();
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

    /// The turn of this name.
    pub(crate) fn find(&self, key: &Key) -> Option<Arc<Said>> {
        self.turns().by_key.get(key).cloned()
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
