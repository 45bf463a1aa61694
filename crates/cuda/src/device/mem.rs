//! Memory of the card.

use std::sync::Arc;

use cudarc::driver::result;

use super::Device;
use crate::Error;

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

impl Device {
    /// Copies pinned bytes to an address, after everything given before; they must stay until that is
    /// done.
    pub(crate) fn copy_in(&self, to: Ptr, bytes: &[u8]) -> Result<(), Error> {
        self.flush()?;
        // SAFETY: whoever has the address has room there, as for kernels.
        unsafe { result::memcpy_htod_async(to.0, bytes, self.stream.cu_stream()) }
            .map_err(Error::of("cuMemcpyHtoDAsync"))
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
