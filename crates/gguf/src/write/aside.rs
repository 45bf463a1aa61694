//! A file that appears under its name only when it is complete.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::Error;

/// A file being written beside its destination; dropping it unfinished removes it.
pub struct Aside {
    file: NamedTempFile,
    path: PathBuf,
    bytes: u64,
}

impl Aside {
    /// Begins a file of `bytes` bytes, if the file system has room for it.
    pub(super) fn begin(path: &Path, bytes: u64) -> Result<Self, Error> {
        let folder = folder_of(path);
        check_space(path, folder, bytes)?;
        let name = path.file_name().ok_or_else(|| Error::NotAFile {
            path: path.to_owned(),
        })?;
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(".part")
            // What creating a file usually asks for; the user's umask takes its share.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(|source| Error::Io {
                path: path.to_owned(),
                doing: "create",
                source,
            })?;
        Ok(Self {
            file,
            path: path.to_owned(),
            bytes,
        })
    }

    pub(super) fn write_all(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(bytes)
            .map_err(|source| self.explain(source))
    }

    /// Makes the bytes durable, then gives the file its name.
    pub(super) fn commit(self) -> Result<(), Error> {
        let Self { file, path, .. } = self;
        let io = |doing| {
            let path = path.clone();
            move |source| Error::Io {
                path,
                doing,
                source,
            }
        };
        file.as_file().sync_all().map_err(io("flush"))?;
        file.persist(&path)
            .map_err(|failed| io("rename into place")(failed.error))?;
        // The new name is durable once its folder is.
        File::open(folder_of(&path))
            .and_then(|folder| folder.sync_all())
            .map_err(io("flush"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn explain(&self, source: io::Error) -> Error {
        let path = self.path.clone();
        if source.kind() == io::ErrorKind::StorageFull {
            let available = available(folder_of(&path)).unwrap_or(0);
            return Error::NoSpace {
                path,
                needed: self.bytes,
                available,
            };
        }
        Error::Io {
            path,
            doing: "write",
            source,
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn available(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn check_space(path: &Path, folder: &Path, needed: u64) -> Result<(), Error> {
    let available = available(folder).map_err(|source| Error::Io {
        path: folder.to_owned(),
        doing: "ask for free space in",
        source,
    })?;
    if needed > available {
        return Err(Error::NoSpace {
            path: path.to_owned(),
            needed,
            available,
        });
    }
    Ok(())
}
