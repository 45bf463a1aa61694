//! One card: its driver handles, its memory, launches. Everything unsafe of this crate is here.
//!
//! All work goes to one stream, so it runs in the order it was given and nothing else orders it.
//! Launches of a deferred step are written down first; a step that came before is replayed as a
//! graph, which costs the host one call.
//! Kernels get plain addresses; that they lie inside allocations is the duty of the operations,
//! whose sizes all come from the model's shape and from plans checked by `begin`.

mod pinned;

use std::ffi::{CStr, CString, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::{CudaContext, CudaStream, result, sys};

use crate::Error;
use crate::queue::{List, MOST_ARGS};
pub(crate) use pinned::Pinned;

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
}

/// Steps kept as graphs.
const GRAPHS: usize = 32;

/// Fewer launches than this are not worth a graph.
const WORTH: usize = 16;

/// What was launched and not yet given to the card.
#[derive(Default)]
struct Queue {
    deferred: bool,
    list: List,
    /// The list of the step before last that was not a graph: one that comes twice becomes one.
    last: List,
    /// Steps as graphs, the latest used first.
    graphs: Vec<(List, Graph)>,
    /// Time by kernel, while measured.
    profile: Option<Profile>,
}

/// A pair of events for each launch.
#[derive(Default)]
struct Profile {
    events: Vec<(sys::CUevent, sys::CUevent)>,
    kernels: Vec<Kernel>,
}

/// A step as the driver keeps it.
struct Graph(sys::CUgraphExec);

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: made by `capture`, destroyed once; the driver waits for a replay under way.
        let _ = unsafe { result::graph::exec_destroy(self.0) };
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // Fields go after this, the context among the first of them, and a graph must not outlive
        // the context it was made in.
        let _ = self.wait();
        self.queue().graphs.clear();
    }
}

