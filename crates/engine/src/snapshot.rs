//! A session as bytes.
//!
//! | offset | bytes | what |
//! |---:|---:|---|
//! | 0 | 8 | `DS4SNAP` and a zero |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | tokens n |
//! | 16 | 32 | identity of model and layout |
//! | 48 | 8 | bytes of a page |
//! | 56 | 8 | bytes of the frontier |
//! | 64 | 4 n | token ids |
//! | | | the pages of n tokens, whole |
//! | | | the frontier at n; nothing if n is 0 |
//! | end - 32 | 32 | BLAKE3 of everything before |
//!
//! Integers are little-endian. The same bytes continue on every backend that loaded the same model
//! with the same row format. Lengths are checked against the bytes at hand before anything is
//! allocated, the checksum before anything is believed.
//!
//! The engine thread copies pages, out and in; whoever calls puts them in order, makes checksums
//! and checks them, on a thread of his own.

use std::ops::Range;

use ds4_model::KvGeometry;
use ds4_model::kv::PAGE_TOKENS;
use ds4_store::Buffer;
use thiserror::Error;

use crate::machine::{Identity, Machine, MachineError};
use crate::timeline::Timeline;

const MAGIC: [u8; 8] = *b"DS4SNAP\0";
const VERSION: u32 = 1;
const HEADER: usize = 64;
const CHECKSUM: usize = 32;

/// Why bytes are not a session of this model.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SnapshotError {
    /// Not a snapshot at all.
    #[error("not a session snapshot: it begins with {found:02x?}, not with \"DS4SNAP\"")]
    Magic {
        /// Its first bytes.
        found: [u8; 8],
    },
    /// Written by another version.
    #[error("a snapshot of version {found}; this program reads version {VERSION}")]
    Version {
        /// Its version.
        found: u32,
    },
    /// Of another model, or with rows in another format.
    #[error(
        "a snapshot of model {found}; the loaded model is {expected}: \
        restore it with the model file it was made with"
    )]
    Foreign {
        /// Whose it is.
        found: Identity,
        /// What is loaded.
        expected: Identity,
    },
    /// Sizes that do not add up to its length: cut off, or not ours.
    #[error("a snapshot of {found} bytes where its header describes {expected}")]
    Length {
        /// Bytes at hand.
        found: u64,
        /// Bytes described.
        expected: u64,
    },
    /// A size that this model does not have.
    #[error("a snapshot with {what} of {found}; this model has {expected}")]
    Size {
        /// What has the size.
        what: &'static str,
        /// In the snapshot.
        found: u64,
        /// Here.
        expected: u64,
    },
    /// Changed since it was written.
    #[error("the snapshot is damaged: its checksum does not match")]
    Damaged,
    /// A token that the vocabulary does not have.
    #[error("the snapshot holds token {token} at {at}; the vocabulary has {vocab}")]
    Token {
        /// The token.
        token: u32,
        /// Its position.
        at: usize,
        /// Size of the vocabulary.
        vocab: usize,
    },
}

/// What an engine thread copies of a session, to be put together elsewhere. A generation under way
/// is captured as far as it has come.
pub(crate) struct Copied {
    /// Header, tokens, and whatever full pages were appended.
    bytes: Vec<u8>,
    /// The page that is not full, if there is one.
    open: Vec<u8>,
    frontier: Buffer,
}

impl Copied {
    /// Copies all that may change; the full pages are left to be appended, in order. The session
    /// has its frontier at hand.
    pub(crate) fn begin(
        timeline: &Timeline,
        machine: &mut dyn Machine,
    ) -> Result<Self, MachineError> {
        let computed = timeline.computed();
        let frontier = timeline.frontiers().at(computed).cloned();
        let frontier = frontier.unwrap_or_else(|| Vec::new().into());
        let full = computed as usize / PAGE_TOKENS;
        let page_bytes = machine.geometry().page_bytes;
        let tokens = &timeline.tokens()[..computed as usize];
        let mut open = Vec::new();
        if let Some(&page) = timeline.table().pages().get(full)
            && tokens.len() > full * PAGE_TOKENS
        {
            open.resize(page_bytes, 0);
            machine.save_page(page, &mut open)?;
        }
        let state = full * page_bytes + open.len() + frontier.len();
        let mut bytes = Vec::with_capacity(HEADER + 4 * tokens.len() + state + CHECKSUM);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(computed.to_le_bytes());
        bytes.extend(machine.identity().0);
        bytes.extend((page_bytes as u64).to_le_bytes());
        bytes.extend((frontier.len() as u64).to_le_bytes());
        bytes.extend(tokens.iter().flat_map(|token| token.to_le_bytes()));
        Ok(Self {
            bytes,
            open,
            frontier,
        })
    }

