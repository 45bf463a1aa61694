//! Replies that a later request may go on from, by their ids.
//!
//! A reply keeps its own input and output and points to the one before it, so a long conversation
//! is kept once, not once per turn. Bounded in number and bytes; the oldest go first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ds4_prompt::json::Value;

use crate::tenant::Tenant;

const MOST_REPLIES: usize = 10_000;

/// A kept reply.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) before: Option<Arc<Kept>>,
    pub(crate) input: Vec<Value>,
    pub(crate) output: Vec<Value>,
    /// The reply as it was given.
    pub(crate) reply: serde_json::Value,
    /// How much of the shelf it takes, about.
    pub(crate) bytes: usize,
}

impl Kept {
    pub(crate) fn new(
        before: Option<Arc<Self>>,
        input: Vec<Value>,
        output: Vec<Value>,
        reply: serde_json::Value,
    ) -> Self {
        let size = |items: &[Value]| -> usize {
            items.iter().map(|item| item.to_compact().len() + 64).sum()
        };
        // The reply says the output once more.
        let bytes = size(&input) + 2 * size(&output) + 1024;
        Self {
            before,
            input,
            output,
            reply,
            bytes,
        }
    }

    /// The id of the reply before it.
    pub(crate) fn before_id(&self) -> Option<String> {
        let before = self.before.as_ref()?.reply.get("id")?;
        before.as_str().map(str::to_owned)
    }

    /// Everything said so far, in order.
    pub(crate) fn items(self: &Arc<Self>) -> Vec<Value> {
        let mut chain = vec![Arc::clone(self)];
        while let Some(before) = chain.last().and_then(|kept| kept.before.clone()) {
            chain.push(before);
        }
        let parts = chain.iter().rev();
        parts
            .flat_map(|kept| kept.input.iter().chain(&kept.output))
            .cloned()
            .collect()
    }
}

impl Drop for Kept {
    /// A conversation of ten thousand turns must not unwind as deep a stack.
    fn drop(&mut self) {
        let mut before = self.before.take();
        while let Some(kept) = before {
            match Arc::try_unwrap(kept) {
                Ok(mut kept) => before = kept.before.take(),
                Err(_) => break,
            }
        }
    }
}

/// The replies of all tenants.
#[derive(Debug)]
pub(crate) struct Shelf {
    replies: Mutex<Replies>,
    /// Most bytes of all replies.
    most: usize,
}

#[derive(Debug, Default)]
struct Replies {
    by_id: HashMap<(Tenant, String), Arc<Kept>>,
    order: VecDeque<(Tenant, String)>,
    bytes: usize,
}

impl Shelf {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            replies: Mutex::default(),
            most,
        }
    }

    pub(crate) fn keep(&self, tenant: Tenant, id: &str, kept: Kept) {
        let mut replies = self.replies();
        replies.bytes += kept.bytes;
        let key = (tenant, id.to_owned());
        replies.by_id.insert(key.clone(), Arc::new(kept));
        replies.order.push_back(key);
        while replies.order.len() > MOST_REPLIES || replies.bytes > self.most {
            let Some(oldest) = replies.order.pop_front() else {
                break;
            };
            replies.forget(&oldest);
        }
    }

    pub(crate) fn find(&self, tenant: Tenant, id: &str) -> Option<Arc<Kept>> {
        self.replies().by_id.get(&(tenant, id.to_owned())).cloned()
    }

    /// The item of this id in any reply of the tenant.
    pub(crate) fn item(&self, tenant: Tenant, id: &str) -> Option<Value> {
        let replies = self.replies();
        let own = replies
            .by_id
            .iter()
            .filter(|((owner, _), _)| *owner == tenant);
        let mut items = own.flat_map(|(_, kept)| kept.input.iter().chain(&kept.output));
        let is_it = |item: &&Value| item.get("id").and_then(Value::as_str) == Some(id);
        items.find(is_it).cloned()
    }

    /// Whether there was such a reply.
    pub(crate) fn forget(&self, tenant: Tenant, id: &str) -> bool {
        let key = (tenant, id.to_owned());
        let mut replies = self.replies();
        replies.order.retain(|other| *other != key);
        replies.forget(&key)
    }

    fn replies(&self) -> MutexGuard<'_, Replies> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replies {
    fn forget(&mut self, key: &(Tenant, String)) -> bool {
        match self.by_id.remove(key) {
            Some(kept) => {
                self.bytes -= kept.bytes;
                true
            }
            None => false,
        }
    }
}
