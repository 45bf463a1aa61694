//! The shapes of the golden test models: small, and each with a reason.

use crate::profile::ROPE;
use crate::shape::{Profile, Ratio, Rope, Shape, family};

/// Every code path at small sizes, other head widths than the family's: for the scalar reference.
///
/// Its low SwiGLU limit and short YaRN length make clamps and interpolated frequencies matter.
pub fn tiny() -> Shape {
    Shape {
        profile: Profile::Odd,
        hidden: 128,
        ratios: ratios(&[0, 4, 128, 4, 128, 4]),
        heads: 4,
        head_width: 96,
        rotary: 32,
        query_rank: 64,
        output_rank: 32,
        window: 16,
        index_heads: 16,
        index_width: 64,
        index_top_k: 8,
        experts: 8,
        experts_used: 2,
        expert_width: 32,
        swiglu_limit: 1.5,
        rope: Rope {
            yarn_original: 256,
            ..ROPE
        },
        ..mini()
    }
}

/// The family's fixed geometry, 26 million parameters and a draft block of 5 million.
pub fn mini() -> Shape {
    Shape {
        profile: Profile::Mini,
        hidden: 256,
        vocab: 512,
        ratios: ratios(&[0, 4, 128, 4, 128]),
        hash_layers: 2,
        heads: 8,
        head_width: family::HEAD_WIDTH,
        query_rank: 128,
        output_groups: 2,
        output_rank: 64,
        index_top_k: 32,
        experts: 16,
        expert_width: 256,
        ..Shape::flash()
    }
}

/// Like [`mini`], with 67 million parameters (80 with its draft block) and the real index top-k:
/// from 2051 tokens on the indexer drops rows.
pub fn wide() -> Shape {
    Shape {
        hidden: 512,
        vocab: 1024,
        ratios: ratios(&[0, 128, 4, 128, 4]),
        hash_layers: 1,
        heads: 16,
        query_rank: 256,
        output_rank: 256,
        index_top_k: 512,
        routed_scale: 2.5,
        ..mini()
    }
}

fn ratios(tokens: &[u64]) -> Vec<Ratio> {
    let ratio = |&tokens| Ratio::from_tokens(tokens).expect("0, 4 or 128");
    tokens.iter().map(ratio).collect()
}
