//! Weights on the card, and their way there.

use std::ops::ControlFlow;
use std::sync::Arc;

use ds4_gguf::block::iq2_xxs::grid::MAGNITUDES;
use ds4_gguf::{Format, block};
use ds4_model::Weights;

use crate::device::{Device, Kernel, Mem, Ptr};
use crate::{Error, layout};

/// A weight on the card. Cloning costs a reference count.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub(crate) format: Format,
    pub(crate) cols: usize,
    pub(crate) rows: usize,
    /// Whether activations must keep more than eleven bits: choices depend on its products.
    pub(crate) fine: bool,
    head: usize,
    mem: Arc<Mem>,
    grid: Arc<Mem>,
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

    /// Where its plain values begin: those of a vector or a table of integers.
    pub(crate) fn plain(&self) -> Ptr {
        debug_assert!(matches!(self.format, Format::F32 | Format::I32));
        self.mem.ptr()
    }
}

/// How the card has a block: the bytes of its codes, where they begin in a file's block, and the
/// bytes of the rest.
#[derive(Clone, Copy, Debug)]
struct Planes {
    codes: usize,
    from: usize,
    rest: usize,
}

impl Planes {
    /// `None` for plain values, which lie as they are.
    fn of(format: Format) -> Option<Self> {
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
    fn head(self, blocks: usize) -> usize {
        (blocks * self.codes).next_multiple_of(256)
    }
}

/// Bytes that a tensor takes on the card.
fn card_bytes(tensor: &ds4_model::Tensor) -> usize {
    let bytes = tensor.bytes().len();
    Planes::of(tensor.format).map_or(bytes, |planes| {
        let blocks = bytes / tensor.format.block_bytes();
        planes.head(blocks) + blocks * planes.rest
    })
}

/// Tensors whose every value kernels read as a float: vectors, and the position biases of
/// compressors.
fn is_floats(path: &str) -> bool {
    let field = path.rsplit('.').next().unwrap_or(path);
    field.ends_with("norm") || ["base", "scale", "sinks", "ape", "bias"].contains(&field)
}

/// Bytes copied at a time; whole blocks of every format.
const STAGE_BYTES: usize = 32 * 1024 * 1024;

/// Puts weights on a card.
#[derive(Debug)]
pub(crate) struct Loader {
    device: Arc<Device>,
    split: Kernel,
    split_iq2_xxs: Kernel,
    grid: Arc<Mem>,
    stage: Mem,
}

impl Loader {
    pub(crate) fn new(device: &Arc<Device>) -> Result<Self, Error> {
        let grid = Mem::new(device, "tables", size_of_val(&MAGNITUDES))?;
        grid.write(0, MAGNITUDES.as_flattened())?;
        Ok(Self {
            device: device.clone(),
            split: device.kernel("split_planes")?,
            split_iq2_xxs: device.kernel("split_iq2_xxs")?,
            grid: Arc::new(grid),
            stage: Mem::new(device, "staging", STAGE_BYTES)?,
        })
    }

    /// All weights of a model, or the two numbers of a card that is too small.
    pub(crate) fn load(
        &self,
        weights: &Weights<ds4_model::Tensor>,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Weights<Tensor>, Error> {
        let (mut need, mut all, mut done) = (0, 0, 0);
        weights.for_each(|_, tensor| {
            need += card_bytes(tensor) + 512;
            all += tensor.bytes().len() as u64;
        });
        let (free, total) = self.device.memory()?;
        if need > free {
            return Err(Error::Memory {
                what: "weights",
                need,
                free,
                total,
            });
        }
        weights.try_map(|path, tensor| {
            let loaded = self.tensor(path, tensor)?;
            done += tensor.bytes().len() as u64;
            match progress(done, all) {
                ControlFlow::Continue(()) => Ok(loaded),
                ControlFlow::Break(()) => Err(Error::Interrupted),
            }
        })
    }

    /// One tensor of the model, named by its path.
    pub(crate) fn tensor(&self, path: &str, tensor: &ds4_model::Tensor) -> Result<Tensor, Error> {
        Ok(Tensor {
            fine: path.ends_with("moe.gate"),
            ..self.copy(path, tensor)?
        })
    }

    fn copy(&self, path: &str, tensor: &ds4_model::Tensor) -> Result<Tensor, Error> {
        if is_floats(path) && tensor.format != Format::F32 {
            let mut values = vec![0.0f32; tensor.columns * tensor.rows * tensor.slabs];
            block::decode(tensor.format, tensor.bytes(), &mut values)
                .expect("binding checked format and size");
            let mem = Mem::of::<f32>(&self.device, "weights", values.len())?;
            mem.write(0, &values)?;
            return Ok(self.handle(tensor, Format::F32, mem, 0));
        }
        let block_bytes = tensor.format.block_bytes();
        let bytes = tensor.bytes();
        let is_matrix = tensor.format.is_weight() && !is_floats(path);
        if is_matrix && !tensor.columns.is_multiple_of(32) {
            return Err(Error::Format {
                tensor: tensor.name.clone(),
                format: tensor.format,
                columns: tensor.columns,
            });
        }
        let mem = Mem::new(&self.device, "weights", card_bytes(tensor))?;
        let Some(planes) = Planes::of(tensor.format) else {
            mem.write(0, bytes)?;
            return Ok(self.handle(tensor, tensor.format, mem, 0));
        };
        let head = planes.head(bytes.len() / block_bytes);
        let at_once = STAGE_BYTES / block_bytes;
        for (number, part) in bytes.chunks(at_once * block_bytes).enumerate() {
            self.stage.write(0, part)?;
            let first = number * at_once;
            let body = mem.ptr().after(first * planes.codes);
            let rest = mem.ptr().after(head + first * planes.rest);
            let (stage, count) = (self.stage.ptr(), (part.len() / block_bytes) as u64);
            if tensor.format == Format::Iq2Xxs {
                let groups = 8 * part.len() / block_bytes;
                self.device.launch(
                    self.split_iq2_xxs,
                    [groups.div_ceil(256) as u32, 1, 1],
                    [256, 1],
                    0,
                    &[&body, &rest, &stage, &count],
                )?;
                continue;
            }
            self.device.launch(
                self.split,
                [part.len().div_ceil(256) as u32, 1, 1],
                [256, 1],
                0,
                &[
                    &body,
                    &rest,
                    &stage,
                    &count,
                    &(block_bytes as u32),
                    &(planes.from as u32),
                    &(planes.codes as u32),
                ],
            )?;
        }
        Ok(self.handle(tensor, tensor.format, mem, head))
    }

    fn handle(&self, tensor: &ds4_model::Tensor, format: Format, mem: Mem, head: usize) -> Tensor {
        Tensor {
            format,
            cols: tensor.columns,
            rows: tensor.rows,
            fine: false,
            head,
            mem: Arc::new(mem),
            grid: self.grid.clone(),
        }
    }
}