/// Time spent in a kernel.
#[derive(Clone, Debug)]
pub struct Spent {
    /// The kernel.
    pub kernel: String,
    /// How often it ran.
    pub times: usize,
    /// Seconds in all.
    pub seconds: f64,
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
        let overlaps = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)? >= 9;
        Ok(Arc::new(Self {
            context,
            stream,
            module,
            queue: Mutex::default(),
            shared,
            processors,
            overlaps,
        }))
    }

    /// Bytes of shared memory that a block may ask for.
    pub(crate) fn shared(&self) -> u32 {
        self.shared
    }

    /// Its multiprocessors.
    pub(crate) fn processors(&self) -> u32 {
        self.processors
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

    /// The kernel of this name.
    pub(crate) fn kernel(&self, name: &str) -> Result<Kernel, Error> {
        self.bind()?;
        let name = CString::new(name).expect("names of kernels have no zeros");
        // SAFETY: the module stays loaded as long as this lives, and kernels do not outlive their
        // backend.
        let function = unsafe { result::module::get_function(self.module, name) };
        function
            .map(Kernel)
            .map_err(Error::of("cuModuleGetFunction"))
    }

    /// Allows a kernel more than 48 KiB of dynamic shared memory.
    pub(crate) fn allow_shared(&self, kernel: Kernel, bytes: u32) -> Result<(), Error> {
        let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        self.bind()?;
        // SAFETY: the function is of this module.
        unsafe { result::function::set_function_attribute(kernel.0, attribute, bytes as i32) }
            .map_err(Error::of("cuFuncSetAttribute"))
    }

    /// Gives the card a kernel to run over `grid` blocks of `block` threads; nothing for an empty
    /// grid.
    pub(crate) fn launch(
        &self,
        kernel: Kernel,
        grid: [u32; 3],
        block: [u32; 2],
        shared: u32,
        args: &[&dyn Arg],
    ) -> Result<(), Error> {
        if grid.contains(&0) {
            return Ok(());
        }
        let mut queue = self.queue();
        queue.list.push(kernel, grid, block, shared, args);
        if queue.deferred {
            return Ok(());
        }
        self.give(&mut queue)
    }

    /// From now on launches are written down until something needs their results, or given to the
    /// card at once.
    pub(crate) fn defer(&self, deferred: bool) -> Result<(), Error> {
        self.flush()?;
        self.queue().deferred = deferred;
        Ok(())
    }

    /// Gives the card what was written down, and binds the context.
    fn flush(&self) -> Result<(), Error> {
        self.give(&mut self.queue())
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, queue: &mut Queue) -> Result<(), Error> {
        self.bind()?;
        if queue.list.is_empty() {
            return Ok(());
        }
        let done = self.give_list(queue);
        queue.list.clear();
        done
    }

    fn give_list(&self, queue: &mut Queue) -> Result<(), Error> {
        let graphs =
            queue.deferred && queue.profile.is_none() && queue.list.launches.len() >= WORTH;
        if !graphs {
            return self.run(&queue.list, queue.profile.as_mut());
        }
        let known = queue
            .graphs
            .iter()
            .position(|(list, _)| *list == queue.list);
        if let Some(place) = known {
            queue.graphs[..=place].rotate_right(1);
        } else if queue.last == queue.list {
            let graph = self.capture(&queue.list)?;
            queue.graphs.truncate(GRAPHS - 1);
            queue.graphs.insert(0, (queue.list.clone(), graph));
        } else {
            queue.last.clone_from(&queue.list);
            return self.run(&queue.list, None);
        }
        // SAFETY: the graph lives as long as the queue, and its kernels as long as the module.
        unsafe { result::graph::launch(queue.graphs[0].1.0, self.stream.cu_stream()) }
            .map_err(Error::of("cuGraphLaunch"))
    }

    /// The launches of a list as a graph.
    fn capture(&self, list: &List) -> Result<Graph, Error> {
        let stream = self.stream.cu_stream();
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is ours, and nothing but launches follows until the end.
        unsafe { result::stream::begin_capture(stream, mode) }
            .map_err(Error::of("cuStreamBeginCapture"))?;
        let given = self.run(list, None);
        // SAFETY: as above.
        let graph = unsafe { result::stream::end_capture(stream) };
        given?;
        let graph = graph.map_err(Error::of("cuStreamEndCapture"))?;
        // SAFETY: the graph was just made.
        let exec = unsafe { result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0)) };
        // SAFETY: an instance does not need what it was made from.
        let _ = unsafe { result::graph::destroy(graph) };
        exec.map(Graph).map_err(Error::of("cuGraphInstantiate"))
    }

    fn run(&self, list: &List, mut profile: Option<&mut Profile>) -> Result<(), Error> {
        for launch in &list.launches {
            let mut addresses = [std::ptr::null_mut::<c_void>(); MOST_ARGS];
            for (address, arg) in addresses.iter_mut().zip(list.args(launch)) {
                *address = arg.as_ptr().cast_mut().cast();
            }
            let events = match profile.as_deref_mut() {
                Some(profile) => Some(self.begin_event(profile, launch.kernel)?),
                None => None,
            };
            self.launch_now(launch, &mut addresses)?;
            if let Some(end) = events {
                self.record(end)?;
            }
        }
        Ok(())
    }

    fn launch_now(
        &self,
        launch: &crate::queue::Launch,
        args: &mut [*mut c_void; MOST_ARGS],
    ) -> Result<(), Error> {
        let mut attribute = sys::CUlaunchAttribute {
            id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
            pad: [0; 4],
            value: sys::CUlaunchAttributeValue {
                programmaticStreamSerializationAllowed: 1,
            },
        };
        let config = sys::CUlaunchConfig {
            gridDimX: launch.grid[0],
            gridDimY: launch.grid[1],
            gridDimZ: launch.grid[2],
            blockDimX: launch.block[0],
            blockDimY: launch.block[1],
            blockDimZ: 1,
            sharedMemBytes: launch.shared,
            hStream: self.stream.cu_stream(),
            attrs: &raw mut attribute,
            numAttrs: u32::from(self.overlaps),
        };
        let (kernel, args) = (launch.kernel.0, args.as_mut_ptr());
        // SAFETY: the arguments are those of the kernel, as the operation that names both is
        // written; all pointers outlive the call, which copies what they point at.
        unsafe { sys::cuLaunchKernelEx(&raw const config, kernel, args, std::ptr::null_mut()) }
            .result()
            .map_err(Error::of("cuLaunchKernel"))
    }

    /// From now on the time of each kernel is measured, one by one.
    pub fn measure(&self) -> Result<(), Error> {
        self.wait()?;
        self.queue().profile = Some(Profile::default());
        Ok(())
    }

    /// Ends measuring: the time of each kernel, the longest first.
    pub fn measured(&self) -> Result<Vec<Spent>, Error> {
        self.wait()?;
        let Some(profile) = self.queue().profile.take() else {
            return Ok(Vec::new());
        };
        let mut all: Vec<Spent> = Vec::new();
        for (kernel, (begin, end)) in profile.kernels.iter().zip(&profile.events) {
            // SAFETY: both events were recorded and have passed.
            let ms = unsafe { result::event::elapsed(*begin, *end) }
                .map_err(Error::of("cuEventElapsedTime"))?;
            let name = kernel.name();
            let seconds = f64::from(ms) * 1e-3;
            match all.iter_mut().find(|spent| spent.kernel == name) {
                Some(spent) => {
                    spent.times += 1;
                    spent.seconds += seconds;
                }
                None => all.push(Spent {
                    kernel: name,
                    times: 1,
                    seconds,
                }),
            }
            for event in [*begin, *end] {
                // SAFETY: made by `begin_event`, destroyed once.
                let _ = unsafe { result::event::destroy(event) };
            }
        }
        all.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        Ok(all)
    }

    fn begin_event(&self, profile: &mut Profile, kernel: Kernel) -> Result<sys::CUevent, Error> {
        let event = || result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT);
        let begin = event().map_err(Error::of("cuEventCreate"))?;
        let end = event().map_err(Error::of("cuEventCreate"))?;
        profile.events.push((begin, end));
        profile.kernels.push(kernel);
        self.record(begin)?;
        Ok(end)
    }

    fn record(&self, event: sys::CUevent) -> Result<(), Error> {
        // SAFETY: event and stream are ours.
        unsafe { result::event::record(event, self.stream.cu_stream()) }
            .map_err(Error::of("cuEventRecord"))
    }
}

