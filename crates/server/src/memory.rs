//! [`Memory`]: what one tenant may find of what was said.

use std::sync::Arc;

use ds4_prompt::chat::{Answer, ToolCall};
use ds4_prompt::json::{Grammar, Value, parse};

use crate::dialect::responses::{Kept, Shelf};
use crate::replay::{Key, Place, Replay, Said};
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

    /// The turn that was said here.
    pub(crate) fn at(&self, place: Place) -> Option<Arc<Said>> {
        let key = Key::Place(self.tenant, place);
        self.kept?.0.find(&key)
    }
}

/// Whether the client sent back what was said.
pub(crate) fn says_the_same(said: &Said, answer: &Answer) -> bool {
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
