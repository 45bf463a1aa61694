//! Products of few rows: several in a launch, and experts.

use ds4_model::weights::Ffn;

use crate::buffer::Halved;
use crate::coded::CODED_TOKENS;
use crate::device::{Kernel, Ptr};
use crate::layout::{MOST_PARTS, Part, Parts};
use crate::pass::Given;
use crate::product::Tiles;
use crate::work::TILE_TOKENS;
use crate::{Buffer, Cuda, Error, Picks, Tensor};

/// Warps of a block, as in `narrow.cu`.
pub(crate) const WARPS: usize = 8;

/// One product of a launch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product<'a> {
    pub(crate) out: Ptr,
    pub(crate) x: &'a Buffer,
    pub(crate) w: &'a Tensor,
    pub(crate) groups: usize,
    rounded: Option<&'a Buffer>,
}

impl<'a> Product<'a> {
    /// `out = x w^T`.
    pub(crate) fn new(out: Ptr, x: &'a Buffer, w: &'a Tensor) -> Self {
        Self {
            out,
            x,
            w,
            groups: 1,
            rounded: None,
        }
    }

    /// For a weight of so many blocks along its diagonal.
    pub(crate) fn of(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// Whose results, those of `out`, are wanted rounded too.
    pub(crate) fn and_rounded(self, out: &'a Buffer) -> Self {
        Self {
            rounded: Some(out),
            ..self
        }
    }

    /// Bytes of a row of activations as binary16.
    pub(crate) fn halves_stride(&self) -> u32 {
        (2 * self.w.cols * self.groups * self.passes()) as u32
    }

    /// Whether anybody wants results as codes.
    pub(crate) fn wants_codes(&self) -> bool {
        self.rounded.is_some() && self.w.rows.is_multiple_of(32)
    }

    /// Where they go.
    pub(crate) fn out_codes(&self) -> Option<Ptr> {
        let wanted = self.wants_codes();
        self.rounded.filter(|_| wanted).map(Buffer::out_codes)
    }

    /// Times that the rows are read: twice for what rounding left.
    pub(crate) fn passes(&self) -> usize {
        if self.w.fine { 2 } else { 1 }
    }
}

/// How products are launched: slices of a row are warps of a block, or the blocks of a cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch {
    pub(crate) kernel: Kernel,
    pub(crate) shared: u32,
    pub(crate) cluster: u32,
}

impl Cuda {
    /// Products of `n` rows in one launch.
    pub(crate) fn narrow(&self, n: usize, products: &[Product]) -> Result<(), Error> {
        if let Some(kernel) = self.dense_kernel(n, products) {
            return self.dense_few(kernel, n, products);
        }
        let launch = Launch {
            kernel: self.narrow_kernel(n),
            shared: 0,
            cluster: 1,
        };
        self.launch_parts(launch, n, products, |product| {
            let kernels = self.kernels.of(product.w.format);
            let windows = product.w.cols.div_ceil(128) * product.passes();
            let slices = windows.div_ceil(kernels.on_way).next_power_of_two();
            Ok(Part {
                x: self.halves_of(product, n)?,
                x_stride: product.halves_stride(),
                half: product.rounded.map_or(Ptr::NULL, Buffer::out_half),
                slices: slices.clamp(1, WARPS) as u32,
                ..Part::NONE
            })
        })
    }

    /// Launches a kernel for products whose activations and slices `begun` says.
    pub(crate) fn launch_parts(
        &self,
        launch: Launch,
        n: usize,
        products: &[Product],
        begun: impl Fn(&Product) -> Result<Part, Error>,
    ) -> Result<(), Error> {
        assert!(products.len() <= MOST_PARTS, "as many as a launch takes");
        let mut parts = Parts {
            part: [Part::NONE; MOST_PARTS],
            count: products.len() as u32,
            n: n as u32,
        };
        let mut blocks = 0;
        for (part, product) in parts.part.iter_mut().zip(products) {
            let w = product.w;
            *part = Part {
                w: w.weight(),
                out: product.out,
                first: blocks,
                format: self.kernels.of(w.format).number,
                rows: w.rows as u32,
                group_rows: (w.rows / product.groups) as u32,
                passes: product.passes() as u32,
                ..begun(product)?
            };
            let each = 16 * WARPS as u32;
            blocks += if launch.cluster > 1 {
                part.rows.div_ceil(each) * launch.cluster
            } else {
                part.rows.div_ceil(each / part.slices)
            };
        }
        self.device.launch_clusters(
            launch.kernel,
            ([blocks, 1, 1], launch.cluster),
            [32 * WARPS as u32, 1],
            launch.shared,
            &[&parts],
        )
    }

    /// The activations of a product as binary16.
    pub(crate) fn halves_of(&self, product: &Product, n: usize) -> Result<Ptr, Error> {
        if product.w.fine {
            self.fine(product.x, n)
        } else {
            self.half(product.x, Halved::Plain)
        }
    }

    /// Rows with 22 bits, as pairs of binary16.
    fn fine(&self, x: &Buffer, n: usize) -> Result<Ptr, Error> {
        let fine = self.work.fine.ptr();
        if x.halved.get() != Halved::Plain || self.work.fine_of.get() != x.mem.ptr() {
            self.to_half(fine, x.mem.ptr(), x.width, n, 2, Halved::Plain)?;
        }
        Ok(fine)
    }

    fn narrow_kernel(&self, n: usize) -> Kernel {
        match n {
            0..=8 => self.kernels.narrow_1,
            9..=16 => self.kernels.narrow_2,
            17..=32 => self.kernels.narrow_4,
            _ => self.kernels.narrow_8,
        }
    }

