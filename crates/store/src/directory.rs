//! A store's directory: where records lie, and what is there.
//!
//! ```text
//! DIR/pages/NAME      pages by name, 64 hexadecimal digits
//! DIR/frontiers/NAME  frontiers by name
//! DIR/tmp/NAME        being written
//! DIR/lock            held by whoever changes something
//! ```
//!
//! Nothing else in the directory is looked at or touched.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::files::{self, Files};
use crate::name::Name;
use crate::record::{Head, ReadError, read_head};

/// Pages or frontiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shelf {
    /// Full pages.
    Pages,
    /// Frontiers.
    Frontiers,
}

impl Shelf {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Pages, Self::Frontiers];

    fn folder(self) -> &'static str {
        match self {
            Self::Pages => "pages",
            Self::Frontiers => "frontiers",
        }
    }

    /// Where a record with this head belongs.
    pub fn of(head: &Head) -> Self {
        match head.kind {
            None => Self::Pages,
            Some(_) => Self::Frontiers,
        }
    }
}

/// A directory of records.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

/// A file that is called like a record.
#[derive(Debug)]
pub struct Item {
    /// Where it lies.
    pub shelf: Shelf,
    /// What it is called.
    pub name: Name,
    /// Its bytes.
    pub bytes: u64,
    /// When it was last used, in seconds since 1970.
    pub used: f64,
    /// What it says of itself.
    pub head: Result<Head, ReadError>,
}

impl Directory {
    /// The directory at `path`, made if it is not there.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn make(path: &Path, files: &dyn Files) -> io::Result<Self> {
        let made = Self::at(path);
        for folder in ["pages", "frontiers", "tmp"] {
            files.make_dir(&path.join(folder))?;
        }
        Ok(made)
    }

    /// The directory at `path`, as it is.
    pub fn at(path: &Path) -> Self {
        let path = path.to_owned();
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until nobody else changes anything. Others wait until the file is dropped.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn lock(&self) -> io::Result<File> {
        files::lock(&self.path)
    }

    /// The file of a record.
    pub fn file(&self, shelf: Shelf, name: Name) -> PathBuf {
        self.path.join(shelf.folder()).join(name.to_string())
    }

    /// Where a record is written before it gets its name. Written under the lock, so what is found
    /// there by the next one to hold it is of somebody who died.
    pub fn scratch(&self, name: Name) -> PathBuf {
        self.path.join("tmp").join(name.to_string())
    }

    /// When something on a shelf was last added or removed.
    pub fn changed(&self) -> [Option<SystemTime>; 2] {
        Shelf::ALL.map(|shelf| {
            let folder = fs::metadata(self.path.join(shelf.folder()));
            folder.and_then(|folder| folder.modified()).ok()
        })
    }

    /// The names on a shelf.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn names(&self, shelf: Shelf) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path.join(shelf.folder()))? {
            names.extend(parse(&entry?.file_name().to_string_lossy()));
        }
        Ok(names)
    }

    /// What lies under a name, without its payload; nothing if it is gone.
    pub fn item(&self, shelf: Shelf, name: Name, page_tokens: usize) -> Option<Item> {
        let mut file = File::open(self.file(shelf, name)).ok()?;
        let metadata = file.metadata().ok()?;
        let head = read_head(&mut file, page_tokens).and_then(|head| {
            match head.name == name && Shelf::of(&head) == shelf {
                true => Ok(head),
                false => Err(crate::record::Refused::Name.into()),
            }
        });
        Some(Item {
            shelf,
            name,
            bytes: metadata.len(),
            used: modified(&metadata),
            head,
        })
    }

    /// Removes what somebody who died was writing. To be called under the lock.
    pub fn sweep(&self, files: &dyn Files) {
        let Ok(entries) = fs::read_dir(self.path.join("tmp")) else {
            return;
        };
        for entry in entries.flatten() {
            if parse(&entry.file_name().to_string_lossy()).is_some() {
                // What cannot be removed now is tried again by the next one.
                let _ = files.remove(&entry.path());
            }
        }
    }
}

fn modified(metadata: &Metadata) -> f64 {
    let modified = metadata.modified().ok();
    let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// The name that a file is called by.
fn parse(text: &str) -> Option<Name> {
    let digits = text.as_bytes().as_chunks::<2>().0;
    let mut name = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, digits) in name.iter_mut().zip(digits) {
        let digit = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Some(Name(name))
}
