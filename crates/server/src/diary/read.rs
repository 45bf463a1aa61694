//! Entries as they lie in a file: told apart without being read, or read whole.
//!
//! What is only moved from one file to another is never taken apart: as values it would be several
//! times as large.

use std::sync::Arc;

use ds4_prompt::TokenId;
use ds4_prompt::chat::ToolCall;
use ds4_prompt::dsml::Begin;
use ds4_prompt::json::{Grammar, Value, parse};

use super::entry::{Dated, Entry, REPLY, Reply, TURN};
use crate::replay::{Place, Said};
use crate::tenant::Tenant;

/// Bytes before an entry's own: kind, moment, tenant, length.
const HEAD: usize = 4 + 8 + 32 + 4;

/// An entry that was not read.
pub(crate) struct Raw<'a> {
    pub(crate) at: u64,
    kind: u32,
    tenant: Tenant,
    body: &'a [u8],
    /// All its bytes.
    pub(crate) own: &'a [u8],
}

/// The entries that follow each other in `bytes`; none if they are not whole.
pub(crate) fn entries(bytes: &[u8]) -> Option<Vec<Raw<'_>>> {
    let mut rest = Bytes(bytes);
    let mut entries = Vec::new();
    while !rest.0.is_empty() {
        let from = rest.0;
        let kind = rest.number()?;
        let at = u64::from_le_bytes(rest.fixed()?);
        let tenant = Tenant::of_bytes(rest.fixed()?);
        let body = rest.slice()?;
        entries.push(Raw {
            at,
            kind,
            tenant,
            body,
            own: from.get(..HEAD + body.len())?,
        });
    }
    Some(entries)
}

impl Raw<'_> {
    /// Reads it; none if it is not whole.
    pub(crate) fn read(&self) -> Option<Dated> {
        let mut body = Bytes(self.body);
        let entry = match self.kind {
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
        let (at, tenant) = (self.at, self.tenant);
        let dated = Dated { at, tenant, entry };
        body.0.is_empty().then_some(dated)
    }

    /// Whether it is the reply of this id.
    pub(crate) fn is_reply(&self, tenant: Tenant, id: &str) -> bool {
        let is_it = || Bytes(self.body).slice() == Some(id.as_bytes());
        self.kind == REPLY && self.tenant == tenant && is_it()
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
