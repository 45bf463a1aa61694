//! Time by kernel: a pair of events around each launch, while it is measured.

use cudarc::driver::{result, sys};

use super::{Device, Kernel};
use crate::Error;

/// A pair of events for each launch.
#[derive(Default)]
pub(super) struct Profile {
    events: Vec<(sys::CUevent, sys::CUevent)>,
    kernels: Vec<Kernel>,
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

impl Device {
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

    pub(super) fn begin_event(
        &self,
        profile: &mut Profile,
        kernel: Kernel,
    ) -> Result<sys::CUevent, Error> {
        let event = || result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT);
        let begin = event().map_err(Error::of("cuEventCreate"))?;
        let end = event().map_err(Error::of("cuEventCreate"))?;
        profile.events.push((begin, end));
        profile.kernels.push(kernel);
        self.record(begin)?;
        Ok(end)
    }

    pub(super) fn record(&self, event: sys::CUevent) -> Result<(), Error> {
        // SAFETY: event and stream are ours.
        unsafe { result::event::record(event, self.stream.cu_stream()) }
            .map_err(Error::of("cuEventRecord"))
    }
}
