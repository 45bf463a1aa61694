//! What a device offers besides the operations: the current plan, sessions' memory, results.
//!
//! Pages are numbers here. Who owns a page, which sessions share it and when it is written to disk is decided above; a
//! backend only holds their bytes, which are the same on every backend.

use std::ops::DerefMut;
use std::sync::Arc;

use crate::kv::KvGeometry;
use crate::ops::Ops;
use crate::plan::Plan;

/// Bytes of the host.
pub type HostBlock = Box<dyn DerefMut<Target = [u8]> + Send + Sync>;

/// Gives blocks of so many bytes, on any thread; none if there are no more to be had.
pub type HostMemory = Arc<dyn Fn(usize) -> Option<HostBlock> + Send + Sync>;

/// A device that runs steps and holds sessions.
pub trait Backend: Ops {
    /// Sizes of a session's memory on this device.
    fn geometry(&self) -> &KvGeometry;

    /// Slots for sessions.
    fn slots(&self) -> usize;

    /// Pages in the arena.
    fn pages(&self) -> usize;

    /// Makes `plan` the current one: the operations that follow work on its rows. Every slot must have pages up to the
    /// end of its run.
    fn begin(&mut self, plan: &Plan) -> Result<(), Self::Error>;

    /// Waits until the operations since [`Self::begin`] are done and gives the values of `buffer`, row after row.
    fn read<'a>(&'a mut self, buffer: &'a Self::Buffer) -> Result<&'a [f32], Self::Error>;

    /// The same for the picks of one row: ids and weights, which mean nothing where rows were selected. For tests and
    /// dumps, so it may be slow.
    fn read_picks(
        &mut self,
        picks: &Self::Picks,
        row: usize,
    ) -> Result<Vec<(u32, f32)>, Self::Error>;

    /// Forgets everything in a slot: an empty session.
    fn clear_slot(&mut self, slot: u32) -> Result<(), Self::Error>;

    /// Sets the page table of a slot.
    fn set_pages(&mut self, slot: u32, pages: &[u32]) -> Result<(), Self::Error>;

    /// Copies a page, when a session is about to write into one that others see.
    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), Self::Error>;

    /// Copies the bytes of a page to `out`, which has room for just them.
    fn save_page(&mut self, page: u32, out: &mut [u8]) -> Result<(), Self::Error>;

    /// Fills a page.
    fn load_page(&mut self, page: u32, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Where memory comes from that pages are copied to and from fastest; none where any will do.
    fn host_memory(&self) -> Option<HostMemory> {
        None
    }

    /// Appends what a session of `tokens` tokens needs besides pages to go on: window rows in order of position, running
    /// sums, the draft window. Its size depends on `tokens` and the geometry alone.
    fn save_frontier(
        &mut self,
        slot: u32,
        tokens: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), Self::Error>;

    /// Puts a slot at a saved frontier.
    fn load_frontier(&mut self, slot: u32, tokens: u32, bytes: &[u8]) -> Result<(), Self::Error>;
}
