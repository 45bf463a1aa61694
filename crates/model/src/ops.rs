//! The seam between the paper and the machine.
//!
//! An operation describes work on the rows of the current [`Plan`](crate::Plan): it takes handles (tensors, buffers) and
//! returns nothing but errors of misuse, so a backend may execute it at once or record it and replay the record. Inside
//! the forward pass the host never looks at a position, never reads a result, never allocates.
//!
//! The first part of the trait are the operations every backend has. The second part are *groups*: named stretches of
//! the forward pass whose default body is their unfused composition. A backend that has one kernel for a group
//! overrides it, and the parity test runs the default body as the truth; so fusing never forks the forward pass.

use crate::kv::PAGE_TOKENS;
use crate::rope::RopeTable;
use crate::shape::Ratio;
use crate::weights::{Compressor, Csa, Ffn, Hyper, Latent, Layer, Moe, Query, Router};
use crate::{Scratch, attention};

/// Where in the stack an operation works: which layer's memory, which rotary table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Layer number; the draft block counts as one more.
    pub layer: usize,
    /// The layer's compression ratio.
    pub ratio: Ratio,
}

impl Site {
    /// The rotary table of this layer.
    pub fn rope(self) -> RopeTable {
        match self.ratio {
            Ratio::None => RopeTable::Window,
            Ratio::Four | Ratio::OneTwentyEight => RopeTable::Compressed,
        }
    }
}

/// Which of a layer's two row streams a compressor makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Latent rows, attended to.
    Latent,
    /// Index rows, scored by the indexer.
    Index,
}

/// Which rows of the plan a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowSet {
    /// One for each row of the plan.
    All,
    /// One for each row that wants logits.
    Outputs,
}

/// The compressed rows a token attends to, besides its window.
#[derive(Debug)]
pub enum Seen<'a, P> {
    /// None: a window layer.
    Window,
    /// All that are complete at the token (ratio 128).
    All,
    /// Those the indexer picked (ratio 4).
    Picked(&'a P),
}

// Not derived: what is picked need not be copied for a reference to it.
impl<P> Clone for Seen<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Seen<'_, P> {}

// Every page holds whole windows of both ratios, so a row never straddles pages.
const _: () = assert!(PAGE_TOKENS.is_multiple_of(128));

/// The operations of the model on one device.
pub trait Ops: Sized {
    /// A weight on this device.
    type Tensor;
    /// Rows of floats.
    type Buffer;
    /// Up to some number of (id, weight) pairs a row: selected rows, chosen experts.
    type Picks;
    /// Errors of misuse and of the device.
    type Error;

    /// A buffer of `width` floats a row.
    fn buffer(&mut self, rows: RowSet, width: usize) -> Result<Self::Buffer, Self::Error>;

    /// Room for `width` picks a row.
    fn picks(&mut self, width: usize) -> Result<Self::Picks, Self::Error>;

    /// `x = table[token]`.
    fn embed(&mut self, x: &mut Self::Buffer, table: &Self::Tensor) -> Result<(), Self::Error>;

    /// Every stream becomes a copy of `x`.
    fn spread(&mut self, streams: &mut Self::Buffer, x: &Self::Buffer) -> Result<(), Self::Error>;

    /// `streams += more`, value by value.
    fn add(&mut self, streams: &mut Self::Buffer, more: &Self::Buffer) -> Result<(), Self::Error>;

    /// Reads the streams: `x` becomes their weighted sum, `mix` keeps how to write them back.
    fn hyper_enter(
        &mut self,
        x: &mut Self::Buffer,
        mix: &mut Self::Buffer,
        streams: &Self::Buffer,
        hc: &Hyper<Self::Tensor>,
    ) -> Result<(), Self::Error>;

    /// Writes the streams: each becomes its share of `y` and its mix of all streams.
    fn hyper_leave(
        &mut self,
        streams: &mut Self::Buffer,
        y: &Self::Buffer,
        mix: &Self::Buffer,
    ) -> Result<(), Self::Error>;

    /// Collapses the streams of the rows that want logits.
    fn hyper_head(
        &mut self,
        x: &mut Self::Buffer,
        streams: &Self::Buffer,
        hc: &Hyper<Self::Tensor>,
    ) -> Result<(), Self::Error>;

    /// `out = x / rms(x) * weight`, for each stretch of the weight's width.
    fn rms_norm(
        &mut self,
        out: &mut Self::Buffer,
        x: &Self::Buffer,
        weight: &Self::Tensor,
    ) -> Result<(), Self::Error>;

    /// `out = x w^T`, for each stretch of the matrix's width.
    fn matmul(
        &mut self,
        out: &mut Self::Buffer,
        x: &Self::Buffer,
        w: &Self::Tensor,
    ) -> Result<(), Self::Error>;

    /// Query heads in place: RMS norm per head, then rope.
    fn query_heads(&mut self, q: &mut Self::Buffer, at: Site) -> Result<(), Self::Error>;

    /// Norm, rope and rounding of the latent rows, which join the layer's window as its fresh rows.
    fn latent_kv(
        &mut self,
        latent: &Self::Buffer,
        norm: &Self::Tensor,
        at: Site,
    ) -> Result<(), Self::Error>;

