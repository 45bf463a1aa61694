//! A page or a frontier as bytes; `docs/formats/kv-store.md` has the table.
//!
//! A record is a head, which says what it is and is checked by itself, and a body. The head is all
//! that an index needs, so a directory is read without its payloads. Lengths are compared with
//! those of the file before anything is allocated, checksums before anything is believed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use thiserror::Error;

use crate::buffer::{Buffer, Pool};
use crate::name::{LAYOUT, Name, Scope};
use crate::tree::Kind;

const MAGIC: [u8; 8] = *b"DS4KV\0\0\0";
const VERSION: u32 = 1;
/// Bytes of a head before its tokens.
const FIXED: usize = 176;
const CHECKSUM: usize = 32;

/// What is in a record besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// A page, or a frontier and why it was kept.
    pub kind: Option<Kind>,
    /// Model and layout of its rows.
    pub identity: [u8; 32],
    /// The name of no tokens: whose it is.
    pub root: Name,
    /// The page before it, or the root.
    pub before: Name,
    /// What it is called.
    pub name: Name,
    /// Tokens up to its end.
    pub at: u32,
    /// Its tokens: those of a page, or those since the last full page.
    pub tokens: Box<[u32]>,
    /// Bytes of the page, or of the frontier.
    pub state: u64,
    /// Bytes of the rows of the page that is not full.
    pub open: u64,
}

/// Why bytes are not the record that was wanted. It costs a prefill, nothing more.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refused {
    /// Not a record at all.
    #[error("not a KV record: it begins with {found:02x?}, not with \"DS4KV\"")]
    Magic {
        /// Its first bytes.
        found: [u8; 8],
    },
    /// Written by another version of the program.
    #[error("{what} is version {found}; this program reads version {expected}")]
    Version {
        /// The record, or the layout of what is in it.
        what: &'static str,
        /// Its version.
        found: u32,
        /// The version read here.
        expected: u32,
    },
    /// A field that no record has.
    #[error("{field} is {found}, which no record has")]
    Field {
        /// The field.
        field: &'static str,
        /// Its value.
        found: u64,
    },
    /// Cut off, or with something behind it.
    #[error("{found} bytes where its head describes {expected}")]
    Length {
        /// Bytes there.
        found: u64,
        /// Bytes described.
        expected: u64,
    },
    /// Changed since it was written.
    #[error("the {part} is damaged: its checksum does not match")]
    Damaged {
        /// Head or body.
        part: &'static str,
    },
    /// Of another model, or with rows in another format.
    #[error("of another model, quantisation or row format than the one loaded")]
    Foreign,
    /// Of another tenant.
    #[error("of another tenant")]
    Tenant,
    /// Not what it is called.
    #[error("its name is not that of its tokens, or not the one it was found under")]
    Name,
}

/// Why a file did not give a record.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file system.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The contents.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Head {
    /// Bytes of the head.
    fn bytes(&self) -> u64 {
        (FIXED + 4 * self.tokens.len() + CHECKSUM) as u64
    }

    /// Bytes of the whole record.
    pub fn record_bytes(&self) -> u64 {
        self.bytes() + self.state + self.open + CHECKSUM as u64
    }

    /// The head, checksum and all.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes() as usize);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(LAYOUT.to_le_bytes());
        let kind: u32 = match self.kind {
            None => 0,
            Some(Kind::Distance) => 1,
            Some(Kind::Turn) => 2,
            Some(Kind::Cut) => 3,
        };
        for word in [kind, self.at, self.tokens.len() as u32, 0] {
            out.extend(word.to_le_bytes());
        }
        out.extend(self.identity);
        for name in [self.root, self.before, self.name] {
            out.extend(name.0);
        }
        out.extend(self.state.to_le_bytes());
        out.extend(self.open.to_le_bytes());
        out.extend(self.tokens.iter().flat_map(|token| token.to_le_bytes()));
        let checksum = blake3::hash(&out);
        out.extend(checksum.as_bytes());
        out
    }

    /// Reads the head at the beginning of `bytes`, of a record in pages of `page_tokens` tokens.
    /// `length` is that of the whole record.
    ///
    /// # Errors
    /// If it is none, or not one of such a length.
    pub fn read(bytes: &[u8], length: u64, page_tokens: usize) -> Result<Self, Refused> {
        let short = Refused::Length {
            found: length,
            expected: (FIXED + CHECKSUM) as u64,
        };
        let magic = *bytes.first_chunk().ok_or_else(|| short.clone())?;
        if magic != MAGIC {
            return Err(Refused::Magic { found: magic });
        }
        let fixed: &[u8; FIXED] = bytes.first_chunk().ok_or_else(|| short.clone())?;
        let versions = [("the record", VERSION), ("its layout", LAYOUT)];
        for (at, (what, expected)) in [8, 12].into_iter().zip(versions) {
            let found = word(fixed, at);
            if found != expected {
                return Err(Refused::Version {
                    what,
                    found,
                    expected,
                });
            }
        }
        if word(fixed, 28) != 0 {
            return Err(field("the word at 28", word(fixed, 28)));
        }
        let (at, count) = (word(fixed, 20), word(fixed, 24) as usize);
        let kind = match word(fixed, 16) {
            0 => None,
            1 => Some(Kind::Distance),
            2 => Some(Kind::Turn),
            3 => Some(Kind::Cut),
            found => return Err(field("its kind", found)),
        };
        // A page is full, a frontier's rest is not; both end where `at` says.
        let fits = match kind {
            None => count == page_tokens && at > 0 && (at as usize).is_multiple_of(page_tokens),
            Some(_) => count < page_tokens && at as usize % page_tokens == count,
        };
        if !fits {
            return Err(field("its number of tokens", count as u32));
        }
        let (state, open) = (long(fixed, 160), long(fixed, 168));
        let sizes = state.checked_add(open);
        let expected =
            sizes.and_then(|sizes| sizes.checked_add((FIXED + 4 * count + 2 * CHECKSUM) as u64));
        let expected = expected.ok_or(Refused::Field {
            field: "its size",
            found: state,
        })?;
        if length != expected {
            let found = length;
            return Err(Refused::Length { found, expected });
        }
        let end = FIXED + 4 * count;
        let head = bytes.get(..end + CHECKSUM).ok_or(short)?;
        if blake3::hash(&head[..end]).as_bytes() != &head[end..] {
            return Err(Refused::Damaged { part: "head" });
        }
        let name = |at: usize| Name(*fixed[at..].first_chunk().expect("inside of the head"));
        let tokens = head[FIXED..end].as_chunks::<4>().0.iter();
        Ok(Self {
            kind,
            identity: name(32).0,
            root: name(64),
            before: name(96),
            name: name(128),
            at,
            tokens: tokens.map(|bytes| u32::from_le_bytes(*bytes)).collect(),
            state,
            open,
        })
    }

    /// Is this the record called `name` of this model and tenant?
    ///
    /// # Errors
    /// If not, with what differs.
    pub fn check(&self, identity: &[u8; 32], scope: &Scope, name: Name) -> Result<(), Refused> {
        if self.identity != *identity {
            return Err(Refused::Foreign);
        }
        if self.root != scope.root() {
            return Err(Refused::Tenant);
        }
        if self.name != name || scope.next(self.before, &self.tokens) != name {
            return Err(Refused::Name);
        }
        Ok(())
    }

    /// Most bytes a head can have.
    pub fn most_bytes(page_tokens: usize) -> usize {
        FIXED + 4 * page_tokens + CHECKSUM
    }
}

