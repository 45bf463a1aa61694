//! The disk tier of an engine, and the memory on the way to it.

use std::sync::mpsc::SyncSender;
use std::thread;

use ds4_model::kv::PAGE_TOKENS;
use ds4_store::files::System;
use ds4_store::{Disk, Pool, disk};

use super::Store;
use crate::error::EngineError;
use crate::event::Event;
use crate::machine::Machine;

/// Opens the disk tier. Its writer wakes the engine thread when there is room for more.
pub(super) fn open_disk(store: &Store, commands: SyncSender<Event>) -> Result<Disk, EngineError> {
    let options = disk::Options {
        dir: store.dir.clone(),
        bytes: store.bytes,
        free: store.free,
        page_tokens: PAGE_TOKENS,
        queue: QUEUE,
    };
    let wake = move || {
        let _ = commands.try_send(Event::Wake);
    };
    Ok(Disk::open(options, Box::new(System), wake)?)
}

/// Memory that pages go through on their way between device and disk: blocks that are used again
/// and again, from the device where it has a better kind, fetched in the background.
pub(super) fn pool(machine: &dyn Machine, is_used: bool) -> Result<Pool, EngineError> {
    let bytes = machine.geometry().page_bytes;
    let pool = Pool::new(bytes, BLOCKS);
    if let Some(memory) = machine.host_memory().filter(|_| is_used) {
        let pool = pool.clone();
        let fetch = move || {
            let blocks = (0..BLOCKS).map_while(|_| memory(bytes));
            blocks.for_each(|block| pool.add(block));
        };
        let thread = thread::Builder::new().name("ds4-kv-memory".into());
        thread.spawn(fetch).map_err(|_| EngineError::Stopped)?;
    }
    Ok(pool)
}

/// Pages on their way at a time: those the readers are ahead by, and those that wait to be written.
const BLOCKS: usize = 64;

/// Records that may wait to be written: some 30 MB of the large models.
const QUEUE: usize = 16;
