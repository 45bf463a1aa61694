//! An operation as a value: what [`Ops`] is asked to do, with its operands.

use crate::ops::{Ops, Seen, Site, Stream};
use crate::weights::{Compressor, Ffn, Hyper, Router};

/// One operation and its operands, named as in [`Ops`].
#[expect(
    missing_docs,
    reason = "the operands are those of the operations of `Ops`"
)]
pub enum Call<'a, O: Ops> {
    Embed {
        x: &'a mut O::Buffer,
        table: &'a O::Tensor,
    },
    Spread {
        streams: &'a mut O::Buffer,
        x: &'a O::Buffer,
    },
    Add {
        streams: &'a mut O::Buffer,
        more: &'a O::Buffer,
    },
    HyperEnter {
        x: &'a mut O::Buffer,
        mix: &'a mut O::Buffer,
        streams: &'a O::Buffer,
        hc: &'a Hyper<O::Tensor>,
    },
    HyperLeave {
        streams: &'a mut O::Buffer,
        y: &'a O::Buffer,
        mix: &'a O::Buffer,
    },
    HyperHead {
        x: &'a mut O::Buffer,
        streams: &'a O::Buffer,
        hc: &'a Hyper<O::Tensor>,
    },
    RmsNorm {
        out: &'a mut O::Buffer,
        x: &'a O::Buffer,
        weight: &'a O::Tensor,
    },
    Matmul {
        out: &'a mut O::Buffer,
        x: &'a O::Buffer,
        w: &'a O::Tensor,
    },
    QueryHeads {
        q: &'a mut O::Buffer,
        at: Site,
    },
    LatentKv {
        latent: &'a O::Buffer,
        norm: &'a O::Tensor,
        at: Site,
    },
    Compress {
        u: &'a O::Buffer,
        z: &'a O::Buffer,
        w: &'a Compressor<O::Tensor>,
        stream: Stream,
        at: Site,
    },
    IndexHeads {
        q: &'a mut O::Buffer,
        at: Site,
    },
    IndexSelect {
        picks: &'a mut O::Picks,
        q: &'a O::Buffer,
        head_weights: &'a O::Buffer,
        at: Site,
    },
    Attend {
        heads: &'a mut O::Buffer,
        q: &'a O::Buffer,
        sinks: &'a O::Tensor,
        seen: Seen<'a, O::Picks>,
        at: Site,
    },
    WindowCommit {
        at: Site,
    },
    OutputGroups {
        low: &'a mut O::Buffer,
        heads: &'a O::Buffer,
        a: &'a O::Tensor,
    },
    Route {
        picks: &'a mut O::Picks,
        logits: &'a O::Buffer,
        router: &'a Router<O::Tensor>,
    },
    Experts {
        y: &'a mut O::Buffer,
        x: &'a O::Buffer,
        picks: &'a O::Picks,
        routed: &'a Ffn<O::Tensor>,
        shared: &'a Ffn<O::Tensor>,
    },
}

/// What an operation writes.
pub enum Output<'c, O: Ops> {
    /// Rows of floats.
    Rows(&'c mut O::Buffer),
    /// What is read of the streams, and how they are written back.
    Mixed(&'c mut O::Buffer, &'c mut O::Buffer),
    /// Ids and weights.
    Picks(&'c mut O::Picks),
    /// The session's memory, of which the backend shows frontiers and pages.
    Memory,
}

impl<O: Ops> Call<'_, O> {
    /// Does it. It may be done again: an operation that is not in place gives the same once more.
    ///
    /// # Errors
    /// What the backend says.
    pub fn run(&mut self, o: &mut O) -> Result<(), O::Error> {
        match self {
            Self::Embed { x, table } => o.embed(x, table),
            Self::Spread { streams, x } => o.spread(streams, x),
            Self::Add { streams, more } => o.add(streams, more),
            Self::HyperEnter {
                x,
                mix,
                streams,
                hc,
            } => o.hyper_enter(x, mix, streams, hc),
            Self::HyperLeave { streams, y, mix } => o.hyper_leave(streams, y, mix),
            Self::HyperHead { x, streams, hc } => o.hyper_head(x, streams, hc),
            Self::RmsNorm { out, x, weight } => o.rms_norm(out, x, weight),
            Self::Matmul { out, x, w } => o.matmul(out, x, w),
            Self::QueryHeads { q, at } => o.query_heads(q, *at),
            Self::LatentKv { latent, norm, at } => o.latent_kv(latent, norm, *at),
            Self::Compress {
                u,
                z,
                w,
                stream,
                at,
            } => o.compress(u, z, w, *stream, *at),
            Self::IndexHeads { q, at } => o.index_heads(q, *at),
            Self::IndexSelect {
                picks,
                q,
                head_weights,
                at,
            } => o.index_select(picks, q, head_weights, *at),
            Self::Attend {
                heads,
                q,
                sinks,
                seen,
                at,
            } => o.attend(heads, q, sinks, *seen, *at),
            Self::WindowCommit { at } => o.window_commit(*at),
            Self::OutputGroups { low, heads, a } => o.output_groups(low, heads, a),
            Self::Route {
                picks,
                logits,
                router,
            } => o.route(picks, logits, router),
            Self::Experts {
                y,
                x,
                picks,
                routed,
                shared,
            } => o.experts(y, x, picks, routed, shared),
        }
    }

    /// The operation's name, as in [`Ops`].
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embed { .. } => "embed",
            Self::Spread { .. } => "spread",
            Self::Add { .. } => "add",
            Self::HyperEnter { .. } => "hyper_enter",
            Self::HyperLeave { .. } => "hyper_leave",
            Self::HyperHead { .. } => "hyper_head",
            Self::RmsNorm { .. } => "rms_norm",
            Self::Matmul { .. } => "matmul",
            Self::QueryHeads { .. } => "query_heads",
            Self::LatentKv { .. } => "latent_kv",
            Self::Compress { .. } => "compress",
            Self::IndexHeads { .. } => "index_heads",
            Self::IndexSelect { .. } => "index_select",
            Self::Attend { .. } => "attend",
            Self::WindowCommit { .. } => "window_commit",
            Self::OutputGroups { .. } => "output_groups",
            Self::Route { .. } => "route",
            Self::Experts { .. } => "experts",
        }
    }

    /// What it writes; before it is run, what was there.
    pub fn output(&mut self) -> Output<'_, O> {
        match self {
            Self::HyperEnter { x, mix, .. } => Output::<O>::Mixed(x, mix),
            Self::Embed { x, .. } | Self::HyperHead { x, .. } => Output::<O>::Rows(x),
            Self::Spread { streams, .. }
            | Self::Add { streams, .. }
            | Self::HyperLeave { streams, .. } => Output::<O>::Rows(streams),
            Self::RmsNorm { out, .. } | Self::Matmul { out, .. } => Output::<O>::Rows(out),
            Self::QueryHeads { q, .. } | Self::IndexHeads { q, .. } => Output::<O>::Rows(q),
            Self::Attend { heads, .. } => Output::<O>::Rows(heads),
            Self::OutputGroups { low, .. } => Output::<O>::Rows(low),
            Self::Experts { y, .. } => Output::<O>::Rows(y),
            Self::IndexSelect { picks, .. } | Self::Route { picks, .. } => {
                Output::<O>::Picks(picks)
            }
            Self::LatentKv { .. } | Self::Compress { .. } | Self::WindowCommit { .. } => {
                Output::Memory
            }
        }
    }
}
