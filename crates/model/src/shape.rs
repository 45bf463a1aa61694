//! Every number the model is made of, stated once.
//!
//! What the whole family shares is a constant in [`family`], so kernels may be compiled for it; what differs between
//! models is a field of [`Shape`]. A shape comes from a file's metadata and is checked against a [`Profile`] before
//! anything is allocated.

pub mod config;
pub mod metadata;

use std::fmt;

/// Sizes that every model of the family has, whatever its profile (only [`Profile::Odd`] differs).
pub mod family {
    /// Width of a query head and of a latent row (key and value are the same vector).
    pub const HEAD_WIDTH: usize = 512;
    /// Rotary channels: the last ones of a head.
    pub const ROTARY: usize = 64;
    /// Sliding window, in tokens.
    pub const WINDOW: usize = 128;
    /// Width of an indexer head and of an index row.
    pub const INDEX_WIDTH: usize = 128;
    /// Residual streams (hyper-connections).
    pub const STREAMS: usize = 4;
    /// Sinkhorn rounds of the stream mixing matrix; the first column normalisation counts as one.
    pub const SINKHORN_ROUNDS: usize = 20;
    /// Values of a hyper-connection mix: read weights, write weights, mixing matrix.
    pub const MIX: usize = STREAMS * (2 + STREAMS);
}

/// Which model a file is, by its sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// DeepSeek V4 Flash: 43 layers, 284 billion parameters.
    Flash,
    /// DeepSeek V4 PRO: 61 layers, 1.57 trillion parameters.
    Pro,
    /// The family's fixed geometry with any other sizes: tests, goldens, the demo model.
    Mini,
    /// Other head widths than the family's. For the scalar reference alone; every fast path refuses it.
    Odd,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Flash => "DeepSeek V4 Flash",
            Self::Pro => "DeepSeek V4 PRO",
            Self::Mini => "the V4 family at other sizes (Mini)",
            Self::Odd => "the V4 architecture at other head widths (Odd)",
        })
    }
}

/// How many tokens one compressed row of a layer stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ratio {
    /// No compression: the layer sees its window only.
    None,
    /// One overlapping row per 4 tokens, selected by the indexer (CSA).
    Four,
    /// One row per 128 tokens, all attended to (HCA).
    OneTwentyEight,
}

impl Ratio {
    /// The ratio as files state it: 0, 4 or 128.
    pub fn tokens(self) -> usize {
        match self {
            Self::None => 0,
            Self::Four => 4,
            Self::OneTwentyEight => 128,
        }
    }

    /// The ratio that files state as `tokens`.
    pub fn from_tokens(tokens: u64) -> Option<Self> {
        match tokens {
            0 => Some(Self::None),
            4 => Some(Self::Four),
            128 => Some(Self::OneTwentyEight),
            _ => None,
        }
    }

    /// Lanes of the compressor: ratio 4 overlaps two windows.
    pub fn lanes(self) -> usize {
        match self {
            Self::None => 0,
            Self::Four => 2,
            Self::OneTwentyEight => 1,
        }
    }

    /// Rows complete once `tokens` tokens have been seen.
    pub fn rows(self, tokens: usize) -> usize {
        match self {
            Self::None => 0,
            _ => tokens / self.tokens(),
        }
    }
}

/// Rotary embedding: the plain base of window layers, and the stretched one of compressed layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// Base of ratio-0 layers, without scaling.
    pub base: f32,
    /// Base of ratio-4 and ratio-128 layers, with YaRN.
    pub compressed_base: f32,
    /// YaRN factor.
    pub yarn_factor: f32,
    /// Context length before YaRN.
    pub yarn_original: u32,
    /// YaRN ramp, fast end, in rotations.
    pub yarn_beta_fast: f32,
    /// YaRN ramp, slow end, in rotations.
    pub yarn_beta_slow: f32,
}

/// The sizes of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Which model this is.
    pub profile: Profile,
    /// Hidden width E.
    pub hidden: usize,
    /// Vocabulary V.
    pub vocab: usize,
    /// Compression ratio of each layer; its length is the number of layers L.
    pub ratios: Vec<Ratio>,
    /// Layers routed by token id, from layer 0 on.
    pub hash_layers: usize,
    /// Query heads H.
    pub heads: usize,
    /// Head width D.
    pub head_width: usize,
    /// Rotary channels R, the last of a head.
    pub rotary: usize,
    /// Query low rank Q.
    pub query_rank: usize,
    /// Output groups G.
    pub output_groups: usize,
    /// Output low rank per group O.
    pub output_rank: usize,
    /// Sliding window W.
    pub window: usize,
    /// Indexer heads HI.
    pub index_heads: usize,
    /// Indexer width DI.
    pub index_width: usize,
    /// Compressed rows the indexer keeps, K.
    pub index_top_k: usize,
    /// Routed experts X.
    pub experts: usize,
    /// Experts per token k.
    pub experts_used: usize,
    /// Expert width F, routed and shared.
    pub expert_width: usize,
    /// Scale of the normalised routing weights.
    pub routed_scale: f32,
    /// SwiGLU clamp.
    pub swiglu_limit: f32,
    /// Residual streams C.
    pub streams: usize,
    /// Sinkhorn rounds.
    pub sinkhorn_rounds: usize,
    /// Epsilon of every RMS norm.
    pub norm_epsilon: f32,
    /// Epsilon of hyper-connections.
    pub hyper_epsilon: f32,
    /// Rotary embedding.
    pub rope: Rope,
    /// Longest context the model was trained for.
    pub context: usize,
}

impl Shape {
    /// Number of layers L.
    pub fn layers(&self) -> usize {
        self.ratios.len()
    }

    /// Values of a hyper-connection mix: 4 read weights, 4 write weights, a 4 x 4 matrix.
    pub fn mix(&self) -> usize {
        self.streams * (2 + self.streams)
    }

    /// Values in the flattened streams of one token.
    pub fn stream_width(&self) -> usize {
        self.streams * self.hidden
    }

    /// Is layer `layer` routed by token id?
    pub fn is_hashed(&self, layer: usize) -> bool {
        layer < self.hash_layers
    }
}
