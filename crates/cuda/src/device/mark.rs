//! A place in the stream that the host can wait for.

use std::sync::Arc;

use cudarc::driver::{result, sys};

use super::Device;
use crate::Error;

/// An event: passed once everything given before [`Mark::set`] is done.
#[derive(Debug)]
pub(crate) struct Mark {
    device: Arc<Device>,
    event: sys::CUevent,
}

// SAFETY: a driver handle, see `Device`.
unsafe impl Send for Mark {}

impl Mark {
    /// A mark that is passed.
    pub(crate) fn new(device: &Arc<Device>) -> Result<Self, Error> {
        device.bind()?;
        // Who waits sleeps, since others may want its core.
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC);
        Ok(Self {
            device: Arc::clone(device),
            event: event.map_err(Error::of("cuEventCreate"))?,
        })
    }

    /// Puts it behind everything given so far.
    pub(crate) fn set(&self) -> Result<(), Error> {
        self.device.flush()?;
        self.device.record(self.event)
    }

    /// Waits until it is passed.
    pub(crate) fn wait(&self) -> Result<(), Error> {
        self.device.bind()?;
        // SAFETY: the event is ours.
        unsafe { result::event::synchronize(self.event) }.map_err(Error::of("a copy"))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: made by `new`, destroyed once; the driver waits for what is under way.
            let _ = unsafe { result::event::destroy(self.event) };
        }
    }
}
