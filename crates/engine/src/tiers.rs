//! The tiers below a device: memory of the host, where a device has its own, and a directory.
//!
//! A record is copied out of the device once and handed to both; the bytes are the same everywhere.
//! What is wanted back is taken from the nearest tier that has it.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;

use ds4_model::kv::PAGE_TOKENS;
use ds4_store::disk::{self, Pin};
use ds4_store::files::System;
use ds4_store::{Body, Disk, Head, Host, Name, Pool, Put, ReadError, Scope, Shelf, Stored};

use crate::engine::{Options, Store};
use crate::error::EngineError;
use crate::event::Event;
use crate::machine::Machine;

/// Records that may wait to be written: some 30 MB of the large models.
const QUEUE: usize = 16;

/// Pages on their way at a time: those the readers are ahead by, and those that wait to be written.
const BLOCKS: usize = 64;

/// Blocks that are fetched before they are needed, once the tier in memory fills.
const SPARE: usize = 16;

/// Where records go, and come from.
#[derive(Clone)]
pub(crate) struct Tiers {
    pub(crate) disk: Option<Arc<Disk>>,
    pub(crate) host: Option<Arc<Host>>,
    /// Memory that pages go through.
    pub(crate) pool: Pool,
    pub(crate) identity: [u8; 32],
    /// Bytes of the larger one.
    pub(crate) bytes: u64,
}

/// A record for those tiers that have not taken it yet.
pub(crate) struct Offer {
    disk: Option<Box<Put>>,
    host: Option<Box<Put>>,
}

impl Tiers {
    /// Opens the tiers that the options name, if there are any. Whoever waits for room in one is
    /// woken.
    pub(crate) fn open(
        machine: &dyn Machine,
        options: &Options,
        commands: &SyncSender<Event>,
    ) -> Result<Option<Self>, EngineError> {
        let page_bytes = machine.geometry().page_bytes;
        let memory = machine.host_memory();
        let host_bytes = memory.as_ref().map_or(0, |_| options.host_bytes);
        if options.store.is_none() && host_bytes == 0 {
            return Ok(None);
        }
        let most = (host_bytes / page_bytes as u64) as usize;
        let pool = Pool::new(page_bytes, BLOCKS + most);
        let wake = |commands: &SyncSender<Event>| {
            let commands = commands.clone();
            move || drop(commands.try_send(Event::Wake))
        };
        let disk = match &options.store {
            Some(store) => Some(Arc::new(open_disk(store, wake(commands))?)),
            None => None,
        };
        if let Some(memory) = memory.clone() {
            // In the background: it takes a while, and pages go through other memory until then.
            let pool = pool.clone();
            let fetch = move || {
                let blocks = (0..BLOCKS).map_while(|_| memory(page_bytes));
                blocks.for_each(|block| pool.add(block));
            };
            let thread = thread::Builder::new().name("ds4-kv-memory".into());
            thread.spawn(fetch).map_err(|_| EngineError::Stopped)?;
        }
        let host = match memory.filter(|_| host_bytes > 0) {
            Some(memory) => {
                let (pool, wake, mut left) = (pool.clone(), wake(commands), most);
                let on_room = move || {
                    while left > 0 && pool.spare() < SPARE {
                        left -= 1;
                        match memory(page_bytes) {
                            Some(block) => pool.add(block),
                            None => left = 0,
                        }
                    }
                    wake();
                };
                let host = Host::new(host_bytes, PAGE_TOKENS, QUEUE, on_room);
                Some(Arc::new(host.map_err(|_| EngineError::Stopped)?))
            }
            None => None,
        };
        let disk_bytes = options.store.as_ref().map_or(0, |store| store.bytes);
        Ok(Some(Self {
            disk,
            host,
            pool,
            identity: machine.identity().0,
            bytes: disk_bytes.max(host_bytes),
        }))
    }

    /// Do all tiers have this record?
    pub(crate) fn have(&self, shelf: Shelf, name: Name) -> bool {
        let disk = self.disk.as_ref();
        let host = self.host.as_ref();
        disk.is_none_or(|disk| disk.has(shelf, name))
            && host.is_none_or(|host| host.has(shelf, name))
    }

    /// A record for all of them.
    pub(crate) fn offer_of(&self, put: Box<Put>) -> Offer {
        Offer {
            host: self.host.is_some().then(|| put.clone()),
            disk: self.disk.is_some().then_some(put),
        }
    }

    /// Hands a record over; what a tier has no room for in its queue comes back.
    pub(crate) fn hand_over(&self, mut offer: Offer) -> Option<Offer> {
        if let (Some(disk), Some(put)) = (&self.disk, offer.disk.take()) {
            offer.disk = disk.put(put).err();
        }
        if let (Some(host), Some(put)) = (&self.host, offer.host.take()) {
            offer.host = host.put(put).err();
        }
        (offer.disk.is_some() || offer.host.is_some()).then_some(offer)
    }

    /// Waits until everything handed over is in its place.
    pub(crate) fn flush(&self) {
        if let Some(disk) = &self.disk {
            disk.flush();
        }
        if let Some(host) = &self.host {
            host.flush();
        }
    }

    /// The deepest frontier on the path of `tokens`.
    pub(crate) fn find(&self, scope: &Scope, tokens: &[u32]) -> Option<Stored> {
        let disk = self.disk.as_ref().and_then(|disk| disk.find(scope, tokens));
        let host = self.host.as_ref().and_then(|host| host.find(scope, tokens));
        match (disk, host) {
            (Some(disk), Some(host)) if host.at < disk.at => Some(disk),
            (disk, host) => host.or(disk),
        }
    }

    /// Keeps a place on disk while it is read; in memory, what is being used stays anyway.
    pub(crate) fn pin(&self, frontier: Name) -> Option<Pin<'_>> {
        self.disk.as_ref().map(|disk| disk.pin(frontier))
    }

    /// Somebody went on from this frontier.
    pub(crate) fn touch(&self, frontier: Name) {
        if let Some(disk) = &self.disk {
            disk.touch(frontier);
        }
        if let Some(host) = &self.host {
            host.touch(frontier);
        }
    }

    /// A record of the nearest tier that has it; with its head, if it comes from the disk.
    pub(crate) fn read(
        &self,
        shelf: Shelf,
        name: Name,
        scope: &Scope,
    ) -> Result<(Option<Head>, Body), ReadError> {
        let here = self.host.as_ref().and_then(|host| host.get(shelf, name));
        if let Some(body) = here {
            return Ok((None, body));
        }
        let Some(disk) = &self.disk else {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        };
        let (head, body) = disk.read(shelf, name, &self.identity, scope, &self.pool)?;
        Ok((Some(head), body))
    }

    /// Keeps in memory what was read from disk.
    pub(crate) fn keep(&self, head: Option<Head>, body: &Body) {
        if let (Some(host), Some(head)) = (&self.host, head) {
            let (state, open) = (body.state.clone(), body.open.clone());
            host.put_waiting(Box::new(Put { head, state, open }));
        }
    }

    /// A record is not what it should be.
    pub(crate) fn discard(&self, shelf: Shelf, name: Name) {
        if let Some(disk) = &self.disk {
            disk.discard(shelf, name);
        }
    }
}

/// Opens the directory.
fn open_disk(store: &Store, wake: impl Fn() + Send + 'static) -> Result<Disk, EngineError> {
    let options = disk::Options {
        dir: store.dir.clone(),
        bytes: store.bytes,
        free: store.free,
        page_tokens: PAGE_TOKENS,
        queue: QUEUE,
    };
    Ok(Disk::open(options, Box::new(System), wake)?)
}
