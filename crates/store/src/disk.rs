//! The disk tier: pages and frontiers in a directory, found again by another process.
//!
//! One thread writes, in the background. Whoever has something to write hands it over
//! ([`Disk::put`]) and gets it back if too much is waiting already, so nobody ever waits for a
//! medium. Reading is done by whoever wants something, on his own thread.
//!
//! * Every record is written once: it is named by its contents.
//! * **Durability.** A record is written aside, waited for until it is on the medium, and renamed.
//!   The directory entry is not waited for. A process that dies loses what was waiting in the
//!   queue; a machine that loses power may lose records of its last seconds as well. Either costs
//!   a prefill, and what is there is whole or refused.
//! * **Budget.** What lies in the directory never exceeds the budget, and a stated share of the
//!   medium stays free: room is made before a byte is written. What saves the least prefill per
//!   byte goes first, what is being read stays, and no tenant loses to others what is below an
//!   equal share; nothing is written twice within a minute.
//! * **Many processes** may share a directory. Who changes something holds its lock and looks
//!   first at what the others did. What one has removed under the other's hands is a miss.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;

use crate::buffer::{Buffer, Pool};
use crate::directory::{Directory, Shelf};
use crate::files::Files;
use crate::index::{self, Doomed, Index};
use crate::name::{Name, Scope};
use crate::record::{Body, Head, ReadError, read_head};
use crate::tree::Found;
use crate::writer::{self, Job};

/// Where a disk tier lies and how large it may get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The directory. It is made if it is not there.
    pub dir: PathBuf,
    /// Most bytes of all records in it, whichever models they are of.
    pub bytes: u64,
    /// Bytes of the medium that are left free.
    pub free: u64,
    /// Tokens of a page.
    pub page_tokens: usize,
    /// Records that may wait to be written.
    pub queue: usize,
}

/// Why a store was not opened.
#[derive(Debug, Error)]
#[error("cannot keep KV in {}: {cause}", dir.display())]
pub struct OpenError {
    /// The directory.
    pub dir: PathBuf,
    /// What the system says.
    #[source]
    pub cause: io::Error,
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// What it is. Its sizes are those of the two below.
    pub head: Head,
    /// The page, or the frontier.
    pub state: Buffer,
    /// The rows of the page that is not full.
    pub open: Buffer,
}

/// The deepest frontier on a path, and the full pages before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub frontier: Name,
    /// Tokens before it.
    pub at: usize,
    /// The full pages before it, in order.
    pub pages: Vec<Name>,
}

impl Stored {
    pub(crate) fn of<F>(found: Found<'_, index::Stored, F>) -> Self {
        Self {
            frontier: found.name,
            at: found.at,
            pages: found.pages.iter().map(|page| page.name).collect(),
        }
    }
}

/// What a store has done and holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes of all records.
    pub used: u64,
    /// Frontiers that can be gone on from.
    pub frontiers: usize,
    /// Their pages.
    pub pages: usize,
    /// Records written since it was opened.
    pub written: u64,
    /// Their bytes.
    pub written_bytes: u64,
    /// Records that were not written, for want of room or because the system refused.
    pub dropped: u64,
    /// What the system, or a reader, said last when something went wrong.
    pub trouble: Option<String>,
}

/// Somebody reads a place. Over when it is dropped.
#[must_use = "what is not pinned may be evicted"]
pub struct Pin<'a> {
    disk: &'a Disk,
    frontier: Name,
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.disk.shared.state().index.tree.unpin(self.frontier);
    }
}

/// A disk tier. Dropping it writes what waits.
pub struct Disk {
    pub(crate) shared: Arc<Shared>,
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// What the writer shares with those who read.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) directory: Directory,
    pub(crate) files: Box<dyn Files>,
    pub(crate) state: Mutex<State>,
    pub(crate) scanned: Condvar,
}

pub(crate) struct State {
    pub(crate) index: Index,
    pub(crate) report: Report,
    /// Files that were forgotten and have to be removed.
    pub(crate) doomed: Vec<Doomed>,
    /// Whether the directory was read to its end.
    pub(crate) is_scanned: bool,
}