/// The checksum behind a body.
pub fn checksum(state: &[u8], open: &[u8]) -> [u8; CHECKSUM] {
    let mut hash = blake3::Hasher::new();
    hash.update(state);
    hash.update(open);
    *hash.finalize().as_bytes()
}

/// Reads the head of a record's file.
///
/// # Errors
/// If it cannot be read, or is none.
pub fn read_head(file: &mut File, page_tokens: usize) -> Result<Head, ReadError> {
    let length = file.metadata()?.len();
    let mut bytes = Vec::with_capacity(Head::most_bytes(page_tokens));
    let most = Head::most_bytes(page_tokens) as u64;
    file.by_ref().take(most).read_to_end(&mut bytes)?;
    Ok(Head::read(&bytes, length, page_tokens)?)
}

/// The state and the open rows of a record whose body was read, and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The page, or the frontier.
    pub state: Buffer,
    /// The rows of the page that is not full.
    pub open: Buffer,
}

/// Bytes read at a time, and hashed while a core still has them at hand.
const PIECE: usize = 1 << 18;

impl Body {
    /// Reads the body that `head` describes into memory of `pool`.
    ///
    /// # Errors
    /// If it is not there, or not what was written.
    pub fn read(file: &mut File, head: &Head, pool: &Pool) -> Result<Self, ReadError> {
        file.seek(SeekFrom::Start(head.bytes()))?;
        // The head was compared with the length of the file.
        let mut bytes = pool.take((head.state + head.open) as usize);
        let mut hash = blake3::Hasher::new();
        for piece in bytes.chunks_mut(PIECE) {
            file.read_exact(piece)?;
            hash.update(piece);
        }
        let mut sum = [0; CHECKSUM];
        file.read_exact(&mut sum)?;
        match *hash.finalize().as_bytes() == sum {
            true => Ok(Self::split(bytes.share(), head)),
            false => Err(Refused::Damaged { part: "body" }.into()),
        }
    }

    /// Takes the bytes behind a head apart.
    ///
    /// # Errors
    /// If they are not what was written.
    pub fn check(mut bytes: Vec<u8>, head: &Head) -> Result<Self, Refused> {
        let expected = head.state + head.open + CHECKSUM as u64;
        if bytes.len() as u64 != expected {
            return Err(Refused::Length {
                found: head.bytes() + bytes.len() as u64,
                expected: head.record_bytes(),
            });
        }
        let sum = bytes.split_off(bytes.len() - CHECKSUM);
        if blake3::hash(&bytes).as_bytes() != &sum[..] {
            return Err(Refused::Damaged { part: "body" });
        }
        Ok(Self::split(bytes.into(), head))
    }

    fn split(bytes: Buffer, head: &Head) -> Self {
        let state = head.state as usize;
        Self {
            open: bytes.part(state..bytes.len()),
            state: bytes.part(0..state),
        }
    }
}

fn field(field: &'static str, found: u32) -> Refused {
    let found = found.into();
    Refused::Field { field, found }
}

fn word(head: &[u8; FIXED], at: usize) -> u32 {
    u32::from_le_bytes(*head[at..].first_chunk().expect("inside of the head"))
}

fn long(head: &[u8; FIXED], at: usize) -> u64 {
    u64::from_le_bytes(*head[at..].first_chunk().expect("inside of the head"))
}
