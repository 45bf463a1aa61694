//! What a step works in: every intermediate of the forward pass, allocated once.

use crate::ops::{Ops, RowSet};
use crate::shape::Shape;

/// The intermediates of one step, by the paper's names. `n` rows in the plan, `m` of them with logits.
#[derive(Debug)]
pub struct Scratch<B, P> {
    /// X, the residual streams, `(n, 4 E)`.
    pub streams: B,
    /// What a sub-layer reads from the streams, `(n, E)`.
    pub x: B,
    /// The same, normalised, `(n, E)`.
    pub xn: B,
    /// How a sub-layer writes the streams, `(n, 4 + 16)`.
    pub mix: B,
    /// What a sub-layer gives, `(n, E)`.
    pub y: B,
    /// Low rank of the queries before its norm, `(n, Q)`.
    pub qa: B,
    /// Low rank of the queries, `(n, Q)`.
    pub qr: B,
    /// Queries, `(n, H D)`.
    pub q: B,
    /// Latent rows before norm and rope, `(n, D)`.
    pub latent: B,
    /// Compressor values, `(n, 2 D)`.
    pub u: B,
    /// Compressor scores, `(n, 2 D)`.
    pub z: B,
    /// Compressor values of ratio 128, `(n, D)`.
    pub u_wide: B,
    /// Compressor scores of ratio 128, `(n, D)`.
    pub z_wide: B,
    /// Compressor values of the indexer, `(n, 2 DI)`.
    pub u_index: B,
    /// Compressor scores of the indexer, `(n, 2 DI)`.
    pub z_index: B,
    /// Indexer queries, `(n, HI DI)`.
    pub index_q: B,
    /// Indexer head weights, `(n, HI)`.
    pub index_w: B,
    /// Compressed rows selected, `(n, K)`.
    pub selected: P,
    /// Attention output by head, `(n, H D)`.
    pub heads: B,
    /// Low rank of the output, `(n, G O)`.
    pub low: B,
    /// Router logits, `(n, X)`.
    pub router: B,
    /// Chosen experts and their weights, `(n, k)`.
    pub experts: P,
    /// Collapsed streams, `(m, E)`.
    pub head_x: B,
    /// The same, normalised, `(m, E)`.
    pub head_xn: B,
    /// Logits, `(m, V)`.
    pub logits: B,
    /// Streams of the draft block, `(n, 4 E)`.
    pub draft_streams: B,
    /// Normalised or projected streams on their way into it, `(n, 4 E)`.
    pub draft_in: B,
}

impl<B, P> Scratch<B, P> {
    /// Allocates everything on the backend.
    pub fn new<O: Ops<Buffer = B, Picks = P>>(o: &mut O, shape: &Shape) -> Result<Self, O::Error> {
        Self::make(o, shape, O::buffer, O::picks)
    }

    /// The same of whatever `buffer` and `picks` make: who counts bytes need not allocate them.
    pub fn make<O, E>(
        o: &mut O,
        shape: &Shape,
        mut buffer: impl FnMut(&mut O, RowSet, usize) -> Result<B, E>,
        mut picks: impl FnMut(&mut O, usize) -> Result<P, E>,
    ) -> Result<Self, E> {
        use RowSet::{All, Outputs};
        let (e, d, di) = (shape.hidden, shape.head_width, shape.index_width);
        let streams = shape.stream_width();
        let index = shape.index_heads * di;
        Ok(Self {
            streams: buffer(o, All, streams)?,
            x: buffer(o, All, e)?,
            xn: buffer(o, All, e)?,
            mix: buffer(o, All, shape.streams * (1 + shape.streams))?,
            y: buffer(o, All, e)?,
            qa: buffer(o, All, shape.query_rank)?,
            qr: buffer(o, All, shape.query_rank)?,
            q: buffer(o, All, shape.heads * d)?,
            latent: buffer(o, All, d)?,
            u: buffer(o, All, 2 * d)?,
            z: buffer(o, All, 2 * d)?,
            u_wide: buffer(o, All, d)?,
            z_wide: buffer(o, All, d)?,
            u_index: buffer(o, All, 2 * di)?,
            z_index: buffer(o, All, 2 * di)?,
            index_q: buffer(o, All, index)?,
            index_w: buffer(o, All, shape.index_heads)?,
            selected: picks(o, shape.index_top_k)?,
            heads: buffer(o, All, shape.heads * d)?,
            low: buffer(o, All, shape.output_groups * shape.output_rank)?,
            router: buffer(o, All, shape.experts)?,
            experts: picks(o, shape.experts_used)?,
            head_x: buffer(o, Outputs, e)?,
            head_xn: buffer(o, Outputs, e)?,
            logits: buffer(o, Outputs, shape.vocab)?,
            draft_streams: buffer(o, All, streams)?,
            draft_in: buffer(o, All, streams)?,
        })
    }
}