impl Disk {
    /// Opens a directory. It is read in the background; whoever looks for something waits for
    /// that. `on_room` is called on the writer's thread whenever a record has left the queue.
    ///
    /// # Errors
    /// If the directory cannot be made or locked, or there is no thread to be had.
    pub fn open(
        options: Options,
        files: Box<dyn Files>,
        on_room: impl Fn() + Send + 'static,
    ) -> Result<Self, OpenError> {
        let dir = options.dir.clone();
        let opened = |options: Options| {
            let directory = Directory::make(&options.dir, &*files)?;
            drop(directory.lock()?);
            let (jobs, waiting) = sync_channel(options.queue.max(1));
            let state = State {
                index: Index::new(options.page_tokens),
                report: Report::default(),
                doomed: Vec::new(),
                is_scanned: false,
            };
            let shared = Arc::new(Shared {
                options,
                directory,
                files,
                state: Mutex::new(state),
                scanned: Condvar::new(),
            });
            let writer = Arc::clone(&shared);
            let thread = thread::Builder::new().name("ds4-kv-writer".into());
            let thread = thread.spawn(move || writer::run(&writer, &waiting, on_room))?;
            Ok(Self {
                shared,
                jobs: Some(jobs),
                thread: Some(thread),
            })
        };
        opened(options).map_err(|cause| OpenError { dir, cause })
    }

    /// The deepest frontier on the path of `tokens`, at most all of them.
    pub fn find(&self, scope: &Scope, tokens: &[u32]) -> Option<Stored> {
        let state = self.shared.scanned();
        state.index.tree.find(scope, tokens).map(Stored::of)
    }

    /// Keeps a place and its pages from being evicted while they are read. Another process may
    /// still take them away.
    pub fn pin(&self, frontier: Name) -> Pin<'_> {
        self.shared.state().index.tree.pin(frontier);
        Pin {
            disk: self,
            frontier,
        }
    }

    /// Is there a record of this name? Does not wait: while what has to go is being chosen, nothing
    /// is known to be there.
    pub fn has(&self, shelf: Shelf, name: Name) -> bool {
        match self.shared.state.try_lock() {
            Ok(state) => state.index.has(shelf, name),
            Err(TryLockError::Poisoned(state)) => state.into_inner().index.has(shelf, name),
            Err(TryLockError::WouldBlock) => false,
        }
    }

    /// Reads a record into memory of `pool` and checks all of it. One that is refused is removed.
    ///
    /// # Errors
    /// If it is not there (any more), or not what it should be.
    pub fn read(
        &self,
        shelf: Shelf,
        name: Name,
        identity: &[u8; 32],
        scope: &Scope,
        pool: &Pool,
    ) -> Result<(Head, Body), ReadError> {
        let path = self.shared.directory.file(shelf, name);
        let read = || {
            let mut file = File::open(&path)?;
            let head = read_head(&mut file, self.shared.options.page_tokens)?;
            head.check(identity, scope, name)?;
            let body = Body::read(&mut file, &head, pool)?;
            Ok((head, body))
        };
        let read: Result<_, ReadError> = read();
        if let Err(error) = &read {
            self.shared.state().report.trouble = Some(format!("{}: {error}", path.display()));
            self.discard(shelf, name);
        }
        read
    }

    /// A record is of no use. It is forgotten at once, and removed when the writer comes to it.
    pub fn discard(&self, shelf: Shelf, name: Name) {
        let mut state = self.shared.state();
        let doomed = state.index.gone(shelf, name);
        state.doomed.push((shelf, name));
        state.doomed.extend(doomed);
        drop(state);
        self.send(Job::Look);
    }

    /// Somebody went on from this frontier: it is worth keeping.
    pub fn touch(&self, frontier: Name) {
        self.shared.state().index.tree.touch(frontier, now());
        self.send(Job::Touch(frontier));
    }

    /// Hands a record over to be written.
    ///
    /// # Errors
    /// The record, if as many as may wait do so.
    pub fn put(&self, put: Box<Put>) -> Result<(), Box<Put>> {
        match self.jobs.as_ref().map(|jobs| jobs.try_send(Job::Put(put))) {
            Some(Err(TrySendError::Full(Job::Put(put)))) => Err(put),
            // A writer that is gone writes nothing; there is no use in waiting for it.
            _ => Ok(()),
        }
    }

    /// Removes what is of no use, and whatever is beyond the bounds. Done when it returns.
    pub fn tidy(&self) {
        if let Some(jobs) = &self.jobs
            && jobs.send(Job::Tidy).is_ok()
        {
            self.flush();
        }
    }

    /// Waits until everything handed over so far is written or given up.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if let Some(jobs) = &self.jobs
            && jobs.send(Job::Flush(done)).is_ok()
        {
            let _ = wait.recv();
        }
    }

    /// What it has done and holds.
    pub fn report(&self) -> Report {
        let state = self.shared.scanned();
        Report {
            used: state.index.used(),
            frontiers: state.index.tree.len(),
            pages: state.index.tree.pages(),
            ..state.report.clone()
        }
    }

    /// Tells the writer something that is no loss if it does not get through.
    fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.try_send(job);
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the writer has been printed by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state once the directory was read.
    fn scanned(&self) -> MutexGuard<'_, State> {
        let wait = |state: &mut State| !state.is_scanned;
        let state = self.scanned.wait_while(self.state(), wait);
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}
