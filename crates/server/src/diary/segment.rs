//! A file of entries: whole, or refused.
//!
//! `docs/formats/turns.md` has the bytes.

use super::read::{Raw, entries};

const MAGIC: [u8; 8] = *b"DS4TURNS";
const VERSION: u32 = 1;
/// Bytes before the entries: magic, version, zero, identity, length.
pub(crate) const HEAD: usize = 8 + 4 + 4 + 32 + 8;
const SUM: usize = 32;

/// Why a file is not read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("it is not a file of turns")]
    Stranger,
    #[error("it is of version {0}; this program reads version {VERSION}")]
    Version(u32),
    #[error("it is cut off, or something follows it")]
    Length,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("its entries are not whole")]
    Entries,
}

/// The file of these entries, which were written one after the other.
pub(crate) fn seal(identity: &[u8; 32], entries: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(HEAD + entries.len() + SUM);
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(identity);
    file.extend_from_slice(&(entries.len() as u64).to_le_bytes());
    file.extend_from_slice(entries);
    let sum = blake3::hash(&file);
    file.extend_from_slice(sum.as_bytes());
    file
}

/// Whose turns a file holds, from its first bytes.
pub(crate) fn identity(head: &[u8; HEAD]) -> Result<[u8; 32], Refused> {
    let version = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    if head[..8] != MAGIC {
        return Err(Refused::Stranger);
    }
    if version != VERSION {
        return Err(Refused::Version(version));
    }
    let mut identity = [0; 32];
    identity.copy_from_slice(&head[16..48]);
    Ok(identity)
}

/// The entries of a file.
pub(crate) fn open(file: &[u8]) -> Result<Vec<Raw<'_>>, Refused> {
    let (head, rest) = file.split_first_chunk::<HEAD>().ok_or(Refused::Length)?;
    identity(head)?;
    let (bytes, sum) = rest.split_last_chunk::<SUM>().ok_or(Refused::Length)?;
    if head[48..] != (bytes.len() as u64).to_le_bytes() {
        return Err(Refused::Length);
    }
    if blake3::hash(&file[..file.len() - SUM]) != *sum {
        return Err(Refused::Checksum);
    }
    entries(bytes).ok_or(Refused::Entries)
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Dated, Entry, Reply};
    use super::*;

    #[test]
    fn whole_or_refused() {
        let mut entries = Vec::new();
        let entry = Dated {
            at: 5,
            tenant: crate::tenant::Tenant::EVERYBODY,
            entry: Entry::Reply(Reply {
                id: "resp_1".to_owned(),
                before: None,
                input: Vec::new(),
                output: Vec::new(),
                reply: serde_json::Value::Null,
            }),
        };
        entry.write(&mut entries);
        let file = seal(&[9; 32], &entries);
        assert_eq!(open(&file).unwrap().len(), 1);
        let head = file.first_chunk::<HEAD>().unwrap();
        assert_eq!(identity(head), Ok([9; 32]));
        for end in 0..file.len() {
            assert!(open(&file[..end]).is_err(), "{end}");
        }
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(open(&changed).is_err(), "{at}");
        }
        let mut longer = file;
        longer.push(0);
        assert_eq!(open(&longer).err(), Some(Refused::Length));
    }
}
