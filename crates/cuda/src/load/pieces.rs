//! Pieces of weights: where bytes come from and how they lie on the card.

use ds4_gguf::{Format, Payload};

use crate::Error;
use crate::device::{Device, Kernel, Mem, Pinned, Ptr};
use crate::tensor::Planes;

/// Whole blocks of a tensor.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Payload,
    pub(super) repack: Repack,
}

/// Where they go.
#[derive(Debug)]
pub(super) enum Repack {
    /// There, as they are.
    Plain(Ptr),
    /// Their codes there, the rest elsewhere.
    Planes {
        kernel: Kernel,
        body: Ptr,
        rest: Ptr,
        format: Format,
        planes: Planes,
    },
}

impl Piece {
    /// Gives the card its copy out of `pinned`, which has its bytes, and its kernel. Both wait to be
    /// done.
    pub(super) fn give(&self, device: &Device, pinned: &Pinned, stage: &Mem) -> Result<(), Error> {
        let bytes = &pinned[..self.bytes.len()];
        match self.repack {
            Repack::Plain(to) => device.copy_in(to, bytes),
            Repack::Planes {
                kernel,
                body,
                rest,
                format,
                planes,
            } => {
                stage.write(0, bytes)?;
                let block = format.block_bytes();
                let (stage, count) = (stage.ptr(), (bytes.len() / block) as u64);
                if format == Format::Iq2Xxs {
                    let groups = 8 * bytes.len() / block;
                    return device.launch(
                        kernel,
                        [groups.div_ceil(256) as u32, 1, 1],
                        [256, 1],
                        0,
                        &[&body, &rest, &stage, &count],
                    );
                }
                device.launch(
                    kernel,
                    [bytes.len().div_ceil(256) as u32, 1, 1],
                    [256, 1],
                    0,
                    &[
                        &body,
                        &rest,
                        &stage,
                        &count,
                        &(block as u32),
                        &(planes.from as u32),
                        &(planes.codes as u32),
                    ],
                )
            }
        }
    }
}