/// A kernel of a [`Device`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel(sys::CUfunction);

impl Kernel {
    fn name(self) -> String {
        let mut name = std::ptr::null();
        // SAFETY: the function is of a loaded module, whose names live as long.
        let known = unsafe { sys::cuFuncGetName(&raw mut name, self.0) }.result();
        if known.is_err() {
            return "a kernel".into();
        }
        // SAFETY: the driver gave a string with a zero at its end.
        unsafe { CStr::from_ptr(name) }.to_string_lossy().into()
    }
}

// SAFETY: a driver handle, see `Device`.
unsafe impl Send for Kernel {}
// SAFETY: as above.
unsafe impl Sync for Kernel {}

/// What a kernel takes: values laid out as in C.
pub(crate) trait Arg {
    fn bytes(&self) -> &[u8];
}

macro_rules! arg {
    ($($kind:ty),*) => {
        $(impl Arg for $kind {
            fn bytes(&self) -> &[u8] {
                // SAFETY: plain old data without padding, as `layout` checks.
                unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), size_of::<Self>()) }
            }
        })*
    };
}

arg!(
    u32,
    u64,
    f32,
    Ptr,
    crate::layout::Weight,
    crate::layout::Memory,
    crate::layout::Place,
    crate::layout::Parts,
    crate::layout::Inward
);

/// An address on the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Ptr(u64);

impl Ptr {
    /// No address.
    pub(crate) const NULL: Self = Self(0);

    /// The address `bytes` further.
    pub(crate) fn after(self, bytes: usize) -> Self {
        Self(self.0 + bytes as u64)
    }
}

/// Values that may be copied to and from the card as their bytes are.
///
/// # Safety
/// Plain old data: `repr(C)` without padding, and every bit pattern is a value.
pub(crate) unsafe trait Plain: Copy {}
// SAFETY: primitive numbers.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for f32 {}
// SAFETY: eight and four words of 32 bits.
unsafe impl Plain for crate::layout::Row {}
// SAFETY: as above.
unsafe impl Plain for crate::layout::Run {}
// SAFETY: two words of 32 bits.
unsafe impl Plain for crate::layout::Window {}

