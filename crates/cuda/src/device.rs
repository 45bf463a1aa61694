//! One card: its driver handles, its memory, launches. Everything unsafe of this crate is here.
//!
//! All work goes to one stream, so it runs in the order it was given and nothing else orders it.
//! Kernels get plain addresses; that they lie inside allocations is the duty of the operations,
//! whose sizes all come from the model's shape and from plans checked by `begin`.

use std::ffi::{CString, c_void};
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, result, sys};

use crate::Error;

/// The embedded kernels; empty when nvcc was not found.
static FATBIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ds4.fatbin"));

/// A card with the kernels on it.
pub struct Device {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    module: sys::CUmodule,
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
        Ok(Arc::new(Self {
            context,
            stream,
            module,
        }))
    }

    /// What the card is called.
    pub fn name(&self) -> Result<String, Error> {
        self.context.name().map_err(Error::of("cuDeviceGetName"))
    }

    /// Bytes free and bytes there are.
    pub fn memory(&self) -> Result<(usize, usize), Error> {
        self.context
            .mem_get_info()
            .map_err(Error::of("cuMemGetInfo"))
    }

    /// Waits until everything given so far is done.
    pub fn wait(&self) -> Result<(), Error> {
        self.bind()?;
        self.stream.synchronize().map_err(Error::of("a kernel"))
    }

    fn bind(&self) -> Result<(), Error> {
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
        self.bind()?;
        let mut addresses = [std::ptr::null_mut(); 16];
        for (address, arg) in addresses.iter_mut().zip(args) {
            *address = arg.address();
        }
        // SAFETY: the arguments are those of the kernel, as the operation that names both is
        // written.
        unsafe {
            result::launch_kernel(
                kernel.0,
                grid.into(),
                (block[0], block[1], 1),
                shared,
                self.stream.cu_stream(),
                &mut addresses[..args.len()],
            )
        }
        .map_err(Error::of("cuLaunchKernel"))
    }
}

/// A kernel of a [`Device`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel(sys::CUfunction);

// SAFETY: a driver handle, see `Device`.
unsafe impl Send for Kernel {}
// SAFETY: as above.
unsafe impl Sync for Kernel {}

/// What a kernel takes: values laid out as in C.
pub(crate) trait Arg {
    fn address(&self) -> *mut c_void;
}

macro_rules! arg {
    ($($kind:ty),*) => {
        $(impl Arg for $kind {
            fn address(&self) -> *mut c_void {
                std::ptr::from_ref(self).cast_mut().cast()
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
    crate::layout::Place
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
        self.device.bind()?;
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
        self.device.bind()?;
        let stream = self.device.stream.cu_stream();
        // SAFETY: the range was checked; pageable memory is read before the call returns.
        unsafe { result::memcpy_htod_async(self.ptr.0 + at as u64, values, stream) }
            .map_err(Error::of("cuMemcpyHtoDAsync"))
    }

    /// Copies from byte `at` into `values`, and waits for it.
    pub(crate) fn read<T: Plain>(&self, at: usize, values: &mut [T]) -> Result<(), Error> {
        self.check(at, size_of_val(values));
        if values.is_empty() {
            return Ok(());
        }
        self.device.bind()?;
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
        self.device.bind()?;
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
        if self.device.bind().is_ok() {
            // SAFETY: allocated by `new`, freed once. The driver waits for work that may still use
            // it; a failure here was reported by that work.
            let _ = unsafe { result::free_sync(self.ptr.0) };
        }
    }
}
