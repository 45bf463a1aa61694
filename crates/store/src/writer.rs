//! The thread that changes a store's directory.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, SystemTime};

use crate::directory::Shelf;
use crate::disk::{Put, Shared, now};
use crate::index::Doomed;
use crate::name::Name;
use crate::record::{Head, checksum};

/// How often an idle writer looks at what other processes did.
const LOOK: Duration = Duration::from_secs(2);

/// What the writer is asked to do.
pub(crate) enum Job {
    /// Write this record.
    Put(Box<Put>),
    /// Somebody went on from this frontier.
    Touch(Name),
    /// Remove what is of no use, and keep within bounds.
    Tidy,
    /// Something was refused by a reader.
    Look,
    /// Say when everything before is done.
    Flush(SyncSender<()>),
}

/// When the shelves last changed, as far as this process knows.
type Seen = [Option<SystemTime>; 2];

/// Works until the other end is gone.
pub(crate) fn run(shared: &Shared, jobs: &Receiver<Job>, on_room: impl Fn()) {
    let mut seen = Seen::default();
    let looked = under_lock(shared, |shared| {
        shared.directory.sweep(&*shared.files);
        look(shared, &mut seen)
    });
    note(shared, looked);
    shared.state().is_scanned = true;
    shared.scanned.notify_all();
    loop {
        let mut flushed = None;
        let done = match jobs.recv_timeout(LOOK) {
            Ok(Job::Put(put)) => {
                let put = under_lock(shared, |shared| store(shared, &mut seen, &put));
                if put.is_err() {
                    shared.state().report.dropped += 1;
                }
                put
            }
            Ok(Job::Touch(name)) => {
                let file = shared.directory.file(Shelf::Frontiers, name);
                shared.files.touch(&file)
            }
            Ok(Job::Look) => Ok(()),
            Ok(Job::Tidy) => under_lock(shared, |shared| {
                let useless = shared.state().index.useless(now());
                remove(shared, &mut seen, &useless);
                make_room(shared, &mut seen, None)
            }),
            Ok(Job::Flush(done)) => {
                flushed = Some(done);
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => match shared.directory.changed() == seen {
                true => Ok(()),
                false => under_lock(shared, |shared| look(shared, &mut seen)),
            },
            Err(RecvTimeoutError::Disconnected) => return,
        };
        note(shared, done);
        let mut doomed = std::mem::take(&mut shared.state().doomed);
        if !doomed.is_empty() {
            let removed = under_lock(shared, |shared| {
                // A look may have found them again meanwhile.
                for (shelf, name) in doomed.clone() {
                    doomed.extend(shared.state().index.gone(shelf, name));
                }
                remove(shared, &mut seen, &doomed);
                Ok(())
            });
            note(shared, removed);
        }
        if let Some(done) = flushed {
            let _ = done.send(());
        }
        on_room();
    }
}

/// Does something that others must not do at the same time.
fn under_lock<T>(shared: &Shared, act: impl FnOnce(&Shared) -> io::Result<T>) -> io::Result<T> {
    let lock = shared.directory.lock()?;
    let done = act(shared);
    drop(lock);
    done
}

/// Keeps what went wrong where it is asked for. Nothing here is worth stopping for.
fn note(shared: &Shared, done: io::Result<()>) {
    if let Err(error) = done {
        let dir = shared.directory.path().display();
        shared.state().report.trouble = Some(format!("{dir}: {error}"));
    }
}

/// Takes in what other processes did.
fn look(shared: &Shared, seen: &mut Seen) -> io::Result<()> {
    let changed = shared.directory.changed();
    let mut doomed = Vec::new();
    for shelf in Shelf::ALL {
        let names = shared.directory.names(shelf)?;
        let (new, gone) = shared.state().index.compare(shelf, &names);
        for name in gone {
            doomed.extend(shared.state().index.gone(shelf, name));
        }
        for name in new {
            let page_tokens = shared.options.page_tokens;
            if let Some(item) = shared.directory.item(shelf, name, page_tokens) {
                doomed.extend(shared.state().index.found(item));
            }
        }
    }
    *seen = changed;
    remove(shared, seen, &doomed);
    Ok(())
}

/// Writes a record, if it is not there, its pages are, and there is room.
fn store(shared: &Shared, seen: &mut Seen, put: &Put) -> io::Result<()> {
    if shared.directory.changed() != *seen {
        look(shared, seen)?;
    }
    let (shelf, name) = (Shelf::of(&put.head), put.head.name);
    let bytes = put.head.record_bytes();
    if shared.state().index.has(shelf, name) {
        return Ok(());
    }
    let is_connected = || match shared.state().index.is_connected(&put.head) {
        true => Ok(()),
        false => Err(io::Error::other("what comes before it was not written")),
    };
    let abandon = |_: &io::Error| shared.state().index.abandon(&put.head);
    is_connected().inspect_err(abandon)?;
    if shared.state().index.is_resting(name, now()) {
        return Err(io::Error::other(
            "written and evicted a moment ago: the budget is too small",
        ));
    }
    make_room(shared, seen, Some(&put.head)).inspect_err(abandon)?;
    let scratch = shared.directory.scratch(name);
    let (head, sum) = (put.head.write(), checksum(&put.state, &put.open));
    let parts: [&[u8]; 4] = [&head, &put.state, &put.open, &sum];
    let place = shared.directory.file(shelf, name);
    let written = shared.files.write(&scratch, &parts);
    let written = written.and_then(|()| shared.files.rename(&scratch, &place));
    if let Err(error) = written {
        // If this fails too, whoever opens the directory next does it.
        let _ = shared.files.remove(&scratch);
        shared.state().index.abandon(&put.head);
        return Err(error);
    }
    let doomed = {
        let mut state = shared.state();
        state.report.written += 1;
        state.report.written_bytes += bytes;
        state.index.wrote(put.head.clone(), bytes, now())
    };
    *seen = shared.directory.changed();
    remove(shared, seen, &doomed);
    Ok(())
}

/// Makes room for a record, or just keeps within bounds, in the budget and on the medium.
fn make_room(shared: &Shared, seen: &mut Seen, record: Option<&Head>) -> io::Result<()> {
    let bytes = record.map_or(0, Head::record_bytes);
    let free = shared.files.free_bytes(shared.directory.path())?;
    let (doomed, fits) = {
        let index = &mut shared.state().index;
        // What is removed from the directory becomes free on the medium.
        let usable = free.saturating_sub(shared.options.free);
        let budget = shared
            .options
            .bytes
            .min(index.used().saturating_add(usable));
        index.make_room(record, bytes, budget, now())
    };
    remove(shared, seen, &doomed);
    match fits {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!(
                "no room for {bytes} bytes: the budget is {}, and {} of {free} free bytes of the \
                 medium are to stay free",
                shared.options.bytes, shared.options.free
            ),
        )),
    }
}

/// Removes files that the index has forgotten. One that cannot be removed is found again by the
/// next look, so that it is counted.
fn remove(shared: &Shared, seen: &mut Seen, doomed: &[Doomed]) {
    let is_known = shared.directory.changed() == *seen;
    let mut failed = false;
    for &(shelf, name) in doomed {
        let removed = shared.files.remove(&shared.directory.file(shelf, name));
        failed |= removed.is_err_and(|error| error.kind() != io::ErrorKind::NotFound);
    }
    *seen = match is_known && !failed {
        true => shared.directory.changed(),
        false => Seen::default(),
    };
}
