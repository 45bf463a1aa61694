//! A loaded model on one device: the engine's only view of a backend.
//!
//! [`Machine`] is object-safe, so the engine thread is one type whatever runs below it; [`Loaded`]
//! is the one implementation, over any [`Backend`]. A machine runs plans and moves bytes; who owns
//! a page, which session sits in which slot and what is worth keeping is decided above.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use ds4_model::{Backend, HostMemory, KvGeometry, Plan, Scratch, Shape, Weights, forward::forward};

/// What a device has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions that can be computed without moving another one out.
    pub slots: usize,
    /// Pages of KV memory.
    pub pages: usize,
    /// Rows of a step.
    pub max_rows: usize,
    /// Rows of a step that want logits.
    pub max_outputs: usize,
    /// Tokens of the vocabulary.
    pub vocab: usize,
    /// Longest context the model was trained for.
    pub context: usize,
}

/// Which model this is, and how its memory is laid out: two machines of one identity can continue
/// each other's sessions.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity(pub [u8; 32]);

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({self})")
    }
}

/// What a backend said when it failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the device failed: {0}")]
pub struct MachineError(#[source] Arc<dyn Error + Send + Sync>);

impl MachineError {
    /// An error of some backend.
    pub fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }
}

/// A loaded model on one device.
pub trait Machine: Send {
    /// Sizes of what a session remembers.
    fn geometry(&self) -> &KvGeometry;

    /// What there is room for.
    fn limits(&self) -> Limits;

    /// Which model, which layout.
    fn identity(&self) -> Identity;

    /// Runs the rows of `plan`; the logits of its output rows, one after the other.
    fn step(&mut self, plan: &Plan) -> Result<&[f32], MachineError>;

    /// Puts a session of `tokens` tokens into a slot: empty, or at a saved frontier.
    fn seat(
        &mut self,
        slot: u32,
        pages: &[u32],
        tokens: u32,
        frontier: Option<&[u8]>,
    ) -> Result<(), MachineError>;

    /// Sets the page table of a slot.
    fn set_pages(&mut self, slot: u32, pages: &[u32]) -> Result<(), MachineError>;

    /// Copies a page.
    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), MachineError>;

    /// Copies the bytes of a page to `out`, which has room for just them.
    fn save_page(&mut self, page: u32, out: &mut [u8]) -> Result<(), MachineError>;

    /// Where memory comes from that pages are copied to and from fastest; none where any will do.
    fn host_memory(&self) -> Option<HostMemory> {
        None
    }

    /// Fills a page.
    fn load_page(&mut self, page: u32, bytes: &[u8]) -> Result<(), MachineError>;

    /// What a slot of `tokens` tokens needs besides its pages to go on.
    fn frontier(&mut self, slot: u32, tokens: u32) -> Result<Vec<u8>, MachineError>;
}

/// A model on the backend `B`.
pub struct Loaded<B: Backend> {
    backend: B,
    weights: Weights<B::Tensor>,
    scratch: Scratch<B::Buffer, B::Picks>,
    limits: Limits,
    identity: Identity,
}

impl<B: Backend> Loaded<B> {
    /// Allocates what a step works in. `max_rows` and `max_outputs` are what the backend was made
    /// for.
    ///
    /// # Errors
    /// If the device has no room for it.
    pub fn new(
        mut backend: B,
        weights: Weights<B::Tensor>,
        shape: &Shape,
        (max_rows, max_outputs): (usize, usize),
        identity: Identity,
    ) -> Result<Self, B::Error> {
        let scratch = Scratch::new(&mut backend, shape)?;
        let limits = Limits {
            slots: backend.slots(),
            pages: backend.pages(),
            max_rows,
            max_outputs,
            vocab: shape.vocab,
            context: shape.context,
        };
        Ok(Self {
            backend,
            weights,
            scratch,
            limits,
            identity,
        })
    }
}

impl<B> Machine for Loaded<B>
where
    B: Backend<Error: Error + Send + Sync + 'static> + Send,
    B::Tensor: Send,
    B::Buffer: Send,
    B::Picks: Send,
{
    fn geometry(&self) -> &KvGeometry {
        self.backend.geometry()
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn identity(&self) -> Identity {
        self.identity
    }

    fn step(&mut self, plan: &Plan) -> Result<&[f32], MachineError> {
        let Self {
            backend,
            weights,
            scratch,
            ..
        } = self;
        backend.begin(plan).map_err(MachineError::new)?;
        forward(backend, weights, scratch).map_err(MachineError::new)?;
        backend.read(&scratch.logits).map_err(MachineError::new)
    }

    fn seat(
        &mut self,
        slot: u32,
        pages: &[u32],
        tokens: u32,
        frontier: Option<&[u8]>,
    ) -> Result<(), MachineError> {
        let mut place = || {
            self.backend.clear_slot(slot)?;
            self.backend.set_pages(slot, pages)?;
            match frontier {
                Some(bytes) => self.backend.load_frontier(slot, tokens, bytes),
                None => Ok(()),
            }
        };
        place().map_err(MachineError::new)
    }

    fn set_pages(&mut self, slot: u32, pages: &[u32]) -> Result<(), MachineError> {
        let set = self.backend.set_pages(slot, pages);
        set.map_err(MachineError::new)
    }

    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), MachineError> {
        self.backend.copy_page(from, to).map_err(MachineError::new)
    }

    fn save_page(&mut self, page: u32, out: &mut [u8]) -> Result<(), MachineError> {
        self.backend.save_page(page, out).map_err(MachineError::new)
    }

    fn host_memory(&self) -> Option<HostMemory> {
        self.backend.host_memory()
    }

    fn load_page(&mut self, page: u32, bytes: &[u8]) -> Result<(), MachineError> {
        let load = self.backend.load_page(page, bytes);
        load.map_err(MachineError::new)
    }

    fn frontier(&mut self, slot: u32, tokens: u32) -> Result<Vec<u8>, MachineError> {
        let mut out = Vec::new();
        let save = self.backend.save_frontier(slot, tokens, &mut out);
        save.map(|()| out).map_err(MachineError::new)
    }
}
