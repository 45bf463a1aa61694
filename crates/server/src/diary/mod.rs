//! What was said, kept over a restart: turns that can be repeated token by token, and replies that
//! can be gone on from.
//!
//! What was computed of a conversation outlives the server in the folder of `--kv-disk-dir`, and is
//! found again by its tokens. Clients do not send tokens. So the turns have to outlive it as well,
//! or the first prompt after a restart reads alike and is another one.
//!
//! One thread writes, a second's entries at a time; nobody waits for it. A process that dies loses
//! its last second.

mod entry;
mod folder;
mod read;
mod segment;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::log::Log;
use crate::tenant::Tenant;

pub(crate) use entry::{Dated, Entry, Reply};
use folder::Folder;
pub(crate) use folder::clear;

/// How long entries wait for others to share a file with.
const WAIT: Duration = Duration::from_secs(1);

/// Entries that may wait to be written. More are forgotten at the end of the process.
const QUEUE: usize = 1024;

/// Bytes of them.
const QUEUE_BYTES: usize = 64 << 20;

enum Job {
    Keep(Dated, Weight),
    Erase(Tenant, String),
}

/// Bytes that wait. They are off the scale when this is dropped.
struct Weight {
    bytes: usize,
    scale: Arc<AtomicUsize>,
}

impl Weight {
    /// None if it is too much.
    fn put(bytes: usize, scale: &Arc<AtomicUsize>) -> Option<Self> {
        let before = scale.fetch_add(bytes, Relaxed);
        let weight = Self {
            bytes,
            scale: Arc::clone(scale),
        };
        (before + bytes <= QUEUE_BYTES).then_some(weight)
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.scale.fetch_sub(self.bytes, Relaxed);
    }
}

/// Where entries go.
pub(crate) struct Diary {
    folder: Mutex<Option<Folder>>,
    writer: Mutex<Option<Writer>>,
    waiting: Arc<AtomicUsize>,
    log: Log,
}

/// The thread that writes. Dropping it waits until everything is written.
struct Writer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Diary {
    /// A diary in a folder.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn new(path: &Path, bytes: u64, log: Log) -> io::Result<Self> {
        Ok(Self {
            folder: Mutex::new(Some(Folder::make(path, bytes)?)),
            writer: Mutex::new(None),
            waiting: Arc::default(),
            log,
        })
    }

    /// What was kept of this model, the oldest first. From now on more is written.
    pub(crate) fn begin(&self, identity: [u8; 32]) -> Vec<Dated> {
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(folder) = folder.take() else {
            return Vec::new();
        };
        let entries = folder.read(&identity, |complaint| self.log.line(&complaint));
        let entries = entries.unwrap_or_else(|error| {
            let line = format!("cannot read what was said before: {error}");
            self.log.line(&line);
            Vec::new()
        });
        let (sender, waiting) = sync_channel(QUEUE);
        let log = self.log.clone();
        let thread = thread::Builder::new().name("ds4-diary".into());
        match thread.spawn(move || work(&folder, &identity, &waiting, &log)) {
            Ok(thread) => {
                let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
                *writer = Some(Writer {
                    jobs: Some(sender),
                    thread: Some(thread),
                });
            }
            Err(error) => self.log.line(&format!("nothing said is kept: {error}")),
        }
        entries
    }

    /// Keeps an entry of about so many bytes.
    pub(crate) fn keep(&self, tenant: Tenant, entry: Entry, bytes: usize) {
        // A medium that is that far behind loses some; nobody waits for it.
        if let Some(jobs) = self.jobs()
            && let Some(weight) = Weight::put(bytes, &self.waiting)
        {
            let at = now();
            let _ = jobs.try_send(Job::Keep(Dated { at, tenant, entry }, weight));
        }
    }

    /// Takes a reply out. May wait for the medium.
    pub(crate) fn erase(&self, tenant: Tenant, id: &str) {
        if let Some(jobs) = self.jobs() {
            let _ = jobs.send(Job::Erase(tenant, id.to_owned()));
        }
    }

    /// Writes what waits, and keeps nothing more.
    pub(crate) fn end(&self) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = writer.take();
        drop(writer);
        // Joins its thread.
        drop(ended);
    }

    fn jobs(&self) -> Option<SyncSender<Job>> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.as_ref().and_then(|writer| writer.jobs.clone())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the writer has been printed by the panic hook.
            let _ = thread.join();
        }
    }
}

/// Does what comes until nobody is left to send anything.
fn work(folder: &Folder, identity: &[u8; 32], jobs: &Receiver<Job>, log: &Log) {
    let tell = |done: io::Result<()>| {
        if let Err(error) = done {
            log.line(&format!("cannot keep what was said: {error}"));
        }
    };
    while let Ok(mut job) = jobs.recv() {
        let mut gathered: Option<(u64, Vec<u8>)> = None;
        let until = Instant::now() + WAIT;
        loop {
            match job {
                Job::Keep(dated, _weight) => {
                    let (_, bytes) = gathered.get_or_insert((dated.at, Vec::new()));
                    dated.write(bytes);
                }
                Job::Erase(tenant, id) => {
                    if let Some((at, bytes)) = gathered.take() {
                        tell(folder.write(identity, at, &bytes));
                    }
                    tell(folder.erase(identity, tenant, &id));
                }
            }
            let size = gathered.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64);
            let left = until.saturating_duration_since(Instant::now());
            match jobs.recv_timeout(left) {
                Ok(next) if size < folder.large() => job = next,
                Ok(next) => {
                    if let Some((at, bytes)) = gathered.take() {
                        tell(folder.write(identity, at, &bytes));
                    }
                    job = next;
                }
                Err(_) => break,
            }
        }
        if let Some((at, bytes)) = gathered {
            tell(folder.write(identity, at, &bytes));
        }
    }
}

/// Microseconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_micros() as u64)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::{QUEUE_BYTES, Weight};

    #[test]
    fn what_waits_is_bounded_in_bytes() {
        let scale = Arc::<AtomicUsize>::default();
        let half = Weight::put(QUEUE_BYTES / 2, &scale);
        let other = Weight::put(QUEUE_BYTES / 2, &scale);
        assert!(half.is_some() && other.is_some());
        assert!(Weight::put(1, &scale).is_none());
        drop(half);
        assert!(Weight::put(1, &scale).is_some());
    }
}