    /// The next full page.
    pub(crate) fn append(
        &mut self,
        page: u32,
        machine: &mut dyn Machine,
    ) -> Result<(), MachineError> {
        let begin = self.bytes.len();
        self.bytes.resize(begin + machine.geometry().page_bytes, 0);
        machine.save_page(page, &mut self.bytes[begin..])
    }

    /// The snapshot.
    pub(crate) fn seal(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&self.open);
        self.bytes.extend_from_slice(&self.frontier);
        let checksum = blake3::hash(&self.bytes);
        self.bytes.extend(checksum.as_bytes());
        self.bytes
    }
}

/// What a snapshot must be of.
pub(crate) struct Expected<'a> {
    pub(crate) identity: Identity,
    pub(crate) geometry: &'a KvGeometry,
    pub(crate) vocab: usize,
}

/// A snapshot whose every part was checked, still in its bytes.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) tokens: Vec<u32>,
    bytes: Vec<u8>,
    page_bytes: usize,
    pages: Range<usize>,
    frontier: Range<usize>,
}

impl Parts {
    /// Takes a snapshot apart for this model.
    pub(crate) fn read(bytes: Vec<u8>, model: &Expected<'_>) -> Result<Self, SnapshotError> {
        let expected = (HEADER + CHECKSUM) as u64;
        let found = bytes.len() as u64;
        let short = SnapshotError::Length { found, expected };
        let magic = *bytes.first_chunk::<8>().ok_or_else(|| short.clone())?;
        if magic != MAGIC {
            return Err(SnapshotError::Magic { found: magic });
        }
        let header = bytes.first_chunk::<HEADER>().ok_or_else(|| short.clone())?;
        let version = word(header, 8);
        if version != VERSION {
            return Err(SnapshotError::Version { found: version });
        }
        let identity = Identity(*header[16..].first_chunk().expect("32 of 48 bytes"));
        if identity != model.identity {
            return Err(SnapshotError::Foreign {
                found: identity,
                expected: model.identity,
            });
        }
        let geometry = model.geometry;
        let page_bytes = long(header, 48);
        if page_bytes != geometry.page_bytes as u64 {
            return Err(SnapshotError::Size {
                what: "pages",
                found: page_bytes,
                expected: geometry.page_bytes as u64,
            });
        }
        let count = u64::from(word(header, 12));
        let frontier_bytes = match count {
            0 => 0,
            _ => geometry.frontier_bytes(count as usize) as u64,
        };
        if long(header, 56) != frontier_bytes {
            return Err(SnapshotError::Size {
                what: "a frontier",
                found: long(header, 56),
                expected: frontier_bytes,
            });
        }
        let pages = count.div_ceil(PAGE_TOKENS as u64);
        // The count fits 32 bits, and both sizes are those of allocations of ours: nothing
        // overflows.
        let expected = (HEADER + CHECKSUM) as u64 + 4 * count + pages * page_bytes + frontier_bytes;
        if found != expected {
            return Err(SnapshotError::Length { found, expected });
        }
        let (body, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
        if blake3::hash(body).as_bytes() != checksum {
            return Err(SnapshotError::Damaged);
        }
        let begin = HEADER + 4 * count as usize;
        let end = begin + (pages * page_bytes) as usize;
        let tokens = body[HEADER..begin].as_chunks::<4>().0.iter();
        let tokens: Vec<u32> = tokens.map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let vocab = model.vocab;
        if let Some(at) = tokens.iter().position(|&token| token as usize >= vocab) {
            let token = tokens[at];
            return Err(SnapshotError::Token { token, at, vocab });
        }
        let frontier = end..body.len();
        Ok(Self {
            tokens,
            bytes,
            page_bytes: geometry.page_bytes,
            pages: begin..end,
            frontier,
        })
    }

    /// The bytes of page `at`.
    pub(crate) fn page(&self, at: usize) -> &[u8] {
        &self.bytes[self.pages.clone()][at * self.page_bytes..][..self.page_bytes]
    }

    /// Its frontier.
    pub(crate) fn frontier(&self) -> &[u8] {
        &self.bytes[self.frontier.clone()]
    }
}

fn word(header: &[u8; HEADER], at: usize) -> u32 {
    u32::from_le_bytes(*header[at..].first_chunk().expect("inside the header"))
}

fn long(header: &[u8; HEADER], at: usize) -> u64 {
    u64::from_le_bytes(*header[at..].first_chunk().expect("inside the header"))
}
