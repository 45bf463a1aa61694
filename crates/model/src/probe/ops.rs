//! Every operation of a probed backend becomes a [`Call`].

use super::{Call, Probe, Probed};
use crate::ops::{Ops, RowSet, Seen, Site, Stream};
use crate::weights::{Compressor, Ffn, Hyper, Router};

impl<O: Ops, P: Probe<O>> Ops for Probed<O, P> {
    type Tensor = O::Tensor;
    type Buffer = O::Buffer;
    type Picks = O::Picks;
    type Error = O::Error;

    fn buffer(&mut self, rows: RowSet, width: usize) -> Result<O::Buffer, O::Error> {
        self.inner.buffer(rows, width)
    }

    fn picks(&mut self, width: usize) -> Result<O::Picks, O::Error> {
        self.inner.picks(width)
    }

    fn embed(&mut self, x: &mut O::Buffer, table: &O::Tensor) -> Result<(), O::Error> {
        self.call(Call::Embed { x, table })
    }

    fn spread(&mut self, streams: &mut O::Buffer, x: &O::Buffer) -> Result<(), O::Error> {
        self.call(Call::Spread { streams, x })
    }

    fn add(&mut self, streams: &mut O::Buffer, more: &O::Buffer) -> Result<(), O::Error> {
        self.call(Call::Add { streams, more })
    }

    fn hyper_enter(
        &mut self,
        x: &mut O::Buffer,
        mix: &mut O::Buffer,
        streams: &O::Buffer,
        hc: &Hyper<O::Tensor>,
    ) -> Result<(), O::Error> {
        self.call(Call::HyperEnter {
            x,
            mix,
            streams,
            hc,
        })
    }

    fn hyper_leave(
        &mut self,
        streams: &mut O::Buffer,
        y: &O::Buffer,
        mix: &O::Buffer,
    ) -> Result<(), O::Error> {
        self.call(Call::HyperLeave { streams, y, mix })
    }

    fn hyper_head(
        &mut self,
        x: &mut O::Buffer,
        streams: &O::Buffer,
        hc: &Hyper<O::Tensor>,
    ) -> Result<(), O::Error> {
        self.call(Call::HyperHead { x, streams, hc })
    }

    fn rms_norm(
        &mut self,
        out: &mut O::Buffer,
        x: &O::Buffer,
        weight: &O::Tensor,
    ) -> Result<(), O::Error> {
        self.call(Call::RmsNorm { out, x, weight })
    }

    fn matmul(
        &mut self,
        out: &mut O::Buffer,
        x: &O::Buffer,
        w: &O::Tensor,
    ) -> Result<(), O::Error> {
        self.call(Call::Matmul { out, x, w })
    }

    fn query_heads(&mut self, q: &mut O::Buffer, at: Site) -> Result<(), O::Error> {
        self.call(Call::QueryHeads { q, at })
    }

    fn latent_kv(
        &mut self,
        latent: &O::Buffer,
        norm: &O::Tensor,
        at: Site,
    ) -> Result<(), O::Error> {
        self.call(Call::LatentKv { latent, norm, at })
    }

    fn compress(
        &mut self,
        u: &O::Buffer,
        z: &O::Buffer,
        w: &Compressor<O::Tensor>,
        stream: Stream,
        at: Site,
    ) -> Result<(), O::Error> {
        self.call(Call::Compress {
            u,
            z,
            w,
            stream,
            at,
        })
    }

    fn index_heads(&mut self, q: &mut O::Buffer, at: Site) -> Result<(), O::Error> {
        self.call(Call::IndexHeads { q, at })
    }

    fn index_select(
        &mut self,
        picks: &mut O::Picks,
        q: &O::Buffer,
        head_weights: &O::Buffer,
        at: Site,
    ) -> Result<(), O::Error> {
        self.call(Call::IndexSelect {
            picks,
            q,
            head_weights,
            at,
        })
    }

    fn attend(
        &mut self,
        heads: &mut O::Buffer,
        q: &O::Buffer,
        sinks: &O::Tensor,
        seen: Seen<'_, O::Picks>,
        at: Site,
    ) -> Result<(), O::Error> {
        self.call(Call::Attend {
            heads,
            q,
            sinks,
            seen,
            at,
        })
    }

    fn window_commit(&mut self, at: Site) -> Result<(), O::Error> {
        self.call(Call::WindowCommit { at })
    }

    fn output_groups(
        &mut self,
        low: &mut O::Buffer,
        heads: &O::Buffer,
        a: &O::Tensor,
    ) -> Result<(), O::Error> {
        self.call(Call::OutputGroups { low, heads, a })
    }

    fn route(
        &mut self,
        picks: &mut O::Picks,
        logits: &O::Buffer,
        router: &Router<O::Tensor>,
    ) -> Result<(), O::Error> {
        self.call(Call::Route {
            picks,
            logits,
            router,
        })
    }

    fn experts(
        &mut self,
        y: &mut O::Buffer,
        x: &O::Buffer,
        picks: &O::Picks,
        routed: &Ffn<O::Tensor>,
        shared: &Ffn<O::Tensor>,
    ) -> Result<(), O::Error> {
        self.call(Call::Experts {
            y,
            x,
            picks,
            routed,
            shared,
        })
    }
}

impl<O: Ops, P: Probe<O>> Probed<O, P> {
    fn call(&mut self, mut call: Call<'_, O>) -> Result<(), O::Error> {
        self.probe.operation(&mut self.inner, &mut call)
    }
}