    /// Pools `u` by the scores `z` (to which the position bias is added here) and appends a row to `stream` for every
    /// window that these tokens complete.
    fn compress(
        &mut self,
        u: &Self::Buffer,
        z: &Self::Buffer,
        w: &Compressor<Self::Tensor>,
        stream: Stream,
        at: Site,
    ) -> Result<(), Self::Error>;

    /// Indexer queries in place: rope, Hadamard transform, E2M1 rounding.
    fn index_heads(&mut self, q: &mut Self::Buffer, at: Site) -> Result<(), Self::Error>;

    /// Scores the index rows complete at each token and keeps the best; all while they are few.
    fn index_select(
        &mut self,
        picks: &mut Self::Picks,
        q: &Self::Buffer,
        head_weights: &Self::Buffer,
        at: Site,
    ) -> Result<(), Self::Error>;

    /// Attention over window and compressed rows with a sink; the rope of the rows is taken back from the result.
    fn attend(
        &mut self,
        heads: &mut Self::Buffer,
        q: &Self::Buffer,
        sinks: &Self::Tensor,
        seen: Seen<'_, Self::Picks>,
        at: Site,
    ) -> Result<(), Self::Error>;

    /// The fresh rows of the layer become part of its ring. Only now, when every query has read the old ones.
    fn window_commit(&mut self, at: Site) -> Result<(), Self::Error>;

    /// The block-diagonal first factor of the output projection.
    fn output_groups(
        &mut self,
        low: &mut Self::Buffer,
        heads: &Self::Buffer,
        a: &Self::Tensor,
    ) -> Result<(), Self::Error>;

    /// Chooses experts from router logits.
    fn route(
        &mut self,
        picks: &mut Self::Picks,
        logits: &Self::Buffer,
        router: &Router<Self::Tensor>,
    ) -> Result<(), Self::Error>;

    /// The shared expert plus the chosen ones, gate, up, SwiGLU and down.
    fn experts(
        &mut self,
        y: &mut Self::Buffer,
        x: &Self::Buffer,
        picks: &Self::Picks,
        routed: &Ffn<Self::Tensor>,
        shared: &Ffn<Self::Tensor>,
    ) -> Result<(), Self::Error>;

    // ---- Groups: what may be one kernel, with the composition that is its truth.

    /// The input of a sub-layer: the streams read, then normalised into `xn`.
    fn enter(
        &mut self,
        s: &mut Scratch<Self::Buffer, Self::Picks>,
        hc: &Hyper<Self::Tensor>,
        norm: &Self::Tensor,
    ) -> Result<(), Self::Error> {
        crate::forward::enter(self, s, hc, norm)
    }

    /// From one sub-layer to the next: `y` written to the streams, then these read and normalised into `xn`.
    fn pass(
        &mut self,
        s: &mut Scratch<Self::Buffer, Self::Picks>,
        hc: &Hyper<Self::Tensor>,
        norm: &Self::Tensor,
    ) -> Result<(), Self::Error> {
        crate::forward::pass(self, s, hc, norm)
    }

    /// All of attention, from `xn` to `y`.
    fn attention(
        &mut self,
        s: &mut Scratch<Self::Buffer, Self::Picks>,
        w: &Layer<Self::Tensor>,
        at: Site,
    ) -> Result<(), Self::Error> {
        attention::attention(self, s, w, at)
    }

    /// Low-rank queries: down, norm, up, head norm and rope. The low rank stays in `qr` for the indexer.
    fn query(
        &mut self,
        s: &mut Scratch<Self::Buffer, Self::Picks>,
        w: &Query<Self::Tensor>,
        at: Site,
    ) -> Result<(), Self::Error> {
        attention::query(self, s, w, at)
    }

    /// The latent row of each token.
    fn latent(
        &mut self,
        s: &mut Scratch<Self::Buffer, Self::Picks>,
        w: &Latent<Self::Tensor>,
        at: Site,
    ) -> Result<(), Self::Error> {
        attention::latent(self, s, w, at)
    }

    /// One compressor: both projections and the pooling.
    fn pool(
        &mut self,
        s: &mut Scratch<Self::Buffer, Self::Picks>,
        w: &Compressor<Self::Tensor>,
        stream: Stream,
        at: Site,
    ) -> Result<(), Self::Error> {
        attention::pool(self, s, w, stream, at)
    }

    /// Ratio 4: both compressors, the indexer's queries, and the selection.
    fn select(
        &mut self,
        s: &mut Scratch<Self::Buffer, Self::Picks>,
        w: &Csa<Self::Tensor>,
        at: Site,
    ) -> Result<(), Self::Error> {
        attention::select(self, s, w, at)
    }

    /// Router and experts, from `xn` to the streams; and the input of the next sub-layer, if one follows.
    fn feed(
        &mut self,
        s: &mut Scratch<Self::Buffer, Self::Picks>,
        w: &Moe<Self::Tensor>,
        next: Option<(&Hyper<Self::Tensor>, &Self::Tensor)>,
    ) -> Result<(), Self::Error> {
        crate::forward::feed(self, s, w, next)
    }
}
