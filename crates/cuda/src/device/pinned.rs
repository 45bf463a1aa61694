//! Memory of the host that stays where it is, so that the card copies to and from it by itself, as
//! fast as the link is.

use std::ffi::c_void;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use cudarc::driver::{result, sys};

use super::Device;
use crate::Error;

/// Pinned bytes, given back when dropped.
#[derive(Debug)]
pub(crate) struct Pinned {
    /// Keeps the context alive.
    device: Arc<Device>,
    begin: NonNull<u8>,
    bytes: usize,
}

// SAFETY: it owns its bytes, and the driver frees them on any thread.
unsafe impl Send for Pinned {}
// SAFETY: shared, it only gives its bytes to be read.
unsafe impl Sync for Pinned {}

impl Pinned {
    /// `bytes` bytes, all zero.
    pub(crate) fn new(device: &Arc<Device>, bytes: usize) -> Result<Self, Error> {
        device.bind()?;
        let flags = sys::CU_MEMHOSTALLOC_PORTABLE;
        // SAFETY: the context is bound.
        let address = unsafe { result::malloc_host(bytes.max(1), flags) };
        let address = address.map_err(Error::of("cuMemHostAlloc"))?;
        let begin = NonNull::new(address.cast::<u8>()).ok_or(Error::NoDriver)?;
        // SAFETY: that many bytes were just allocated.
        unsafe { begin.write_bytes(0, bytes) };
        Ok(Self {
            device: Arc::clone(device),
            begin,
            bytes,
        })
    }

    /// What `kept` holds if it has room for `bytes` bytes, and new bytes in its place if not.
    pub(crate) fn with_room<'a>(
        kept: &'a mut Option<Self>,
        device: &Arc<Device>,
        bytes: usize,
    ) -> Result<&'a mut Self, Error> {
        let pinned = match kept.take() {
            Some(pinned) if pinned.bytes >= bytes => pinned,
            _ => Self::new(device, bytes)?,
        };
        Ok(kept.insert(pinned))
    }

    /// The first `count` floats.
    pub(crate) fn floats(&mut self, count: usize) -> &mut [f32] {
        assert!(
            4 * count <= self.bytes,
            "{count} floats of {} bytes",
            self.bytes
        );
        // SAFETY: that many bytes were allocated, on a page's border, and any bytes are floats.
        unsafe { std::slice::from_raw_parts_mut(self.begin.as_ptr().cast(), count) }
    }
}

impl Deref for Pinned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: that many bytes were allocated, and zeroed.
        unsafe { std::slice::from_raw_parts(self.begin.as_ptr(), self.bytes) }
    }
}

impl DerefMut for Pinned {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; `self` is borrowed for as long.
        unsafe { std::slice::from_raw_parts_mut(self.begin.as_ptr(), self.bytes) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: allocated by `new`, freed once. Copies to and from it are waited for by whoever
            // asks for them.
            let _ = unsafe { result::free_host(self.begin.as_ptr().cast::<c_void>()) };
        }
    }
}
