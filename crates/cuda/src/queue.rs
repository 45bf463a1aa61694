//! Launches as data: what a step gives the card, written down before it runs, so that a step that
//! repeats an earlier one may be replayed as a graph.

use crate::device::{Arg, Kernel};

/// Most arguments of a kernel.
pub(crate) const MOST_ARGS: usize = 20;

/// One kernel to run over a grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) kernel: Kernel,
    pub(crate) grid: [u32; 3],
    /// Neighbours along x that are a cluster, if more than one.
    pub(crate) cluster: u32,
    pub(crate) block: [u32; 2],
    pub(crate) shared: u32,
    /// Where its arguments begin among the words of the list, and how many there are.
    first: u32,
    count: u32,
}

/// Launches in order, with their arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) launches: Vec<Launch>,
    /// Where each argument begins among the words.
    places: Vec<u32>,
    words: Vec<u64>,
}

impl List {
    pub(crate) fn push(
        &mut self,
        kernel: Kernel,
        (grid, cluster): ([u32; 3], u32),
        block: [u32; 2],
        shared: u32,
        args: &[&dyn Arg],
    ) {
        assert!(args.len() <= MOST_ARGS, "kernels take up to {MOST_ARGS}");
        let first = self.places.len() as u32;
        for arg in args {
            self.places.push(self.words.len() as u32);
            let start = self.words.len();
            let bytes = arg.bytes();
            self.words.resize(start + bytes.len().div_ceil(8), 0);
            for (word, part) in self.words[start..].iter_mut().zip(bytes.chunks(8)) {
                let mut padded = [0; 8];
                padded[..part.len()].copy_from_slice(part);
                *word = u64::from_ne_bytes(padded);
            }
        }
        self.launches.push(Launch {
            kernel,
            grid,
            cluster,
            block,
            shared,
            first,
            count: args.len() as u32,
        });
    }

    /// The arguments of a launch of this list, each from its first word on.
    pub(crate) fn args(&self, launch: &Launch) -> impl Iterator<Item = &[u64]> {
        let places = launch.first as usize..(launch.first + launch.count) as usize;
        self.places[places]
            .iter()
            .map(|&at| &self.words[at as usize..])
    }

    pub(crate) fn clear(&mut self) {
        self.launches.clear();
        self.places.clear();
        self.words.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.launches.is_empty()
    }
}