/// Bytes on the card, freed when dropped.
#[derive(Debug)]
pub(crate) struct Mem {
    device: Arc<Device>,
    ptr: Ptr,
    bytes: usize,
}

impl Mem {
    /// `bytes` bytes, all zero, for `what`.
    pub(crate) fn new(
        device: &Arc<Device>,
        what: &'static str,
        bytes: usize,
    ) -> Result<Self, Error> {
        let bytes = bytes.max(256);
        let (free, total) = device.memory()?;
        let refused = || Error::Memory {
            what,
            need: bytes,
            free,
            total,
        };
        if bytes > free {
            return Err(refused());
        }
        device.bind()?;
        // SAFETY: the context is bound.
        let address = unsafe { result::malloc_sync(bytes) }.map_err(|_| refused())?;
        let mem = Self {
            device: device.clone(),
            ptr: Ptr(address),
            bytes,
        };
        mem.fill(0)?;
        Ok(mem)
    }

    /// Room for `count` values.
    pub(crate) fn of<T: Plain>(
        device: &Arc<Device>,
        what: &'static str,
        count: usize,
    ) -> Result<Self, Error> {
        Self::new(device, what, count * size_of::<T>())
    }

    /// The address of the first byte.
    pub(crate) fn ptr(&self) -> Ptr {
        self.ptr
    }

    /// Sets every byte.
    pub(crate) fn fill(&self, byte: u8) -> Result<(), Error> {
        self.device.flush()?;
        let stream = self.device.stream.cu_stream();
        // SAFETY: these bytes are ours.
        unsafe { result::memset_d8_async(self.ptr.0, byte, self.bytes, stream) }
            .map_err(Error::of("cuMemsetD8Async"))
    }

    /// Copies `values` to byte `at`, after everything given before.
    pub(crate) fn write<T: Plain>(&self, at: usize, values: &[T]) -> Result<(), Error> {
        self.check(at, size_of_val(values));
        if values.is_empty() {
            return Ok(());
        }
        self.device.flush()?;
        let stream = self.device.stream.cu_stream();
        // SAFETY: the range was checked; pageable memory is read before the call returns, and who
        // gives memory that is not waits.
        unsafe { result::memcpy_htod_async(self.ptr.0 + at as u64, values, stream) }
            .map_err(Error::of("cuMemcpyHtoDAsync"))
    }

    /// Copies from byte `at` into `values`, and waits for it.
    pub(crate) fn read<T: Plain>(&self, at: usize, values: &mut [T]) -> Result<(), Error> {
        self.check(at, size_of_val(values));
        if values.is_empty() {
            return Ok(());
        }
        self.device.flush()?;
        let stream = self.device.stream.cu_stream();
        // SAFETY: the range was checked, and any bytes are values.
        unsafe { result::memcpy_dtoh_async(values, self.ptr.0 + at as u64, stream) }
            .map_err(Error::of("cuMemcpyDtoHAsync"))?;
        self.device.wait()
    }

    /// Copies bytes within.
    pub(crate) fn copy_within(&self, from: usize, to: usize, bytes: usize) -> Result<(), Error> {
        self.check(from, bytes);
        self.check(to, bytes);
        self.device.flush()?;
        let (stream, base) = (self.device.stream.cu_stream(), self.ptr.0);
        // SAFETY: the ranges were checked.
        unsafe { result::memcpy_dtod_async(base + to as u64, base + from as u64, bytes, stream) }
            .map_err(Error::of("cuMemcpyDtoDAsync"))
    }

    fn check(&self, at: usize, bytes: usize) {
        assert!(
            at.checked_add(bytes).is_some_and(|end| end <= self.bytes),
            "bytes {at}..+{bytes} of {}",
            self.bytes
        );
    }
}

impl Drop for Mem {
    fn drop(&mut self) {
        if self.device.flush().is_ok() {
            // SAFETY: allocated by `new`, freed once. The driver waits for work that may still use
            // it; a failure here was reported by that work.
            let _ = unsafe { result::free_sync(self.ptr.0) };
        }
    }
}
