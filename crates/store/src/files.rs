//! The file operations that change something, behind a trait: so that a test can stop the world
//! between any two of them, or in the middle of one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

/// Waits until nobody else changes anything in `folder`, by the file `lock` in it. Others wait until
/// the file is dropped.
///
/// # Errors
/// If the system refuses.
pub fn lock(folder: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(folder.join("lock"))?;
    file.lock()?;
    Ok(file)
}

/// What a store does to a directory.
pub trait Files: Send + Sync {
    /// Makes a directory that only its owner may enter, and those above it, unless it is there.
    ///
    /// # Errors
    /// If the system refuses.
    fn make_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a file that only its owner may read, writes `parts` to it and waits until they are on
    /// the medium.
    ///
    /// # Errors
    /// If the system refuses. What was written until then may be left.
    fn write(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()>;

    /// Gives a file its name, in place of one that may be there.
    ///
    /// # Errors
    /// If the system refuses.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// If the system refuses.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Notes that a file was used now.
    ///
    /// # Errors
    /// If the system refuses.
    fn touch(&self, path: &Path) -> io::Result<()>;

    /// Bytes that may still be written to where `path` is.
    ///
    /// # Errors
    /// If the system refuses.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Files for System {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)
    }

    fn write(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_data()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn touch(&self, path: &Path) -> io::Result<()> {
        File::options()
            .append(true)
            .open(path)?
            .set_modified(SystemTime::now())
    }

    #[cfg(unix)]
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    #[cfg(not(unix))]
    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}
