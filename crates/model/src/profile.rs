//! The models we know by name, and the bounds of those we do not.
//!
//! A file of 43 layers and width 4096 claims to be Flash, one of 61 and 7168 to be PRO: every other
//! size must then match. Anything else is Mini while it keeps the family's fixed geometry, and Odd
//! otherwise.

use crate::mismatch::Mismatch;
use crate::shape::{Profile, Ratio, Rope, Shape, family};

/// What every model of the family shares and no file may change.
pub(crate) const NORM_EPSILON: f32 = 1e-6;
pub(crate) const CONTEXT: usize = 1 << 20;
pub(crate) const ROPE: Rope = Rope {
    base: 10_000.0,
    compressed_base: 160_000.0,
    yarn_factor: 16.0,
    yarn_original: 65_536,
    yarn_beta_fast: 32.0,
    yarn_beta_slow: 1.0,
};

impl Shape {
    /// DeepSeek V4 Flash.
    pub fn flash() -> Self {
        Self {
            profile: Profile::Flash,
            hidden: 4096,
            vocab: 129_280,
            ratios: alternating(43, Ratio::None),
            hash_layers: 3,
            heads: 64,
            head_width: family::HEAD_WIDTH,
            rotary: family::ROTARY,
            query_rank: 1024,
            output_groups: 8,
            output_rank: 1024,
            window: family::WINDOW,
            index_heads: 64,
            index_width: family::INDEX_WIDTH,
            index_top_k: 512,
            experts: 256,
            experts_used: 6,
            expert_width: 2048,
            routed_scale: 1.5,
            swiglu_limit: 10.0,
            streams: family::STREAMS,
            sinkhorn_rounds: family::SINKHORN_ROUNDS,
            norm_epsilon: NORM_EPSILON,
            hyper_epsilon: NORM_EPSILON,
            rope: ROPE,
            context: CONTEXT,
        }
    }

    /// DeepSeek V4 PRO.
    pub fn pro() -> Self {
        Self {
            profile: Profile::Pro,
            hidden: 7168,
            ratios: alternating(61, Ratio::OneTwentyEight),
            heads: 128,
            query_rank: 1536,
            output_groups: 16,
            index_top_k: 1024,
            experts: 384,
            expert_width: 3072,
            routed_scale: 2.5,
            ..Self::flash()
        }
    }

    /// The same model cut after its first `layers` layers; what is left is another model.
    #[must_use]
    pub fn with_layers(mut self, layers: usize) -> Self {
        self.ratios.truncate(layers);
        self.hash_layers = self.hash_layers.min(self.layers());
        self.profile = self.claimed_profile();
        self
    }

    /// The model this shape claims to be, whatever its `profile` field says.
    pub(crate) fn claimed_profile(&self) -> Profile {
        let fixed = self.head_width == family::HEAD_WIDTH
            && self.rotary == family::ROTARY
            && self.window == family::WINDOW
            && self.index_width == family::INDEX_WIDTH;
        match (self.layers(), self.hidden) {
            (43, 4096) => Profile::Flash,
            (61, 7168) => Profile::Pro,
            _ if fixed => Profile::Mini,
            _ => Profile::Odd,
        }
    }

    /// Every way in which this shape is not what its profile says, by metadata key.
    pub(crate) fn mismatches(&self) -> Vec<Mismatch> {
        let mut found = Check {
            shape: self,
            mismatches: Vec::new(),
        };
        found.constants();
        match self.profile {
            Profile::Flash => found.equals(&Self::flash()),
            Profile::Pro => found.equals(&Self::pro()),
            Profile::Mini | Profile::Odd => found.bounds(),
        }
        found.mismatches
    }
}

/// Layers 0 and 1 have ratio `first`; then 4 and 128 alternate.
fn alternating(layers: usize, first: Ratio) -> Vec<Ratio> {
    (0..layers)
        .map(|layer| match layer {
            0 | 1 => first,
            even if even % 2 == 0 => Ratio::Four,
            _ => Ratio::OneTwentyEight,
        })
        .collect()
}

/// Collects what is wrong with a shape.
struct Check<'s> {
    shape: &'s Shape,
    mismatches: Vec<Mismatch>,
}

