//! The stretches of attention that a backend may fuse: unfused bodies of the groups of [`Ops`].

use crate::ops::{Ops, Seen, Site, Stream};
use crate::scratch::Scratch;
use crate::shape::Ratio;
use crate::weights::{Attention, Compressor, Csa, Latent, Layer, Query};

/// All of attention, from its normalised input in `xn` to its result in `y`; the unfused body of
/// [`Ops::attention`].
pub fn attention<O: Ops>(
    o: &mut O,
    s: &mut Scratch<O::Buffer, O::Picks>,
    w: &Layer<O::Tensor>,
    at: Site,
) -> Result<(), O::Error> {
    o.query(s, &w.query, at)?; // low rank, head norm, rope on the last channels
    o.latent(s, &w.latent, at)?; // the one row that is key and value for every head
    let seen = match &w.attention {
        Attention::Window => Seen::Window,
        Attention::Hca(compressor) => {
            o.pool(s, compressor, Stream::Latent, at)?;
            Seen::All
        }
        Attention::Csa(csa) => {
            o.select(s, csa, at)?;
            Seen::Picked(&s.selected)
        }
    };
    o.attend(&mut s.heads, &s.q, &w.sinks, seen, at)?;
    o.window_commit(at)?;
    o.output_groups(&mut s.low, &s.heads, &w.output.a)?;
    o.matmul(&mut s.y, &s.low, &w.output.b)
}

pub(crate) fn query<O: Ops>(
    o: &mut O,
    s: &mut Scratch<O::Buffer, O::Picks>,
    w: &Query<O::Tensor>,
    at: Site,
) -> Result<(), O::Error> {
    o.matmul(&mut s.qa, &s.xn, &w.a)?;
    o.rms_norm(&mut s.qr, &s.qa, &w.norm)?;
    o.matmul(&mut s.q, &s.qr, &w.b)?;
    o.query_heads(&mut s.q, at)
}

pub(crate) fn latent<O: Ops>(
    o: &mut O,
    s: &mut Scratch<O::Buffer, O::Picks>,
    w: &Latent<O::Tensor>,
    at: Site,
) -> Result<(), O::Error> {
    o.matmul(&mut s.latent, &s.xn, &w.kv)?;
    o.latent_kv(&s.latent, &w.norm, at)
}

pub(crate) fn pool<O: Ops>(
    o: &mut O,
    s: &mut Scratch<O::Buffer, O::Picks>,
    w: &Compressor<O::Tensor>,
    stream: Stream,
    at: Site,
) -> Result<(), O::Error> {
    let (u, z) = match (stream, at.ratio) {
        (Stream::Index, _) => (&mut s.u_index, &mut s.z_index),
        (Stream::Latent, Ratio::Four) => (&mut s.u, &mut s.z),
        (Stream::Latent, _) => (&mut s.u_wide, &mut s.z_wide),
    };
    o.matmul(u, &s.xn, &w.kv)?;
    o.matmul(z, &s.xn, &w.gate)?;
    o.compress(u, z, w, stream, at)
}

pub(crate) fn select<O: Ops>(
    o: &mut O,
    s: &mut Scratch<O::Buffer, O::Picks>,
    w: &Csa<O::Tensor>,
    at: Site,
) -> Result<(), O::Error> {
    o.pool(s, &w.compressor, Stream::Latent, at)?;
    o.pool(s, &w.indexer.compressor, Stream::Index, at)?;
    o.matmul(&mut s.index_q, &s.qr, &w.indexer.query)?;
    o.index_heads(&mut s.index_q, at)?;
    o.matmul(&mut s.index_w, &s.xn, &w.indexer.weights)?;
    o.index_select(&mut s.selected, &s.index_q, &s.index_w, at)
}
