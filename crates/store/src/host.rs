//! The tier between a device and the disk: records in memory of the host.
//!
//! What leaves a device on its way to the disk stays here as well, in the blocks it was copied into:
//! when the device needs the room, its pages come back without a medium. The rules are those of the
//! directory, and so are the bytes: a frontier needs its pages, what saves the least prefill per
//! byte goes first, nobody loses to others what is below an equal share.
//!
//! A thread of its own takes records in, so that whoever hands one over never waits for room to be
//! made.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};

use crate::directory::Shelf;
use crate::disk::{Put, Report, Stored, now};
use crate::index::{Doomed, Index};
use crate::name::{Name, Scope};
use crate::record::Body;

/// A tier in memory.
pub struct Host {
    state: Arc<Mutex<State>>,
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

enum Job {
    Put(Box<Put>),
    Flush(SyncSender<()>),
}

struct State {
    index: Index,
    /// What the index knows of.
    records: HashMap<Doomed, Body>,
    bytes: u64,
    report: Report,
}

impl Host {
    /// Room for `bytes` bytes of records. `on_room` is called whenever one has left the queue, of
    /// at most `queue`, before the next is taken in.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn new(
        bytes: u64,
        page_tokens: usize,
        queue: usize,
        on_room: impl FnMut() + Send + 'static,
    ) -> std::io::Result<Self> {
        let state = Arc::new(Mutex::new(State {
            index: Index::new(page_tokens),
            records: HashMap::new(),
            bytes,
            report: Report::default(),
        }));
        let (jobs, waiting) = sync_channel(queue.max(1));
        let writer = Arc::clone(&state);
        let thread = thread::Builder::new().name("ds4-kv-host".into());
        let thread = thread.spawn(move || run(&writer, &waiting, on_room))?;
        Ok(Self {
            state,
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// The deepest frontier on the path of `tokens`, at most all of them.
    pub fn find(&self, scope: &Scope, tokens: &[u32]) -> Option<Stored> {
        let state = lock(&self.state);
        state.index.tree.find(scope, tokens).map(Stored::of)
    }

    /// A record, if it is here.
    pub fn get(&self, shelf: Shelf, name: Name) -> Option<Body> {
        lock(&self.state).records.get(&(shelf, name)).cloned()
    }

    /// Is there a record of this name? Does not wait: while what has to go is being chosen, nothing
    /// is known to be there.
    pub fn has(&self, shelf: Shelf, name: Name) -> bool {
        match self.state.try_lock() {
            Ok(state) => state.index.has(shelf, name),
            Err(TryLockError::Poisoned(state)) => state.into_inner().index.has(shelf, name),
            Err(TryLockError::WouldBlock) => false,
        }
    }

    /// Somebody went on from this frontier: it is worth keeping.
    pub fn touch(&self, frontier: Name) {
        lock(&self.state).index.tree.touch(frontier, now());
    }

    /// Hands a record over.
    ///
    /// # Errors
    /// The record, if as many as may wait do so.
    pub fn put(&self, put: Box<Put>) -> Result<(), Box<Put>> {
        match self.jobs.as_ref().map(|jobs| jobs.try_send(Job::Put(put))) {
            Some(Err(TrySendError::Full(Job::Put(put)))) => Err(put),
            // A thread that is gone keeps nothing; there is no use in waiting for it.
            _ => Ok(()),
        }
    }

    /// The same, waiting for room in the queue.
    pub fn put_waiting(&self, put: Box<Put>) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(Job::Put(put));
        }
    }

    /// Waits until everything handed over so far is here, or given up.
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
        let state = lock(&self.state);
        Report {
            used: state.index.used(),
            frontiers: state.index.tree.len(),
            pages: state.index.tree.pages(),
            ..state.report.clone()
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by the panic hook.
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Works until the other end is gone.
fn run(state: &Mutex<State>, jobs: &Receiver<Job>, mut on_room: impl FnMut()) {
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Put(put) => lock(state).take(*put),
            Job::Flush(done) => {
                let _ = done.send(());
            }
        }
        on_room();
    }
}

impl State {
    fn take(&mut self, put: Put) {
        let (shelf, name) = (Shelf::of(&put.head), put.head.name);
        if self.index.has(shelf, name) {
            return;
        }
        let (bytes, now) = (put.head.record_bytes(), now());
        let fits = self.index.is_connected(&put.head) && {
            let (doomed, fits) = self
                .index
                .make_room(Some(&put.head), bytes, self.bytes, now);
            self.forget(&doomed);
            fits
        };
        if !fits {
            self.report.dropped += 1;
            self.index.abandon(&put.head);
            return;
        }
        let Put { head, state, open } = put;
        self.records.insert((shelf, name), Body { state, open });
        self.report.written += 1;
        self.report.written_bytes += bytes;
        let doomed = self.index.wrote(head, bytes, now);
        self.forget(&doomed);
    }

    fn forget(&mut self, doomed: &[Doomed]) {
        for record in doomed {
            self.records.remove(record);
        }
    }
}
