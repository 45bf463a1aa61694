//! One thing that is kept over a restart, and its bytes.

use std::sync::Arc;

use ds4_prompt::dsml::Begin;
use ds4_prompt::json::Value;

use crate::replay::Said;
use crate::tenant::Tenant;

/// What is kept.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A finished turn.
    Turn(Arc<Said>),
    /// A reply that may be gone on from.
    Reply(Reply),
}

/// A reply without the ones before it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) id: String,
    /// The id of the one before.
    pub(crate) before: Option<String>,
    pub(crate) input: Vec<Value>,
    pub(crate) output: Vec<Value>,
    pub(crate) reply: serde_json::Value,
}

/// An entry with whose it is, and when it was written: microseconds since 1970.
#[derive(Debug)]
pub(crate) struct Dated {
    pub(crate) at: u64,
    pub(crate) tenant: Tenant,
    pub(crate) entry: Entry,
}

pub(super) const TURN: u32 = 1;
pub(super) const REPLY: u32 = 2;

impl Dated {
    /// Adds its bytes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        let kind = match &self.entry {
            Entry::Turn(said) => {
                write_turn(said, &mut body);
                TURN
            }
            Entry::Reply(reply) => {
                put(reply.id.as_bytes(), &mut body);
                put_some(reply.before.as_deref(), &mut body);
                for items in [&reply.input, &reply.output] {
                    put_number(items.len(), &mut body);
                    for item in items {
                        put(item.to_compact().as_bytes(), &mut body);
                    }
                }
                put(reply.reply.to_string().as_bytes(), &mut body);
                REPLY
            }
        };
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&self.at.to_le_bytes());
        out.extend_from_slice(&self.tenant.bytes());
        put(&body, out);
    }
}

fn write_turn(said: &Said, out: &mut Vec<u8>) {
    let Said {
        begin,
        ids,
        thought,
        text,
        calls,
        signature,
        before,
    } = said;
    out.extend_from_slice(&before.bytes());
    put_number(usize::from(*begin == Begin::Reasoning), out);
    put_number(ids.len(), out);
    out.extend(ids.iter().flat_map(|id| id.0.to_le_bytes()));
    put(thought.as_bytes(), out);
    put(text.as_bytes(), out);
    put_some(signature.as_deref(), out);
    put_number(calls.len(), out);
    for call in calls {
        put_some(call.id.as_deref(), out);
        put(call.name.as_bytes(), out);
        put(call.arguments.as_bytes(), out);
    }
}

/// Nothing here is as large as four gigabytes: bodies and answers are bounded far below.
fn put_number(number: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(number as u32).to_le_bytes());
}

fn put(bytes: &[u8], out: &mut Vec<u8>) {
    put_number(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn put_some(text: Option<&str>, out: &mut Vec<u8>) {
    put_number(usize::from(text.is_some()), out);
    if let Some(text) = text {
        put(text.as_bytes(), out);
    }
}

#[cfg(test)]
mod tests {
    use ds4_prompt::TokenId;
    use ds4_prompt::chat::ToolCall;
    use ds4_prompt::json::{Grammar, parse};

    use super::super::read::entries as walk;
    use super::*;
    use crate::replay::Place;

    /// All of them, read, with their bytes.
    fn read_all(bytes: &[u8]) -> Option<Vec<(Dated, &[u8])>> {
        let all = walk(bytes)?.into_iter();
        all.map(|entry| Some((entry.read()?, entry.own))).collect()
    }

    fn entries() -> Vec<Dated> {
        let tenant = crate::tenant::Keys::new(&["a".to_owned()]);
        let tenant = tenant.tenant(Some("a")).unwrap();
        let call = |id: Option<&str>| ToolCall {
            id: id.map(str::to_owned),
            name: "run".to_owned(),
            arguments: "{\"a\":1.50}".to_owned(),
        };
        let said = Said {
            begin: Begin::Reasoning,
            ids: vec![TokenId(1), TokenId(129_000)],
            thought: "Hm — ".to_owned(),
            text: String::new(),
            calls: vec![call(Some("call_1")), call(None)],
            signature: Some("sig".to_owned()),
            before: Place::after(&[TokenId(7)]),
        };
        let item = parse("{\"b\":[1e3,\"\\u00e9\"]}", Grammar::Strict).unwrap();
        let reply = Reply {
            id: "resp_2".to_owned(),
            before: Some("resp_1".to_owned()),
            input: vec![item.clone(), item],
            output: Vec::new(),
            reply: serde_json::json!({"id": "resp_2"}),
        };
        let all = [Entry::Turn(Arc::new(said)), Entry::Reply(reply)];
        let all = all.into_iter().enumerate();
        all.map(|(at, entry)| Dated {
            at: at as u64,
            tenant,
            entry,
        })
        .collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let (entries, mut bytes) = (entries(), Vec::new());
        for entry in &entries {
            entry.write(&mut bytes);
        }
        let read = read_all(&bytes).unwrap();
        for ((found, own), entry) in read.iter().zip(&entries) {
            assert_eq!(format!("{found:?}"), format!("{entry:?}"));
            let mut again = Vec::new();
            found.write(&mut again);
            assert_eq!(again, *own);
        }
        assert_eq!(read.len(), 2);
    }

    #[test]
    fn a_reply_is_known_unread() {
        let (entries, mut bytes) = (entries(), Vec::new());
        entries.iter().for_each(|entry| entry.write(&mut bytes));
        let tenant = entries[1].tenant;
        let is_it = |tenant, id| {
            let all = walk(&bytes).unwrap().into_iter();
            all.map(|entry| entry.is_reply(tenant, id))
                .collect::<Vec<_>>()
        };
        assert_eq!(is_it(tenant, "resp_2"), [false, true]);
        assert_eq!(is_it(tenant, "resp_1"), [false, false]);
        assert_eq!(is_it(Tenant::EVERYBODY, "resp_2"), [false, false]);
    }

    /// Checksums keep accidents out; whoever writes a checksum of his own gets no further than a
    /// refusal.
    #[test]
    fn no_bytes_do_harm() {
        let mut bytes = Vec::new();
        entries().iter().for_each(|entry| entry.write(&mut bytes));
        for end in 0..bytes.len() {
            let whole = read_all(&bytes[..end]).map_or(0, |read| read.len());
            assert!(whole < 2, "{end} of {}", bytes.len());
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let _ = read_all(&changed);
            }
        }
    }
}
