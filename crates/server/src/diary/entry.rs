//! One thing that is kept over a restart, and its bytes.

use std::sync::Arc;

use ds4_prompt::TokenId;
use ds4_prompt::chat::ToolCall;
use ds4_prompt::dsml::Begin;
use ds4_prompt::json::{Grammar, Value, parse};

use crate::replay::{Place, Said};
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

/// Bytes before an entry's own: kind, moment, tenant, length.
const HEAD: usize = 4 + 8 + 32 + 4;

const TURN: u32 = 1;
const REPLY: u32 = 2;

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

/// The entries that follow each other in `bytes`, and the bytes of each; none if they are not whole.
pub(crate) fn read_all(bytes: &[u8]) -> Option<Vec<(Dated, &[u8])>> {
    let mut rest = Bytes(bytes);
    let mut entries = Vec::new();
    while !rest.0.is_empty() {
        let from = rest.0;
        let kind = rest.number()?;
        let at = u64::from_le_bytes(rest.fixed()?);
        let tenant = Tenant::of_bytes(rest.fixed()?);
        let body = rest.slice()?;
        let entry = read(kind, body)?;
        let own = from.get(..HEAD + body.len())?;
        entries.push((Dated { at, tenant, entry }, own));
    }
    Some(entries)
}

fn read(kind: u32, body: &[u8]) -> Option<Entry> {
    let mut body = Bytes(body);
    let entry = match kind {
        TURN => Entry::Turn(Arc::new(body.turn()?)),
        REPLY => Entry::Reply(Reply {
            id: body.text()?,
            before: body.some()?,
            input: body.items()?,
            output: body.items()?,
            reply: serde_json::from_slice(body.slice()?).ok()?,
        }),
        _ => return None,
    };
    body.0.is_empty().then_some(entry)
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

/// Bytes that are being read. Lengths are looked at before anything is taken.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u32> {
        self.fixed().map(u32::from_le_bytes)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.number()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn slice(&mut self) -> Option<&'a [u8]> {
        let count = self.number()?;
        self.take(count as usize)
    }

    fn text(&mut self) -> Option<String> {
        let bytes = self.slice()?;
        std::str::from_utf8(bytes).ok().map(str::to_owned)
    }

    /// A text that may be missing: none in the inside, not outside.
    fn some(&mut self) -> Option<Option<String>> {
        match self.flag()? {
            false => Some(None),
            true => self.text().map(Some),
        }
    }

    fn items(&mut self) -> Option<Vec<Value>> {
        let count = self.number()?;
        let item = |_| {
            let text = std::str::from_utf8(self.slice()?).ok()?;
            parse(text, Grammar::Strict).ok()
        };
        (0..count).map(item).collect()
    }

    fn turn(&mut self) -> Option<Said> {
        let before = Place::of_bytes(self.fixed()?);
        let begin = match self.flag()? {
            true => Begin::Reasoning,
            false => Begin::Text,
        };
        let count = self.number()? as usize;
        let ids = self.take(count.checked_mul(4)?)?.chunks_exact(4);
        let id = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_le_bytes).map(TokenId);
        let ids: Option<Vec<TokenId>> = ids.map(id).collect();
        let (thought, text, signature) = (self.text()?, self.text()?, self.some()?);
        let count = self.number()?;
        let call = |_| {
            Some(ToolCall {
                id: self.some()?,
                name: self.text()?,
                arguments: self.text()?,
            })
        };
        Some(Said {
            begin,
            ids: ids?,
            thought,
            text,
            calls: (0..count).map(call).collect::<Option<_>>()?,
            signature,
            before,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
