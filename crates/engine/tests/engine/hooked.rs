//! A machine that tells when it works.

use ds4_engine::{Identity, Limits, Machine, MachineError};
use ds4_model::{HostMemory, KvGeometry, Plan};

/// `inner` with something besides.
pub(crate) struct Hooked<M, S, P, L> {
    pub(crate) inner: M,
    /// Called when a step is computed; what it returns becomes of the step.
    pub(crate) after_step: S,
    /// Called before a page is saved.
    pub(crate) before_save: P,
    /// Called before a page is loaded.
    pub(crate) before_load: L,
    /// Memory of the host beside its own, if it has any of its own.
    pub(crate) host_memory: Option<HostMemory>,
}

impl<M, S, P, L> Machine for Hooked<M, S, P, L>
where
    M: Machine,
    S: FnMut() -> Result<(), MachineError> + Send,
    P: FnMut() + Send,
    L: FnMut() + Send,
{
    fn geometry(&self) -> &KvGeometry {
        self.inner.geometry()
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn identity(&self) -> Identity {
        self.inner.identity()
    }

    fn step(&mut self, plan: &Plan) -> Result<&[f32], MachineError> {
        let logits = self.inner.step(plan)?;
        (self.after_step)().map(|()| logits)
    }

    fn seat(
        &mut self,
        slot: u32,
        pages: &[u32],
        tokens: u32,
        frontier: Option<&[u8]>,
    ) -> Result<(), MachineError> {
        self.inner.seat(slot, pages, tokens, frontier)
    }

    fn set_pages(&mut self, slot: u32, pages: &[u32]) -> Result<(), MachineError> {
        self.inner.set_pages(slot, pages)
    }

    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), MachineError> {
        self.inner.copy_page(from, to)
    }

    fn save_page(&mut self, page: u32, out: &mut [u8]) -> Result<(), MachineError> {
        (self.before_save)();
        self.inner.save_page(page, out)
    }

    fn load_page(&mut self, page: u32, bytes: &[u8]) -> Result<(), MachineError> {
        (self.before_load)();
        self.inner.load_page(page, bytes)
    }

    fn host_memory(&self) -> Option<HostMemory> {
        self.host_memory.clone()
    }

    fn frontier(&mut self, slot: u32, tokens: u32) -> Result<Vec<u8>, MachineError> {
        self.inner.frontier(slot, tokens)
    }
}
