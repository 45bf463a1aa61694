//! Products of few rows with weights that are codes or binary16.

use std::sync::Arc;

use ds4_gguf::Format;

use crate::coded::natural_bytes;
use crate::device::{Device, Kernel, Ptr};
use crate::kernels::SOME;
use crate::layout::Part;
use crate::narrow::{Launch, Product, WARPS};
use crate::{Cuda, Error};

/// A kernel of `dense.cu` or `dense_wide.cu`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dense {
    kernel: Kernel,
    /// Rows that it carries.
    tokens: usize,
    /// Bytes of shared memory of all warps' rings.
    rings: u32,
}

/// Bytes of a window of sixteen rows with their scales, and of a token's, as in `ring.cuh`.
const WINDOW: usize = 16 * 128 + 128;
const TOKEN: usize = 128 + 32;

/// Most rows whose slices are warps of a block; of more they are blocks of a cluster.
const ALONE: usize = 4;

/// Windows that a slice should have at least.
const WORTH: usize = 4;

impl Dense {
    /// All that the card can run, for more and more rows.
    pub(crate) fn all(device: &Arc<Device>) -> Result<Vec<Self>, Error> {
        let mut all = Vec::new();
        for tokens in [1, 2, 4, 8, 16, 32, SOME] {
            let wide = tokens > ALONE;
            let bytes = match tokens {
                1 => 4 * (WINDOW + TOKEN),
                2 | 4 => 3 * (WINDOW + tokens * TOKEN),
                SOME => 2 * WINDOW,
                _ => 4 * WINDOW,
            };
            let rings = (WARPS * bytes) as u32;
            if rings > device.shared() || wide && device.cluster() < 8 {
                break;
            }
            let kernel = device.kernel(&format!("dense_{tokens}"))?;
            device.allow_shared(kernel, if wide { device.shared() } else { rings })?;
            all.push(Self {
                kernel,
                tokens,
                rings,
            });
        }
        Ok(all)
    }
}

/// Bytes of a weight's row.
fn row_bytes(product: &Product) -> usize {
    let bytes = if product.w.format == Format::Q8_0 {
        1
    } else {
        2
    };
    bytes * product.w.cols
}

/// Windows of a row, all times that it is read.
fn windows(product: &Product) -> usize {
    row_bytes(product).div_ceil(128) * product.passes()
}

/// Slices that windows are worth, a power of two; codes of 32 results are of one block.
fn slices(product: &Product, windows: usize) -> usize {
    let most = if product.wants_codes() {
        WARPS / 2
    } else {
        WARPS
    };
    1 << (windows / WORTH).clamp(1, most).ilog2()
}

impl Cuda {
    /// The kernel that carries these products, if there is one.
    pub(crate) fn dense_kernel(&self, n: usize, products: &[Product]) -> Option<Dense> {
        let carries = |product: &Product| {
            let group = product.w.rows / product.groups;
            let whole = n <= ALONE || product.groups == 1 || group.is_multiple_of(16 * WARPS);
            whole
                && match product.w.format {
                    // Scales are fetched in pairs, and groups of a row begin at whole windows.
                    Format::Q8_0 => {
                        let whole = if product.groups == 1 { 64 } else { 128 };
                        !product.w.fine && product.w.cols.is_multiple_of(whole)
                    }
                    Format::F16 => true,
                    _ => false,
                }
        };
        let kernel = self.kernels.dense.iter().find(|dense| n <= dense.tokens)?;
        let fits = n <= ALONE || self.wide(*kernel, products).shared <= self.device.shared();
        (fits && products.iter().all(carries)).then_some(*kernel)
    }

    /// Products of `n` rows in one launch.
    pub(crate) fn dense_few(
        &self,
        dense: Dense,
        n: usize,
        products: &[Product],
    ) -> Result<(), Error> {
        if n > ALONE {
            let launch = self.wide(dense, products);
            return self.launch_parts(launch, n, products, |product| {
                self.dense_part(product, n, launch.cluster)
            });
        }
        let launch = Launch {
            kernel: dense.kernel,
            shared: dense.rings,
            cluster: 1,
        };
        self.launch_parts(launch, n, products, |product| {
            self.dense_part(product, n, slices(product, windows(product)) as u32)
        })
    }

    /// How a kernel of clusters is launched: the largest product says how many slices there are.
    fn wide(&self, dense: Dense, products: &[Product]) -> Launch {
        let largest = products.iter().max_by_key(|p| row_bytes(p) * p.w.rows);
        let slices = largest.map_or(1, |p| slices(p, windows(p)));
        let share = products.iter().map(|p| windows(p).div_ceil(slices)).max();
        Launch {
            kernel: dense.kernel,
            shared: dense.rings + (share.unwrap_or(0) * dense.tokens * TOKEN) as u32,
            cluster: slices as u32,
        }
    }

    fn dense_part(&self, product: &Product, n: usize, slices: u32) -> Result<Part, Error> {
        let width = product.w.cols * product.groups;
        let (x, x_stride, x_scales) = if product.w.format == Format::Q8_0 {
            let stride = natural_bytes(width) as u32;
            (self.codes(product.x, width)?, stride, width as u32)
        } else {
            (self.halves_of(product, n)?, product.halves_stride(), 0)
        };
        Ok(Part {
            x,
            x_stride,
            x_scales,
            codes: product.out_codes().unwrap_or(Ptr::NULL),
            slices,
            ..Part::NONE
        })
    }
}
