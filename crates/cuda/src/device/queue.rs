//! What the card is given to do: launches one by one, or written down and replayed as a graph.

use std::ffi::c_void;
use std::sync::{MutexGuard, PoisonError};

use cudarc::driver::{result, sys};

use super::profile::Profile;
use super::{Arg, Device, Kernel};
use crate::Error;
use crate::queue::{Launch, List, MOST_ARGS};

/// Steps kept as graphs.
const GRAPHS: usize = 32;

/// Fewer launches than this are not worth a graph.
const WORTH: usize = 16;

/// What was launched and not yet given to the card.
#[derive(Default)]
pub(super) struct Queue {
    deferred: bool,
    list: List,
    /// The list of the step before last that was not a graph: one that comes twice becomes one.
    last: List,
    /// Steps as graphs, the latest used first.
    pub(super) graphs: Vec<(List, Graph)>,
    /// Time by kernel, while measured.
    pub(super) profile: Option<Profile>,
}

/// A step as the driver keeps it.
pub(super) struct Graph(sys::CUgraphExec);

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: made by `capture`, destroyed once; the driver waits for a replay under way.
        let _ = unsafe { result::graph::exec_destroy(self.0) };
    }
}

impl Device {
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
        self.launch_clusters(kernel, (grid, 1), block, shared, args)
    }

    /// The same for clusters of so many blocks along x.
    pub(crate) fn launch_clusters(
        &self,
        kernel: Kernel,
        (grid, cluster): ([u32; 3], u32),
        block: [u32; 2],
        shared: u32,
        args: &[&dyn Arg],
    ) -> Result<(), Error> {
        if grid.contains(&0) {
            return Ok(());
        }
        let mut queue = self.queue();
        queue
            .list
            .push(kernel, (grid, cluster), block, shared, args);
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
    pub(super) fn flush(&self) -> Result<(), Error> {
        self.give(&mut self.queue())
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
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
        launch: &Launch,
        args: &mut [*mut c_void; MOST_ARGS],
    ) -> Result<(), Error> {
        let attribute = |id, value| sys::CUlaunchAttribute {
            id,
            pad: [0; 4],
            value,
        };
        use sys::CUlaunchAttributeID as Id;
        let overlap = sys::CUlaunchAttributeValue {
            programmaticStreamSerializationAllowed: 1,
        };
        let [x, y, z] = [launch.cluster, 1, 1];
        let cluster = sys::CUlaunchAttributeValue {
            clusterDim: sys::CUlaunchAttributeValue_union__bindgen_ty_1 { x, y, z },
        };
        let mut attributes = [
            attribute(
                Id::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
                overlap,
            ),
            attribute(Id::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, cluster),
        ];
        // Only cards where kernels overlap have clusters.
        let count = u32::from(self.overlaps) + u32::from(launch.cluster > 1);
        let config = sys::CUlaunchConfig {
            gridDimX: launch.grid[0],
            gridDimY: launch.grid[1],
            gridDimZ: launch.grid[2],
            blockDimX: launch.block[0],
            blockDimY: launch.block[1],
            blockDimZ: 1,
            sharedMemBytes: launch.shared,
            hStream: self.stream.cu_stream(),
            attrs: attributes.as_mut_ptr(),
            numAttrs: count,
        };
        let (kernel, args) = (launch.kernel.0, args.as_mut_ptr());
        // SAFETY: the arguments are those of the kernel, as the operation that names both is
        // written; all pointers outlive the call, which copies what they point at.
        unsafe { sys::cuLaunchKernelEx(&raw const config, kernel, args, std::ptr::null_mut()) }
            .result()
            .map_err(Error::of("cuLaunchKernel"))
    }
}