/// Metadata key, value of a shape, and the least and greatest value of a Mini model.
type Size = (&'static str, fn(&Shape) -> usize, usize, usize);

/// The sizes in which models differ.
const SIZES: [Size; 16] = [
    ("embedding_length", |s| s.hidden, 32, 1 << 14),
    ("vocab_size", |s| s.vocab, 2, 1 << 20),
    ("block_count", |s| s.layers(), 1, 256),
    ("hash_layer_count", |s| s.hash_layers, 0, 256),
    ("attention.head_count", |s| s.heads, 1, 1024),
    ("attention.key_length", |s| s.head_width, 8, 1024),
    ("rope.dimension_count", |s| s.rotary, 2, 1024),
    ("attention.q_lora_rank", |s| s.query_rank, 32, 1 << 14),
    ("attention.output_group_count", |s| s.output_groups, 1, 256),
    ("attention.output_lora_rank", |s| s.output_rank, 8, 1 << 14),
    ("attention.sliding_window", |s| s.window, 1, 4096),
    ("attention.indexer.head_count", |s| s.index_heads, 1, 256),
    ("attention.indexer.key_length", |s| s.index_width, 32, 1024),
    ("attention.indexer.top_k", |s| s.index_top_k, 1, 1 << 16),
    ("expert_count", |s| s.experts, 1, 1024),
    (
        "expert_feed_forward_length",
        |s| s.expert_width,
        32,
        1 << 14,
    ),
];

impl Check<'_> {
    fn note(&mut self, key: &str, expected: impl ToString, found: impl ToString) {
        self.mismatches.push(Mismatch::key(key, expected, found));
    }

    fn float(&mut self, key: &str, expected: f32, found: f32) {
        // The tolerance that accepts every published file; a NaN is never within it.
        let close = (found - expected).abs() <= 1e-6 * expected.abs().max(1.0);
        if !close {
            self.note(key, expected, found);
        }
    }

    /// What no model of the family changes.
    fn constants(&mut self) {
        let shape = self.shape;
        let rope = &shape.rope;
        if shape.streams != family::STREAMS {
            self.note("hyper_connection.count", family::STREAMS, shape.streams);
        }
        if shape.sinkhorn_rounds != family::SINKHORN_ROUNDS {
            let key = "hyper_connection.sinkhorn_iterations";
            self.note(key, family::SINKHORN_ROUNDS, shape.sinkhorn_rounds);
        }
        self.float(
            "attention.layer_norm_rms_epsilon",
            NORM_EPSILON,
            shape.norm_epsilon,
        );
        self.float(
            "hyper_connection.epsilon",
            NORM_EPSILON,
            shape.hyper_epsilon,
        );
        self.float("rope.freq_base", ROPE.base, rope.base);
        self.float(
            "attention.compress_rope_freq_base",
            ROPE.compressed_base,
            rope.compressed_base,
        );
        self.float("rope.scaling.factor", ROPE.yarn_factor, rope.yarn_factor);
        self.float(
            "rope.scaling.yarn_beta_fast",
            ROPE.yarn_beta_fast,
            rope.yarn_beta_fast,
        );
        self.float(
            "rope.scaling.yarn_beta_slow",
            ROPE.yarn_beta_slow,
            rope.yarn_beta_slow,
        );
    }

    /// A known model: everything equals its profile.
    fn equals(&mut self, profile: &Shape) {
        let shape = self.shape;
        for (key, size, _, _) in SIZES {
            if size(shape) != size(profile) {
                self.note(key, size(profile), size(shape));
            }
        }
        if shape.experts_used != profile.experts_used {
            self.note(
                "expert_used_count",
                profile.experts_used,
                shape.experts_used,
            );
        }
        self.float(
            "expert_weights_scale",
            profile.routed_scale,
            shape.routed_scale,
        );
        self.float("swiglu_clamp_exp", profile.swiglu_limit, shape.swiglu_limit);
        if shape.rope.yarn_original != profile.rope.yarn_original {
            let key = "rope.scaling.original_context_length";
            self.note(key, profile.rope.yarn_original, shape.rope.yarn_original);
        }
        for (layer, (found, expected)) in shape.ratios.iter().zip(&profile.ratios).enumerate() {
            if found != expected {
                let key = format!("attention.compress_ratios[{layer}]");
                self.note(&key, expected.tokens(), found.tokens());
            }
        }
    }

    /// Another model: each size within reason, and sizes that fit each other.
    fn bounds(&mut self) {
        let shape = self.shape;
        for (key, size, least, greatest) in SIZES {
            if !(least..=greatest).contains(&size(shape)) {
                self.note(key, format!("{least} to {greatest}"), size(shape));
            }
        }
        let multiple = |of: usize, unit: usize| unit > 0 && of.is_multiple_of(unit);
        if !multiple(shape.heads, shape.output_groups) {
            let expected = format!("a divisor of {} heads", shape.heads);
            self.note(
                "attention.output_group_count",
                expected,
                shape.output_groups,
            );
        }
        if shape.rotary > shape.head_width || !multiple(shape.rotary, 2) {
            let expected = format!("even, at most the head width {}", shape.head_width);
            self.note("rope.dimension_count", expected, shape.rotary);
        }
        if shape.rotary > shape.index_width {
            let expected = format!("at least the rotary width {}", shape.rotary);
            self.note("attention.indexer.key_length", expected, shape.index_width);
        }
        // The indexer's rows pass a Walsh-Hadamard transform and blocks of 32.
        if !shape.index_width.is_power_of_two() {
            self.note(
                "attention.indexer.key_length",
                "a power of two",
                shape.index_width,
            );
        }
        if shape.experts_used == 0 || shape.experts_used > shape.experts.min(32) {
            let expected = format!("1 to {}", shape.experts.min(32));
            self.note("expert_used_count", expected, shape.experts_used);
        }
        if shape.hash_layers > shape.layers() {
            let expected = format!("at most {} layers", shape.layers());
            self.note("hash_layer_count", expected, shape.hash_layers);
        }
        self.range("expert_weights_scale", shape.routed_scale, 1e-3, 1e3);
        self.range("swiglu_clamp_exp", shape.swiglu_limit, 1e-3, 1e6);
        let original = shape.rope.yarn_original;
        if !(16..=1 << 24).contains(&original) {
            self.note(
                "rope.scaling.original_context_length",
                "16 to 16777216",
                original,
            );
        }
    }

    fn range(&mut self, key: &str, found: f32, least: f32, greatest: f32) {
        if !(least..=greatest).contains(&found) {
            self.note(key, format!("{least} to {greatest}"), found);
        }
    }
}
