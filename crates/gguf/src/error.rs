//! Why reading or writing a weight file failed.

use std::path::PathBuf;

use crate::fault::{Fault, Place, Refusal};
use crate::metadata::KeyError;

/// How an open file looks from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Length in bytes.
    pub bytes: u64,
    /// Time of the last modification: seconds since 1970 and nanoseconds.
    pub modified: (i64, i64),
}

/// Every way this crate's readers and writers fail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused an operation.
    #[error("{}: cannot {doing}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, as a verb.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A directory, pipe or device.
    #[error("{}: not a regular file", path.display())]
    NotAFile {
        /// What was opened.
        path: PathBuf,
    },
    /// The file breaks a rule of its format.
    #[error("{file}: {place}{fault}")]
    Refused {
        /// The file.
        file: String,
        /// The entry at fault.
        place: Place,
        /// The rule and the numbers.
        #[source]
        fault: Box<Fault>,
    },
    /// A metadata value was asked for that is not there.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The file is not the one that was opened any more; bytes read since may be wrong.
    #[error("{}: changed while it was in use ({}{}); load it again", path.display(),
        stamps(opened, now), if *faulted { ", some of it could not be read" } else { "" })]
    Changed {
        /// The file.
        path: PathBuf,
        /// How it looked when it was opened.
        opened: Stamp,
        /// How it looks now.
        now: Stamp,
        /// Whether missing bytes were read as zeros.
        faulted: bool,
    },
    /// The system will not keep the file in memory.
    #[error("{}: cannot lock {bytes} bytes in memory: {source}; raise the limit (ulimit -l) \
        or leave locking off", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// What the system said.
        source: std::io::Error,
    },
    /// What was to be written breaks a rule of the format.
    #[error("cannot write: {place}{fault}")]
    Unwritable {
        /// The key or tensor at fault.
        place: Place,
        /// The rule and the numbers.
        #[source]
        fault: Box<Fault>,
    },
    /// The file system has too little room.
    #[error("{}: {needed} bytes needed, {available} available in this file system", path.display())]
    NoSpace {
        /// The file to be written.
        path: PathBuf,
        /// Bytes of the finished file.
        needed: u64,
        /// Bytes free for this user.
        available: u64,
    },
    /// The progress callback said stop.
    #[error("{}: cancelled", path.display())]
    Cancelled {
        /// The file.
        path: PathBuf,
    },
    /// A payload handed to the writer out of turn.
    #[error("{}: {got} written where {expected} was due", path.display())]
    OutOfTurn {
        /// The file to be written.
        path: PathBuf,
        /// The tensor that came.
        got: String,
        /// The tensor that is next in the file.
        expected: String,
    },
    /// A payload of another length than its tensor.
    #[error("{}: tensor \"{tensor}\" takes {expected} bytes, got {got}", path.display())]
    PayloadLength {
        /// The file to be written.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Bytes of its payload.
        expected: u64,
        /// Bytes that came, at least.
        got: u64,
    },
}

impl Error {
    pub(crate) fn refused(file: impl Into<String>, refusal: impl Into<Refusal>) -> Self {
        let Refusal { place, fault } = refusal.into();
        Self::Refused {
            file: file.into(),
            place,
            fault: Box::new(fault),
        }
    }

    pub(crate) fn unwritable(refusal: impl Into<Refusal>) -> Self {
        let Refusal { place, fault } = refusal.into();
        Self::Unwritable {
            place,
            fault: Box::new(fault),
        }
    }
}

fn stamps(opened: &Stamp, now: &Stamp) -> String {
    if opened.bytes == now.bytes {
        format!(
            "still {} bytes, but modified since it was opened",
            now.bytes
        )
    } else {
        format!("{} bytes when opened, {} now", opened.bytes, now.bytes)
    }
}
