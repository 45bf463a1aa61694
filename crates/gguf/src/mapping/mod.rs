//! Files mapped into memory, and what happens when they change underneath.
//!
//! This module and its signal handler are the only `unsafe` code of the crate. The contract: a
//! mapping is a slice of plain bytes whose *contents* belong to the file. Someone may rewrite the
//! file, so nothing here hands out a type with invalid bit patterns. Someone may shorten it, and
//! touching a page behind the new end raises SIGBUS; [`fault`] then puts zeros there and marks the
//! mapping, the process lives, and [`Mapping::check`] tells.

mod fault;

use std::fmt;
use std::fs::File;
use std::ops::{ControlFlow, Deref};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use memmap2::{Advice, Mmap};

use crate::error::{Error, Stamp};

/// Bytes touched between two progress calls of [`Mapping::warm`].
const WARM_CHUNK: usize = 32 << 20;
/// At most this far apart are two pages.
const SMALLEST_PAGE: usize = 4096;

/// An open regular file and how it looked when it was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    stamp: Stamp,
}

impl Opened {
    /// Opens `path` for reading unless it is a directory, pipe or device.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            doing: "open",
            source,
        };
        // Asked before opening: opening a pipe would wait for a writer.
        if !std::fs::metadata(path).map_err(io)?.is_file() {
            return Err(Error::NotAFile {
                path: path.to_owned(),
            });
        }
        let file = File::open(path).map_err(io)?;
        let stamp = stamp(&file).map_err(io)?;
        Ok(Self {
            file,
            path: path.to_owned(),
            stamp,
        })
    }

    /// Length of the file when it was opened.
    pub(crate) fn len(&self) -> u64 {
        self.stamp.bytes
    }

    /// An error if the file is no longer what was opened.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.compare(false)
    }

    fn compare(&self, faulted: bool) -> Result<(), Error> {
        let path = || self.path.clone();
        let now = stamp(&self.file).map_err(|source| Error::Io {
            path: path(),
            doing: "look at",
            source,
        })?;
        if faulted || now != self.stamp {
            return Err(Error::Changed {
                path: path(),
                opened: self.stamp,
                now,
                faulted,
            });
        }
        Ok(())
    }

    /// Maps the whole file.
    pub(crate) fn map(self) -> Result<Mapping, Error> {
        let io = |source| Error::Io {
            path: self.path.clone(),
            doing: "map",
            source,
        };
        // SAFETY: the module header is the contract: plain bytes, and `fault` guards pages behind a
        // new end.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&self.file) }.map_err(io)?;
        let guard = fault::Guard::over(map.as_ptr_range()).map_err(io)?;
        let mapping = Mapping {
            guard,
            map,
            opened: self,
        };
        // The length was taken before mapping; a shorter file maps to fewer bytes than the header
        // promised.
        mapping.check()?;
        Ok(mapping)
    }
}

fn stamp(file: &File) -> std::io::Result<Stamp> {
    let now = file.metadata()?;
    Ok(Stamp {
        bytes: now.len(),
        modified: (now.mtime(), now.mtime_nsec()),
    })
}

/// A whole file as bytes.
///
/// Fields drop in order: the guard leaves the signal handler's table before the pages go away.
pub(crate) struct Mapping {
    guard: fault::Guard,
    map: Mmap,
    opened: Opened,
}

impl Mapping {
    /// An error if the file changed since it was opened, or a page of it could not be read.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.opened.compare(self.guard.faulted())
    }

    /// Tells the system that a range will be read soon; it starts reading and returns at once.
    pub(crate) fn will_need(&self, start: usize, len: usize) -> Result<(), Error> {
        self.map
            .advise_range(Advice::WillNeed, start, len)
            .map_err(|source| Error::Io {
                path: self.opened.path.clone(),
                doing: "prefetch",
                source,
            })
    }

    /// Reads every page once, so that later reads find it in memory.
    pub(crate) fn warm(&self, progress: &mut Progress<'_>) -> Result<(), Error> {
        let total = self.map.len();
        for start in (0..total).step_by(WARM_CHUNK) {
            let len = WARM_CHUNK.min(total - start);
            self.will_need(start, (2 * WARM_CHUNK).min(total - start))?;
            for page in self.map[start..start + len].iter().step_by(SMALLEST_PAGE) {
                std::hint::black_box(*page);
            }
            if progress((start + len) as u64, total as u64).is_break() {
                return Err(Error::Cancelled {
                    path: self.opened.path.clone(),
                });
            }
        }
        self.check()
    }

    /// Keeps the whole file in memory until the mapping goes away.
    pub(crate) fn lock(&self) -> Result<(), Error> {
        self.map.lock().map_err(|source| Error::Lock {
            path: self.opened.path.clone(),
            bytes: self.map.len() as u64,
            source,
        })
    }
}

/// Called with bytes done and bytes in all; breaking cancels.
pub type Progress<'a> = dyn FnMut(u64, u64) -> ControlFlow<()> + 'a;

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("opened", &self.opened)
            .finish_non_exhaustive()
    }
}
