//! The folder the files of entries lie in.
//!
//! Files are written aside, waited for, and renamed; their names sort by age. Whoever changes
//! something holds the folder's lock, so several processes may share one. Small files are joined
//! before there are many; the oldest go when all are beyond the bound.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ds4_store::files::{self, Files, System};

use super::entry::Dated;
use super::read::Raw;
use super::segment::{self, HEAD, Refused};
use crate::ids;
use crate::tenant::Tenant;

/// More small files than these are joined.
const MOST_FILES: usize = 64;

/// Files of this size are not joined any more, unless the bound is smaller.
const LARGE: u64 = 4 << 20;

/// No file is larger; one entry is at most a request and its answer.
const MOST_FILE_BYTES: u64 = 256 << 20;

/// Files begin so while they are written.
const ASIDE: &str = "tmp-";

/// The folder of one model.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Most bytes of all files, whichever models they are of.
    bytes: u64,
}

/// A file in it.
struct Found {
    path: PathBuf,
    name: String,
    bytes: u64,
}

impl Folder {
    /// The folder, made if need be.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn make(path: &Path, bytes: u64) -> io::Result<Self> {
        System.make_dir(path)?;
        let path = path.to_owned();
        let folder = Self { path, bytes };
        drop(files::lock(&folder.path)?);
        Ok(folder)
    }

    /// Everything kept of one model, the oldest first. Files that are refused are removed; why is
    /// said.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub(crate) fn read(
        &self,
        identity: &[u8; 32],
        mut complain: impl FnMut(String),
    ) -> io::Result<Vec<Dated>> {
        let _lock = files::lock(&self.path)?;
        let mut entries = Vec::new();
        for found in self.files()? {
            match read_own(&found, identity) {
                Ok(None) => {}
                Ok(Some(bytes)) => {
                    let own = segment::open(&bytes).and_then(|own| {
                        let read: Option<Vec<Dated>> = own.iter().map(Raw::read).collect();
                        read.ok_or(Refused::Entries)
                    });
                    match own {
                        Ok(own) => entries.extend(own),
                        Err(refused) => self.refuse(&found, &refused.to_string(), &mut complain),
                    }
                }
                Err(refused) => self.refuse(&found, &refused, &mut complain),
            }
        }
        // Several processes may have written at the same time.
        entries.sort_by_key(|dated| dated.at);
        Ok(entries)
    }

    /// Writes a file of entries, and makes room for it.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn write(&self, identity: &[u8; 32], at: u64, entries: &[u8]) -> io::Result<()> {
        let _lock = files::lock(&self.path)?;
        let mut files = self.files()?;
        if self.join(identity, &files)? {
            files = self.files()?;
        }
        let file = segment::seal(identity, entries);
        let size = file.len() as u64;
        if size > self.bytes {
            let error = format!("{size} bytes at once are more than may be kept in all");
            return Err(io::Error::other(error));
        }
        let mut used: u64 = files.iter().map(|found| found.bytes).sum();
        for oldest in &files {
            if used + size <= self.bytes {
                break;
            }
            System.remove(&oldest.path)?;
            used -= oldest.bytes;
        }
        self.put(at, &file)
    }

    /// What may be in one file.
    pub(crate) fn large(&self) -> u64 {
        LARGE.min(self.bytes / 16)
    }

    /// Joins the small files of a model if there are many, one after the other until they are not
    /// small any more. Whether there were.
    fn join(&self, identity: &[u8; 32], files: &[Found]) -> io::Result<bool> {
        let is_small = |found: &&Found| found.bytes < self.large();
        let is_own = |found: &&Found| head(found).is_ok_and(|head| is_of(&head, identity));
        if files.iter().filter(is_small).count() < MOST_FILES {
            return Ok(false);
        }
        let small = files
            .iter()
            .filter(|found| is_small(found) && is_own(found));
        let mut small: Vec<&Found> = small.collect();
        if small.len() < MOST_FILES {
            return Ok(false);
        }
        while !small.is_empty() {
            let mut sum = 0;
            let few = small.iter().take_while(|found| {
                let is_room = sum < self.large();
                sum += found.bytes;
                is_room
            });
            let rest = small.split_off(few.count());
            self.join_all(identity, &std::mem::replace(&mut small, rest))?;
        }
        Ok(true)
    }

    /// Makes one file of these.
    fn join_all(&self, identity: &[u8; 32], files: &[&Found]) -> io::Result<()> {
        // What is refused is complained about when everything is read.
        let own = files
            .iter()
            .filter_map(|found| Some((found, read_own(found, identity).ok()??)));
        let own: Vec<(&&Found, Vec<u8>)> = own.collect();
        let opened = own
            .iter()
            .filter_map(|(_, bytes)| segment::open(bytes).ok());
        self.put_all(identity, opened.flatten().collect())?;
        for (found, _) in own {
            System.remove(&found.path)?;
        }
        Ok(())
    }

    /// Takes a reply out of every file.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn erase(&self, identity: &[u8; 32], tenant: Tenant, id: &str) -> io::Result<()> {
        let _lock = files::lock(&self.path)?;
        for found in self.files()? {
            let Ok(Some(bytes)) = read_own(&found, identity) else {
                continue;
            };
            let mut entries = segment::open(&bytes).unwrap_or_default();
            let before = entries.len();
            entries.retain(|entry| !entry.is_reply(tenant, id));
            if entries.len() < before {
                self.put_all(identity, entries)?;
                System.remove(&found.path)?;
            }
        }
        Ok(())
    }

    /// Writes a file of what was read of others.
    fn put_all(&self, identity: &[u8; 32], mut entries: Vec<Raw<'_>>) -> io::Result<()> {
        entries.sort_by_key(|entry| entry.at);
        let Some(newest) = entries.last().map(|entry| entry.at) else {
            return Ok(());
        };
        let parts: Vec<&[u8]> = entries.iter().map(|entry| entry.own).collect();
        let bytes = parts.concat();
        self.put(newest, &segment::seal(identity, &bytes))
    }

    fn put(&self, at: u64, file: &[u8]) -> io::Result<()> {
        let name = ids::fresh(&format!("{at:016x}-"));
        let aside = self.path.join(format!("{ASIDE}{name}"));
        System.write(&aside, &[file])?;
        System.rename(&aside, &self.path.join(name))
    }

    /// The files, the oldest first. What somebody who died was writing is removed.
    fn files(&self) -> io::Result<Vec<Found>> {
        let mut files = Vec::new();
        for item in fs::read_dir(&self.path)? {
            let item = item?;
            let Ok(name) = item.file_name().into_string() else {
                continue;
            };
            let path = item.path();
            if name.starts_with(ASIDE) {
                System.remove(&path)?;
            } else if is_ours(&name) {
                let bytes = item.metadata()?.len();
                files.push(Found { path, name, bytes });
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    fn refuse(&self, found: &Found, why: &str, complain: &mut impl FnMut(String)) {
        complain(format!("{} is refused: {why}", found.path.display()));
        if let Err(error) = System.remove(&found.path) {
            complain(format!("cannot remove it: {error}"));
        }
    }
}

/// Removes every file of entries in a folder: how many, and their bytes.
///
/// # Errors
/// If the system refuses.
pub(crate) fn clear(path: &Path) -> io::Result<(usize, u64)> {
    if !path.is_dir() {
        return Ok((0, 0));
    }
    let path = path.to_owned();
    let folder = Folder { path, bytes: 0 };
    let _lock = files::lock(&folder.path)?;
    let files = folder.files()?;
    for found in &files {
        System.remove(&found.path)?;
    }
    Ok((files.len(), files.iter().map(|found| found.bytes).sum()))
}

fn is_ours(name: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.split_once('-')
        .is_some_and(|(at, id)| at.len() == 16 && id.len() == 32 && is_hex(at) && is_hex(id))
}

/// The first bytes of a file.
fn head(found: &Found) -> io::Result<[u8; HEAD]> {
    let mut head = [0; HEAD];
    File::open(&found.path)?.read_exact(&mut head)?;
    Ok(head)
}

fn is_of(head: &[u8; HEAD], identity: &[u8; 32]) -> bool {
    segment::identity(head).is_ok_and(|own| own == *identity)
}

/// A file, if it is of this model.
fn read_own(found: &Found, identity: &[u8; 32]) -> Result<Option<Vec<u8>>, String> {
    if found.bytes > MOST_FILE_BYTES || found.bytes < HEAD as u64 {
        return Err(Refused::Length.to_string());
    }
    let told = |error: io::Error| error.to_string();
    let head = head(found).map_err(told)?;
    if segment::identity(&head).map_err(|refused| refused.to_string())? != *identity {
        return Ok(None);
    }
    let mut bytes = vec![0; found.bytes as usize];
    let mut file = File::open(&found.path).map_err(told)?;
    file.read_exact(&mut bytes).map_err(told)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests;
