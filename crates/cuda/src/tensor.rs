//! Weights on the card.

use std::sync::Arc;

use ds4_gguf::Format;

use crate::device::{Mem, Ptr};
use crate::{Error, layout};

/// A weight on the card. Cloning costs a reference count.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub(crate) format: Format,
    pub(crate) cols: usize,
    pub(crate) rows: usize,
    /// Of all slabs.
    pub(crate) values: usize,
    /// Whether activations must keep more than eleven bits: choices depend on its products.
    pub(crate) fine: bool,
    /// Where the plane of the rest begins.
    pub(crate) head: usize,
    pub(crate) mem: Arc<Mem>,
    /// The magnitudes that codes of IQ2_XXS name.
    pub(crate) grid: Arc<Mem>,
}

impl Tensor {
    /// As kernels take it.
    pub(crate) fn weight(&self) -> layout::Weight {
        layout::Weight {
            body: self.mem.ptr(),
            head: self.mem.ptr().after(self.head),
            grid: self.grid.ptr(),
            cols: self.cols as u32,
            rows: self.rows as u32,
        }
    }

    /// As it lies on the card: codes, then the rest, or all there is of plain values. Tests compare
    /// it.
    pub fn planes(&self) -> Result<Vec<Vec<u8>>, Error> {
        let values = self.values / self.format.block_values();
        let lengths = match Planes::of(self.format) {
            Some(planes) => vec![(0, planes.codes), (self.head, planes.rest)],
            None => vec![(0, self.format.block_bytes())],
        };
        let read = |(from, bytes)| {
            let mut plane = vec![0u8; values * bytes];
            self.mem.read(from, &mut plane)?;
            Ok(plane)
        };
        lengths.into_iter().map(read).collect()
    }

    /// Where its plain values begin: those of a vector or a table of integers.
    pub(crate) fn plain(&self) -> Ptr {
        debug_assert!(matches!(self.format, Format::F32 | Format::I32));
        self.mem.ptr()
    }
}

/// How the card has a block: the bytes of its codes, where they begin in a file's block, and the
/// bytes of the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planes {
    pub(crate) codes: usize,
    pub(crate) from: usize,
    pub(crate) rest: usize,
}

impl Planes {
    /// `None` for plain values, which lie as they are.
    pub(crate) fn of(format: Format) -> Option<Self> {
        let (from, codes) = match format {
            Format::Q8_0 => (2, 32),
            Format::Q2K => (16, 64),
            Format::Q4K => (16, 128),
            Format::Iq2Xxs => (2, 64),
            Format::Mxfp4 => (1, 16),
            _ => return None,
        };
        // With all signs, see `load.cu`, there is no room for scales among the codes.
        let more = if format == Format::Iq2Xxs { 6 } else { 0 };
        Some(Self {
            codes,
            from,
            rest: format.block_bytes() - codes + more,
        })
    }

    /// Bytes of all codes of so many blocks: where the rest begins.
    pub(crate) fn head(self, blocks: usize) -> usize {
        (blocks * self.codes).next_multiple_of(256)
    }
}

/// Bytes that a tensor takes on the card.
pub(crate) fn card_bytes(path: &str, tensor: &ds4_model::Tensor) -> usize {
    let bytes = tensor.bytes().len();
    if is_floats(path) {
        return 4 * tensor.columns * tensor.rows * tensor.slabs;
    }
    Planes::of(tensor.format).map_or(bytes, |planes| {
        let blocks = bytes / tensor.format.block_bytes();
        planes.head(blocks) + blocks * planes.rest
    })
}

/// Tensors whose every value kernels read as a float: vectors, and the position biases of
/// compressors.
pub(crate) fn is_floats(path: &str) -> bool {
    let field = path.rsplit('.').next().unwrap_or(path);
    field.ends_with("norm") || ["base", "scale", "sinks", "ape", "bias"].contains(&field)
}
