//! Looking after a directory: what is in it, whether it is sound, less of it.

use std::fs::File;
use std::io;

use crate::buffer::Pool;
use crate::directory::{Directory, Item, Shelf};
use crate::disk::Disk;
use crate::files::Files;
use crate::record::{Body, ReadError, read_head};

/// Everything that is called like a record, frontiers first.
///
/// # Errors
/// If the directory cannot be read.
pub fn survey(directory: &Directory, page_tokens: usize) -> io::Result<Vec<Item>> {
    let mut items = Vec::new();
    for shelf in [Shelf::Frontiers, Shelf::Pages] {
        let names = directory.names(shelf)?.into_iter();
        items.extend(names.filter_map(|name| directory.item(shelf, name, page_tokens)));
    }
    Ok(items)
}

/// Reads all of a record.
///
/// # Errors
/// If it cannot be read, or is not what was written.
pub fn verify(directory: &Directory, item: &Item, page_tokens: usize) -> Result<(), ReadError> {
    let mut file = File::open(directory.file(item.shelf, item.name))?;
    let head = read_head(&mut file, page_tokens)?;
    Body::read(&mut file, &head, &Pool::new(0, 0)).map(drop)
}

/// Reads all of a record, and has it removed with all that is of no use without it if it is not
/// what was written. Was it sound? [`Disk::tidy`] waits until it is gone.
pub fn repair(disk: &Disk, item: &Item) -> bool {
    let (directory, page_tokens) = (&disk.shared.directory, disk.shared.options.page_tokens);
    let is_sound = match &item.head {
        // A file that cannot be read now may be sound, or gone.
        Ok(_) => !matches!(
            verify(directory, item, page_tokens),
            Err(ReadError::Refused(_))
        ),
        Err(ReadError::Refused(_)) => false,
        Err(ReadError::Io(_)) => true,
    };
    if !is_sound {
        disk.discard(item.shelf, item.name);
    }
    is_sound
}

/// Removes every record. How many files that were, and their bytes.
///
/// # Errors
/// If the directory cannot be locked or read, or a file not removed.
pub fn clear(directory: &Directory, files: &dyn Files) -> io::Result<(usize, u64)> {
    let _lock = directory.lock()?;
    directory.sweep(files);
    let (mut count, mut bytes) = (0, 0);
    // Frontiers first: a page without them is of no use, and they are of none without pages.
    for shelf in [Shelf::Frontiers, Shelf::Pages] {
        for name in directory.names(shelf)? {
            let path = directory.file(shelf, name);
            bytes += path.metadata().map_or(0, |metadata| metadata.len());
            files.remove(&path)?;
            count += 1;
        }
    }
    Ok((count, bytes))
}
