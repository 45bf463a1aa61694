//! Looking over a backend's shoulder: for dumps, timers, deliberate mistakes, and comparing two
//! backends operation by operation.
//!
//! [`Probed`] is a backend that hands every operation, as a [`Call`], to a [`Probe`], which runs it
//! on the wrapped backend when it likes and may look at its operands before and at its output
//! after. Nothing of this is in the way of a backend that is not wrapped.
//!
//! A probe sees operations, never groups: those are taken apart, as their unfused bodies say.

mod call;
mod ops;
mod times;

use crate::backend::{Backend, HostMemory};
use crate::kv::KvGeometry;
use crate::ops::Ops;
use crate::plan::Plan;

pub use call::{Call, Output};
pub use times::Times;

/// Somebody who wants to know what happens.
pub trait Probe<O: Ops> {
    /// Runs an operation, by [`Call::run`], and does what else it is there for.
    ///
    /// # Errors
    /// What the backend says.
    fn operation(&mut self, ops: &mut O, call: &mut Call<'_, O>) -> Result<(), O::Error>;

    /// A step begins.
    ///
    /// # Errors
    /// What the backend says.
    fn begin(&mut self, _ops: &mut O, _plan: &Plan) -> Result<(), O::Error> {
        Ok(())
    }
}

/// A probe that may be absent.
impl<O: Ops, P: Probe<O>> Probe<O> for Option<P> {
    fn operation(&mut self, ops: &mut O, call: &mut Call<'_, O>) -> Result<(), O::Error> {
        match self {
            Some(probe) => probe.operation(ops, call),
            None => call.run(ops),
        }
    }

    fn begin(&mut self, ops: &mut O, plan: &Plan) -> Result<(), O::Error> {
        match self {
            Some(probe) => probe.begin(ops, plan),
            None => Ok(()),
        }
    }
}

/// A backend with a probe.
#[derive(Debug)]
pub struct Probed<O, P> {
    /// The backend.
    pub inner: O,
    /// What sees its operations.
    pub probe: P,
}

impl<O: Ops, P: Probe<O>> Probed<O, P> {
    /// Wraps a backend.
    pub fn new(inner: O, probe: P) -> Self {
        Self { inner, probe }
    }
}

impl<B: Backend, P: Probe<B>> Backend for Probed<B, P> {
    fn geometry(&self) -> &KvGeometry {
        self.inner.geometry()
    }

    fn slots(&self) -> usize {
        self.inner.slots()
    }

    fn pages(&self) -> usize {
        self.inner.pages()
    }

    fn begin(&mut self, plan: &Plan) -> Result<(), B::Error> {
        self.probe.begin(&mut self.inner, plan)?;
        self.inner.begin(plan)
    }

    fn read<'a>(&'a mut self, buffer: &'a B::Buffer) -> Result<&'a [f32], B::Error> {
        self.inner.read(buffer)
    }

    fn read_picks(&mut self, picks: &B::Picks, row: usize) -> Result<Vec<(u32, f32)>, B::Error> {
        self.inner.read_picks(picks, row)
    }

    fn clear_slot(&mut self, slot: u32) -> Result<(), B::Error> {
        self.inner.clear_slot(slot)
    }

    fn set_pages(&mut self, slot: u32, pages: &[u32]) -> Result<(), B::Error> {
        self.inner.set_pages(slot, pages)
    }

    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), B::Error> {
        self.inner.copy_page(from, to)
    }

    fn save_page(&mut self, page: u32, out: &mut [u8]) -> Result<(), B::Error> {
        self.inner.save_page(page, out)
    }

    fn host_memory(&self) -> Option<HostMemory> {
        self.inner.host_memory()
    }

    fn load_page(&mut self, page: u32, bytes: &[u8]) -> Result<(), B::Error> {
        self.inner.load_page(page, bytes)
    }

    fn save_frontier(&mut self, slot: u32, tokens: u32, out: &mut Vec<u8>) -> Result<(), B::Error> {
        self.inner.save_frontier(slot, tokens, out)
    }

    fn load_frontier(&mut self, slot: u32, tokens: u32, bytes: &[u8]) -> Result<(), B::Error> {
        self.inner.load_frontier(slot, tokens, bytes)
    }
}
