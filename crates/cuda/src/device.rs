//! One card: its driver handles, its memory, launches. Everything unsafe of this crate is here.
//!
//! All work goes to one stream, so it runs in the order it was given and nothing else orders it.
//! Launches of a deferred step are written down first; a step that came before is replayed as a
//! graph, which costs the host one call.
//! Kernels get plain addresses; that they lie inside allocations is the duty of the operations,
//! whose sizes all come from the model's shape and from plans checked by `begin`.

mod kernel;
mod mark;
mod mem;
mod pinned;
mod profile;
mod queue;

use std::sync::{Arc, Mutex};

use cudarc::driver::{CudaContext, CudaStream, result, sys};

use crate::Error;
pub(crate) use kernel::{Arg, Kernel};
pub(crate) use mark::Mark;
pub(crate) use mem::{Mem, Ptr};
pub(crate) use pinned::Pinned;
pub use profile::Spent;
use queue::Queue;

/// The embedded kernels; empty when nvcc was not found.
static FATBIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ds4.fatbin"));

/// A card with the kernels on it.
pub struct Device {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    module: sys::CUmodule,
    queue: Mutex<Queue>,
    /// Bytes of shared memory that a block may ask for.
    shared: u32,
    processors: u32,
    /// Whether kernels may begin while the one before them ends; all of them wait by themselves
    /// before they touch its results.
    overlaps: bool,
    /// Most blocks of a cluster; one where there are no clusters.
    cluster: u32,
    /// Whether kernels for Hopper's warp groups are the ones that run.
    by_warp_groups: bool,
}

impl Drop for Device {
    fn drop(&mut self) {
        // Fields go after this, the context among the first of them, and a graph must not outlive
        // the context it was made in.
        let _ = self.wait();
        self.queue().graphs.clear();
    }
}

// SAFETY: driver handles may be used from any thread; every call binds the context to its thread
// first.
unsafe impl Send for Device {}
// SAFETY: as above, and the driver locks what it shares.
unsafe impl Sync for Device {}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").finish_non_exhaustive()
    }
}

impl Device {
    /// Opens card `ordinal`, or says why there is none.
    pub fn open(ordinal: usize) -> Result<Arc<Self>, Error> {
        // SAFETY: looks for the library and its symbols, nothing more.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::NoDriver);
        }
        let cards = CudaContext::device_count().map_err(Error::of("cuDeviceGetCount"))? as usize;
        if ordinal >= cards {
            return Err(Error::NoCard { ordinal, cards });
        }
        if FATBIN.is_empty() {
            return Err(Error::NoKernels);
        }
        let context = CudaContext::new(ordinal).map_err(Error::of("cuDevicePrimaryCtxRetain"))?;
        let stream = context.new_stream().map_err(Error::of("cuStreamCreate"))?;
        // SAFETY: the image is a whole fatbin, as nvcc wrote it.
        let module = unsafe { result::module::load_data(FATBIN.as_ptr().cast()) }
            .map_err(Error::of("cuModuleLoadData"))?;
        let attribute = |attribute| {
            let value = context.attribute(attribute);
            value.map_err(Error::of("cuDeviceGetAttribute"))
        };
        use sys::CUdevice_attribute as Attribute;
        let shared =
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)? as u32;
        let processors = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as u32;
        // A card that could do more may have been given code for older ones, compiled by its driver.
        let made_for = kernel::made_for(module)?;
        let overlaps = made_for >= 90;
        // Eight everywhere; the large cards allow more to kernels that ask for it.
        let cluster = match made_for {
            ..90 => 1,
            90..110 => 16,
            _ => 8,
        };
        Ok(Arc::new(Self {
            context,
            stream,
            module,
            queue: Mutex::default(),
            shared,
            processors,
            overlaps,
            cluster,
            by_warp_groups: made_for == 90,
        }))
    }

    /// Bytes of shared memory that a block may ask for.
    pub(crate) fn shared(&self) -> u32 {
        self.shared
    }

    /// Whether four warps multiply as one.
    pub(crate) fn by_warp_groups(&self) -> bool {
        self.by_warp_groups
    }

    /// Its multiprocessors.
    pub(crate) fn processors(&self) -> u32 {
        self.processors
    }

    /// Most blocks of a cluster; one where there are no clusters.
    pub(crate) fn cluster(&self) -> u32 {
        self.cluster
    }

    /// What the card is called.
    pub fn name(&self) -> Result<String, Error> {
        self.context.name().map_err(Error::of("cuDeviceGetName"))
    }

    /// Its compute capability: major, minor.
    pub fn capability(&self) -> Result<(i32, i32), Error> {
        let capability = self.context.compute_capability();
        capability.map_err(Error::of("cuDeviceGetAttribute"))
    }

    /// The newest CUDA that the driver knows: major, minor.
    pub fn driver_cuda(&self) -> Result<(i32, i32), Error> {
        let mut version = 0;
        // SAFETY: writes one number.
        let got = unsafe { sys::cuDriverGetVersion(&raw mut version) }.result();
        got.map_err(Error::of("cuDriverGetVersion"))?;
        Ok((version / 1000, version % 1000 / 10))
    }

    /// Bytes free and bytes there are.
    pub fn memory(&self) -> Result<(usize, usize), Error> {
        self.context
            .mem_get_info()
            .map_err(Error::of("cuMemGetInfo"))
    }

    /// Waits until everything given so far is done.
    pub fn wait(&self) -> Result<(), Error> {
        self.flush()?;
        self.stream.synchronize().map_err(Error::of("a kernel"))
    }

    pub(crate) fn bind(&self) -> Result<(), Error> {
        self.context
            .bind_to_thread()
            .map_err(Error::of("cuCtxSetCurrent"))
    }
}
