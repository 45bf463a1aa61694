//! What a tensor is for. The role decides in which format a tensor may be stored and how synthetic
//! models fill it.

use ds4_gguf::Format;

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Token embedding.
    Embed,
    /// Vocabulary projection.
    Output,
    /// Weights of an RMS norm.
    Norm,
    /// Softmax sinks of a layer's heads.
    Sinks,
    /// Mixing matrix of a hyper-connection.
    HyperMix,
    /// Its biases.
    HyperBase,
    /// Its scales.
    HyperScale,
    /// A dense matrix of attention or of the draft block.
    Projection,
    /// The attention matrix that writes into the streams.
    AttentionOut,
    /// Values of a compressor.
    CompressorKv,
    /// Softmax weights of a compressor.
    CompressorGate,
    /// Position bias of a compressor.
    CompressorApe,
    /// Queries of the indexer.
    IndexerQuery,
    /// Head weights of the indexer.
    IndexerWeights,
    /// Router logits.
    Router,
    /// Selection bias of the router.
    RouterBias,
    /// Experts by token id.
    ExpertTable,
    /// Gate or up matrices of the routed experts.
    ExpertIn,
    /// Down matrices of the routed experts.
    ExpertOut,
    /// Gate or up matrix of the shared expert.
    SharedIn,
    /// Down matrix of the shared expert.
    SharedOut,
    /// Projections and tables of the DSpark drafter.
    Drafter,
}

impl Role {
    /// The format every published file stores this role in; routed experts are where recipes
    /// differ.
    pub fn published(self) -> Option<Format> {
        Some(match self {
            Self::Norm | Self::Sinks | Self::HyperBase | Self::HyperScale | Self::RouterBias => {
                Format::F32
            }
            Self::ExpertTable => Format::I32,
            Self::Embed
            | Self::HyperMix
            | Self::CompressorKv
            | Self::CompressorGate
            | Self::CompressorApe
            | Self::IndexerQuery
            | Self::IndexerWeights
            | Self::Router => Format::F16,
            Self::Output
            | Self::Projection
            | Self::AttentionOut
            | Self::SharedIn
            | Self::SharedOut
            | Self::Drafter => Format::Q8_0,
            Self::ExpertIn | Self::ExpertOut => return None,
        })
    }

    /// Gate, up or down matrices of the routed experts?
    pub fn is_routed(self) -> bool {
        matches!(self, Self::ExpertIn | Self::ExpertOut)
    }

    /// A vector or a table, whose format never varies (as opposed to a matrix)?
    pub fn is_fixed(self) -> bool {
        matches!(self.published(), Some(Format::F32 | Format::I32))
    }
}
