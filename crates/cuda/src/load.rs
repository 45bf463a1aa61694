//! Weights on their way to the card.
//!
//! A model is cut into pieces. Several threads take them one after the other: each reads its piece
//! into pinned memory, from which the card copies by itself, and asks for the copy and for the kernel
//! that repacks it. So disk or memory, link and card work at the same time, and a page that is no
//! longer there is met by a thread of ours, for which `ds4_gguf` knows what to do, not by the
//! driver.

mod pieces;
mod readers;

use std::ops::ControlFlow;
use std::sync::Arc;

use ds4_gguf::block::iq2_xxs::grid::MAGNITUDES;
use ds4_gguf::{Format, block};
use ds4_model::Weights;

use self::pieces::{Piece, Repack};
use self::readers::{IN_FLIGHT, STAGE_BYTES, send};
use crate::Error;
use crate::device::{Device, Kernel, Mem};
use crate::room::taken;
use crate::tensor::{Planes, Tensor, card_bytes, is_floats};

/// Puts weights on a card.
#[derive(Debug)]
pub(crate) struct Loader {
    device: Arc<Device>,
    split: Kernel,
    split_iq2_xxs: Kernel,
    grid: Arc<Mem>,
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
        })
    }

    /// Bytes that a model's weights take on the card, on their way too.
    pub(crate) fn needs(weights: &Weights<ds4_model::Tensor>) -> usize {
        let mut bytes = IN_FLIGHT;
        weights.for_each(|path, tensor| bytes += taken(card_bytes(path, tensor)));
        bytes
    }

    /// All weights of a model.
    pub(crate) fn load(
        &self,
        weights: &Weights<ds4_model::Tensor>,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Weights<Tensor>, Error> {
        let mut pieces = Vec::new();
        let loaded = weights.try_map(|path, tensor| self.place(path, tensor, &mut pieces))?;
        send(&self.device, &pieces, progress)?;
        Ok(loaded)
    }

    /// One tensor of the model, named by its path.
    pub(crate) fn tensor(&self, path: &str, tensor: &ds4_model::Tensor) -> Result<Tensor, Error> {
        let mut pieces = Vec::new();
        let placed = self.place(path, tensor, &mut pieces)?;
        send(&self.device, &pieces, &mut |_, _| ControlFlow::Continue(()))?;
        Ok(placed)
    }

    /// Room for a tensor, and the pieces that fill it. Small ones are filled at once.
    fn place(
        &self,
        path: &str,
        tensor: &ds4_model::Tensor,
        pieces: &mut Vec<Piece>,
    ) -> Result<Tensor, Error> {
        let bytes = tensor.bytes().len();
        let placed = |format, head, mem| Tensor {
            format,
            cols: tensor.columns,
            rows: tensor.rows,
            values: tensor.columns * tensor.rows * tensor.slabs,
            fine: path.ends_with("moe.gate"),
            head,
            mem: Arc::new(mem),
            grid: self.grid.clone(),
        };
        if is_floats(path) && tensor.format != Format::F32 {
            let mut values = vec![0.0f32; tensor.columns * tensor.rows * tensor.slabs];
            block::decode(tensor.format, tensor.bytes(), &mut values)
                .expect("binding checked format and size");
            let mem = Mem::of::<f32>(&self.device, "weights", values.len())?;
            mem.write(0, &values)?;
            return Ok(placed(Format::F32, 0, mem));
        }
        let is_matrix = tensor.format.is_weight() && !is_floats(path);
        if is_matrix && !tensor.columns.is_multiple_of(32) {
            return Err(Error::Format {
                tensor: tensor.name.clone(),
                format: tensor.format,
                columns: tensor.columns,
            });
        }
        let mem = Mem::new(&self.device, "weights", card_bytes(path, tensor))?;
        let block_bytes = tensor.format.block_bytes();
        let planes = Planes::of(tensor.format);
        let head = planes.map_or(0, |planes| planes.head(bytes / block_bytes));
        let at_once = STAGE_BYTES / block_bytes * block_bytes;
        for start in (0..bytes).step_by(at_once) {
            let end = bytes.min(start + at_once);
            let first = start / block_bytes;
            let repack = match planes {
                None => Repack::Plain(mem.ptr().after(start)),
                Some(planes) => Repack::Planes {
                    kernel: match tensor.format {
                        Format::Iq2Xxs => self.split_iq2_xxs,
                        _ => self.split,
                    },
                    body: mem.ptr().after(first * planes.codes),
                    rest: mem.ptr().after(head + first * planes.rest),
                    format: tensor.format,
                    planes,
                },
            };
            pieces.push(Piece {
                bytes: tensor.payload().slice(start..end),
                repack,
            });
        }
        Ok(placed(tensor.format, head, mem))
    }
}