    /// Routed experts of few rows; adds the shared one's result, which lies in its working buffer.
    pub(crate) fn narrow_experts(
        &self,
        y: &Buffer,
        x: &Buffer,
        picks: &Picks,
        n: usize,
        w: &Ffn<Tensor>,
    ) -> Result<(), Error> {
        let tokens = self.tile_tokens(n, w);
        if tokens > 0 {
            self.gather(picks, n, tokens)?;
        }
        let tiles = self.gathered(n * picks.width, tokens);
        match self.narrow_picks(y, x, picks, n, w, tiles)? {
            Given::Picks => self.combine(y, picks, n),
            Given::Whole | Given::Nothing => Ok(()),
        }
    }

    /// Most tokens of the tiles that picks of few rows are gathered in; none if they are not.
    pub(crate) fn tile_tokens(&self, n: usize, w: &Ffn<Tensor>) -> usize {
        if self.coded(&w.gate).is_some() && self.coded(&w.down).is_some() {
            CODED_TOKENS
        } else if n == 1 {
            0
        } else {
            TILE_TOKENS
        }
    }

    /// The same for picks that are gathered, up to the sum of their results and the shared one's, if
    /// these still lie apart.
    pub(crate) fn narrow_picks(
        &self,
        y: &Buffer,
        x: &Buffer,
        picks: &Picks,
        n: usize,
        w: &Ffn<Tensor>,
        tiles: Tiles,
    ) -> Result<Given, Error> {
        let work = &self.work.experts;
        let count = n * picks.width;
        let alone = n == 1;
        if let Some((inward, outward)) = self.coded(&w.gate).zip(self.coded(&w.down)) {
            self.coded_gated(inward, x.mem.ptr(), n, (&w.gate, &w.up), tiles)?;
            self.coded_down(outward, &w.down, count, tiles)?;
            return Ok(Given::Picks);
        }
        let (token_of, weight_of) = if alone {
            (Ptr::NULL, picks.weights.ptr())
        } else {
            (work.token_of.ptr(), work.weight_of.ptr())
        };
        let from = self.half(x, Halved::Plain)?;
        // A row alone: all warps of a block share one row's windows. Many experts: fewer and larger
        // blocks.
        let slices = if alone { WARPS } else { 2 };
        let rows = 16 * WARPS / slices;
        let used = picks.width as u32;
        let hidden = work.hidden.ptr();
        self.device.launch(
            self.kernels.of(w.gate.format).narrow_gated,
            [(w.gate.rows.div_ceil(rows) * tiles.most) as u32, 1, 1],
            [32 * WARPS as u32, 1],
            0,
            &[
                &hidden,
                &from,
                &(x.width as u32),
                &w.gate.weight(),
                &w.up.weight(),
                &tiles.list,
                &tiles.count,
                &picks.ids.ptr(),
                &token_of,
                &weight_of,
                &used,
                &self.shape.swiglu_limit,
                &(slices as u32),
            ],
        )?;
        let kernels = self.kernels.of(w.down.format);
        if alone {
            self.device.launch(
                kernels.narrow_down_one,
                [w.down.rows.div_ceil(16) as u32, 1, 1],
                [32 * WARPS as u32, 1],
                0,
                &[
                    &y.mem.ptr(),
                    &hidden,
                    &work.shared.ptr(),
                    &w.down.weight(),
                    &picks.ids.ptr(),
                    &used,
                ],
            )?;
            return Ok(Given::Whole);
        }
        self.device.launch(
            kernels.narrow_down,
            [(w.down.rows.div_ceil(rows) * tiles.most) as u32, 1, 1],
            [32 * WARPS as u32, 1],
            0,
            &[
                &work.down.ptr(),
                &hidden,
                &w.down.weight(),
                &tiles.list,
                &tiles.count,
                &(slices as u32),
            ],
        )?;
        Ok(Given::Picks)
    }

    /// Picks of `n` rows by expert, in tiles of up to `tokens`.
    pub(crate) fn gather(&self, picks: &Picks, n: usize, tokens: usize) -> Result<Tiles, Error> {
        let work = &self.work.experts;
        let (used, experts) = (picks.width as u32, self.shape.experts as u32);
        let count = n * picks.width;
        self.device.launch(
            self.kernels.gather_picks,
            [1, 1, 1],
            [512, 1],
            16 * 4 * experts,
            &[
                &picks.ids.ptr(),
                &picks.weights.ptr(),
                &(n as u32),
                &used,
                &experts,
                &(tokens as u32),
                &work.token_of.ptr(),
                &work.weight_of.ptr(),
                &work.place_of.ptr(),
                &work.tiles.ptr(),
                &work.tile_count.ptr(),
            ],
        )?;
        Ok(self.gathered(count, tokens))
    }

    /// The tiles of `count` picks that were gathered; with no `tokens`, these themselves.
    pub(crate) fn gathered(&self, count: usize, tokens: usize) -> Tiles {
        let work = &self.work.experts;
        if tokens == 0 {
            return Tiles {
                list: Ptr::NULL,
                count: Ptr::NULL,
                most: count,
            };
        }
        Tiles {
            list: work.tiles.ptr(),
            count: work.tile_count.ptr(),
            most: count / tokens + self.shape.experts.min(count),
        }
    }

    /// Adds up the picks' results and the shared expert's.
    pub(crate) fn combine(&self, y: &Buffer, picks: &Picks, n: usize) -> Result<(), Error> {
        let work = &self.work.experts;
        let width = y.width as u32;
        self.device.launch(
            self.kernels.combine,
            [width.div_ceil(256), n as u32, 1],
            [256, 1],
            0,
            &[
                &y.mem.ptr(),
                &work.down.ptr(),
                &work.shared.ptr(),
                &work.place_of.ptr(),
                &(picks.width as u32),
                &width,
            ],
        )
    }
}
