//! Products of few rows with weights that are codes or binary16.

use std::sync::Arc;

use ds4_gguf::Format;

use crate::coded::natural_bytes;
use crate::device::{Device, Kernel};
use crate::layout::Part;
use crate::narrow::{Product, WARPS};
use crate::{Cuda, Error};

/// A kernel of `dense.cu`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dense {
    kernel: Kernel,
    /// Rows that it carries.
    tokens: usize,
    /// Bytes of shared memory: the rings of all warps.
    shared: u32,
}

/// Windows that a warp should have at least, before a row is cut into more slices.
const WORTH: usize = 4;

impl Dense {
    /// All that fit the card, for more and more rows.
    pub(crate) fn all(device: &Arc<Device>) -> Result<Vec<Self>, Error> {
        let mut all = Vec::new();
        for (tokens, depth) in [(1, 4), (2, 3), (4, 3), (8, 2), (16, 2), (32, 2), (64, 2)] {
            let shared = (WARPS * depth * (16 * 128 + 128 + 160 * tokens)) as u32;
            if shared > device.shared() {
                break;
            }
            let kernel = device.kernel(&format!("dense_{tokens}"))?;
            device.allow_shared(kernel, shared)?;
            all.push(Self {
                kernel,
                tokens,
                shared,
            });
        }
        Ok(all)
    }
}

impl Cuda {
    /// The kernel that carries these products, if there is one.
    pub(crate) fn dense_kernel(&self, n: usize, products: &[Product]) -> Option<Dense> {
        let carries = |product: &Product| match product.w.format {
            // Scales are fetched in pairs, and groups of a row begin at whole windows.
            Format::Q8_0 => {
                let whole = if product.groups == 1 { 64 } else { 128 };
                !product.w.fine && product.w.cols.is_multiple_of(whole)
            }
            Format::F16 => true,
            _ => false,
        };
        let kernel = self.kernels.dense.iter().find(|dense| n <= dense.tokens);
        kernel.copied().filter(|_| products.iter().all(carries))
    }

    /// Products of `n` rows in one launch.
    pub(crate) fn dense_few(
        &self,
        dense: Dense,
        n: usize,
        products: &[Product],
    ) -> Result<(), Error> {
        self.launch_parts(dense.kernel, dense.shared, n, products, |product| {
            let w = product.w;
            let coded = w.format == Format::Q8_0;
            let bytes = if coded { w.cols } else { 2 * w.cols };
            let windows = bytes.div_ceil(128) * product.passes();
            // Groups of 32 results are of one block.
            let codes = product.out_codes();
            let most = if codes.is_some() { WARPS / 2 } else { WARPS };
            let slices = 1 << (windows / WORTH).clamp(1, most).ilog2();
            let width = w.cols * product.groups;
            let (x, x_stride, x_scales) = if coded {
                let stride = natural_bytes(width) as u32;
                (self.codes(product.x, width)?, stride, width as u32)
            } else {
                (self.halves_of(product, n)?, product.halves_stride(), 0)
            };
            Ok(Part {
                x,
                x_stride,
                x_scales,
                codes: codes.unwrap_or(crate::device::Ptr::NULL),
                slices,
                ..Part::NONE
            })
        })
    }
}
