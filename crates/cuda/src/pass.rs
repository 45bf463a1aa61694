//! From one sub-layer to the next, for steps of few rows: the streams written, read and normed.

use ds4_model::Scratch;
use ds4_model::weights::Hyper;

use crate::device::{Device, Ptr};
use crate::{Buffer, Cuda, Error, Picks, Tensor, layout};

type Done = Result<(), Error>;
type Work = Scratch<Buffer, Picks>;

/// Most columns that a block has, as in `pass.cu`.
const MOST_COLUMNS: usize = 512;

/// Shared memory that the kernel takes for itself.
const OWN_SHARED: usize = 4096;

/// What a sub-layer gave, to be written to the streams.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Given {
    /// Nothing: the streams are only read.
    Nothing,
    /// Its result.
    Whole,
    /// The shared expert's part of it; those of picks lie where they were gathered.
    Picks,
}

/// Blocks of the cluster that has a row of this width; none where clusters cannot.
pub(crate) fn blocks(width: usize, device: &Device) -> Option<u32> {
    let most = device.cluster();
    let mut blocks = most;
    while blocks > 1 && !width.is_multiple_of(8 * blocks as usize) {
        blocks /= 2;
    }
    let fits = shared(width, blocks) as usize + OWN_SHARED <= device.shared() as usize;
    let suits = width.is_multiple_of(8) && width / blocks as usize <= MOST_COLUMNS;
    (most > 1 && suits && fits).then_some(blocks)
}

/// Bytes of shared memory that a block takes for its stretch of the mix matrix.
pub(crate) fn shared(width: usize, blocks: u32) -> u32 {
    (24 * 4 * 2 * width) as u32 / blocks
}

impl Cuda {
    /// `hyper_leave` where something is `given`, then `hyper_enter` and `rms_norm`.
    pub(crate) fn pass_few(
        &self,
        s: &mut Work,
        given: Given,
        hc: &Hyper<Tensor>,
        norm: &Tensor,
    ) -> Done {
        let width = s.x.width;
        let Some(blocks) = blocks(width, &self.device) else {
            match given {
                Given::Nothing => {}
                Given::Whole => self.write_streams(&mut s.streams, &s.y, &s.mix)?,
                Given::Picks => {
                    self.combine(&s.y, &s.experts, self.plan.len())?;
                    self.write_streams(&mut s.streams, &s.y, &s.mix)?;
                }
            }
            return self.enter_few(s, hc, norm);
        };
        if !matches!(given, Given::Nothing) {
            self.settle_now(&s.mix)?;
        }
        let experts = &self.work.experts;
        let (y, used) = match given {
            Given::Nothing => (Ptr::NULL, 0),
            Given::Whole => (s.y.mem.ptr(), 0),
            Given::Picks => (experts.shared.ptr(), s.experts.width),
        };
        // The places of one row's picks are all there are.
        let place_of = if self.n() == 1 {
            Ptr::NULL
        } else {
            experts.place_of.ptr()
        };
        let xn = s.xn.out();
        self.work.fine_of.set(xn);
        let pass = layout::Pass {
            streams: s.streams.out(),
            y,
            picked: experts.down.ptr(),
            place_of,
            mix: s.mix.mem.ptr(),
            known: self.work.mix_known.ptr(),
            w: hc.mix.weight(),
            norm: norm.plain(),
            scale: hc.scale.plain(),
            base: hc.base.plain(),
            xn,
            half: s.xn.out_half(),
            fine: self.work.fine.ptr(),
            codes: if (width / blocks as usize).is_multiple_of(32) {
                s.xn.out_codes()
            } else {
                Ptr::NULL
            },
            width: width as u32,
            used: used as u32,
            norm_epsilon: self.shape.norm_epsilon,
            epsilon: self.shape.hyper_epsilon,
        };
        self.work.mix_due.set(true);
        // Four groups of threads that have the block's columns, four each.
        let threads = 4 * (width as u32 / blocks).div_ceil(128) * 32;
        self.device.launch_clusters(
            self.kernels.pass,
            ([blocks, self.n(), 1], blocks),
            [threads, 1],
            shared(width, blocks),
            &[&pass],
        )
    }

    /// How the streams will be written, for the kernel that works it out beside its own work.
    pub(crate) fn settle(&self, mix: &Buffer) -> layout::Settle {
        let due = self.work.mix_due.replace(false);
        layout::Settle {
            known: self.work.mix_known.ptr(),
            mix: if due { mix.mem.ptr() } else { Ptr::NULL },
            rounds: self.shape.sinkhorn_rounds as u32,
            epsilon: self.shape.hyper_epsilon,
        }
    }

    /// The same at once, where no kernel did.
    pub(crate) fn settle_now(&self, mix: &Buffer) -> Done {
        if !self.work.mix_due.get() {
            return Ok(());
        }
        self.device.launch(
            self.kernels.settle,
            [self.n(), 1, 1],
            [32, 1],
            0,
            &[&self.settle(mix)],
        )
    }
}
