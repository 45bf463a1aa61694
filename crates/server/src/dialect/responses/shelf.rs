//! Replies that a later request may go on from, by their ids.
//!
//! A reply keeps its own input and output and points to the one before it, so a long conversation
//! is kept once, not once per turn. Bounded in number and bytes; the oldest go first. One that
//! others go on from takes its room until they are gone too, whether it can be found or not.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
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
    /// The same with all before it.
    whole: usize,
    /// Where its bytes are counted.
    scale: Option<Arc<AtomicUsize>>,
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
        let whole = bytes + before.as_ref().map_or(0, |before| before.whole);
        Self {
            before,
            input,
            output,
            reply,
            bytes,
            whole,
            scale: None,
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
        if let Some(scale) = &self.scale {
            scale.fetch_sub(self.bytes, Relaxed);
        }
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
    /// Bytes of all replies that somebody holds.
    bytes: Arc<AtomicUsize>,
}

impl Shelf {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            replies: Mutex::default(),
            most,
        }
    }

    /// Keeps a reply, unless its conversation would take half of the shelf.
    pub(crate) fn keep(&self, tenant: Tenant, id: &str, mut kept: Kept) {
        if kept.whole > self.most / 2 {
            return;
        }
        let mut replies = self.replies();
        replies.bytes.fetch_add(kept.bytes, Relaxed);
        kept.scale = Some(Arc::clone(&replies.bytes));
        let key = (tenant, id.to_owned());
        replies.by_id.insert(key.clone(), Arc::new(kept));
        replies.order.push_back(key);
        while replies.order.len() > MOST_REPLIES || replies.bytes.load(Relaxed) > self.most {
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
        self.by_id.remove(key).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, Kept, Relaxed, Shelf};
    use crate::tenant::Tenant;

    fn kept(before: Option<Arc<Kept>>) -> Kept {
        Kept::new(before, Vec::new(), Vec::new(), serde_json::Value::Null)
    }

    #[test]
    fn what_others_go_on_from_takes_its_room() {
        let (tenant, each) = (Tenant::EVERYBODY, 1024);
        let shelf = Shelf::new(10 * each);
        let count = || shelf.replies().bytes.load(Relaxed) / each;
        for at in 0..9 {
            shelf.keep(tenant, &format!("other {at}"), kept(None));
        }
        let mut last = None;
        for at in 0..5 {
            shelf.keep(tenant, &format!("turn {at}"), kept(last.take()));
            last = shelf.find(tenant, &format!("turn {at}"));
            assert!(count() <= 10, "{} after {at}", count());
        }
        assert!(shelf.find(tenant, "other 3").is_none());
        assert!(shelf.find(tenant, "other 4").is_some());
        // Found or not, the beginning is there as long as somebody goes on from it.
        shelf.forget(tenant, "turn 0");
        assert_eq!(last.as_ref().unwrap().items().len(), 0);
        assert_eq!(count(), 10);
        // A sixth would be more than half of the shelf.
        shelf.keep(tenant, "turn 5", kept(last.take()));
        assert!(shelf.find(tenant, "turn 5").is_none());
        for at in 1..5 {
            shelf.forget(tenant, &format!("turn {at}"));
        }
        assert_eq!(count(), 5);
    }
}
