//! A shape as the metadata of a GGUF file, in both directions.

use ds4_gguf::write::MetadataBuf;
use ds4_gguf::{Gguf, Value};

use crate::mismatch::{BindError, Mismatch, PREFIX};
use crate::shape::{Profile, Ratio, Rope, Shape};

/// `general.architecture` of a main model file.
pub const ARCHITECTURE: &str = "deepseek4";

impl Shape {
    /// Reads and checks every key that describes the model; all that is wrong comes in one error.
    pub fn from_metadata(file: &Gguf) -> Result<Self, BindError> {
        check_architecture(file, ARCHITECTURE)?;
        let mut keys = Keys::new(file);
        let shape = keys.shape();
        let Keys { mut mismatches, .. } = keys;
        // With a key missing, comparing the rest with a profile would only blame the gap twice.
        if mismatches.is_empty() {
            mismatches = shape.mismatches();
        }
        if mismatches.is_empty() {
            return Ok(shape);
        }
        Err(BindError::Mismatch {
            file: file.name().to_owned(),
            model: shape.profile.to_string(),
            mismatches,
        })
    }
}

impl Shape {
    /// Adds every key that describes the model, as published files order them.
    pub fn to_metadata(&self, out: &mut MetadataBuf) {
        let layers = self.layers();
        let ratios: Vec<i32> = self
            .ratios
            .iter()
            .map(|ratio| ratio.tokens() as i32)
            .collect();
        let sizes = [
            ("block_count", layers),
            ("context_length", self.context),
            ("embedding_length", self.hidden),
            ("feed_forward_length", self.expert_width),
            ("vocab_size", self.vocab),
            ("attention.head_count", self.heads),
            ("attention.head_count_kv", 1),
            ("attention.key_length", self.head_width),
            ("attention.value_length", self.head_width),
            ("attention.q_lora_rank", self.query_rank),
            ("attention.output_lora_rank", self.output_rank),
            ("attention.output_group_count", self.output_groups),
            ("attention.sliding_window", self.window),
            ("attention.indexer.head_count", self.index_heads),
            ("attention.indexer.key_length", self.index_width),
            ("attention.indexer.top_k", self.index_top_k),
            ("rope.dimension_count", self.rotary),
            (
                "rope.scaling.original_context_length",
                self.rope.yarn_original as usize,
            ),
            ("expert_count", self.experts),
            ("expert_used_count", self.experts_used),
            ("expert_shared_count", 1),
            ("expert_feed_forward_length", self.expert_width),
            // The square root of softplus.
            ("expert_gating_func", 4),
            ("hash_layer_count", self.hash_layers),
            ("hyper_connection.count", self.streams),
            ("hyper_connection.sinkhorn_iterations", self.sinkhorn_rounds),
        ];
        let floats = [
            ("attention.layer_norm_rms_epsilon", self.norm_epsilon),
            (
                "attention.compress_rope_freq_base",
                self.rope.compressed_base,
            ),
            ("rope.freq_base", self.rope.base),
            ("rope.scaling.factor", self.rope.yarn_factor),
            ("rope.scaling.yarn_beta_fast", self.rope.yarn_beta_fast),
            ("rope.scaling.yarn_beta_slow", self.rope.yarn_beta_slow),
            ("expert_weights_scale", self.routed_scale),
            ("hyper_connection.epsilon", self.hyper_epsilon),
        ];
        for (key, size) in sizes {
            out.set(format!("{PREFIX}{key}"), size as u32);
        }
        for (key, float) in floats {
            out.set(format!("{PREFIX}{key}"), float);
        }
        out.set(format!("{PREFIX}rope.scaling.type"), "yarn");
        out.set(format!("{PREFIX}expert_weights_norm"), true);
        out.set(format!("{PREFIX}attention.compress_ratios"), ratios);
        out.set(
            format!("{PREFIX}swiglu_clamp_exp"),
            vec![self.swiglu_limit; layers],
        );
        out.set(
            format!("{PREFIX}swiglu_clamp_shexp"),
            vec![self.swiglu_limit; layers],
        );
    }
}

/// Fails unless the file names `expected` as its architecture.
pub(crate) fn check_architecture(file: &Gguf, expected: &'static str) -> Result<(), BindError> {
    let found = file
        .metadata()
        .get("general.architecture")
        .and_then(|value| value.as_str());
    if found == Some(expected) {
        return Ok(());
    }
    let (file, found) = (file.name().to_owned(), found.map(str::to_owned));
    Err(BindError::Architecture {
        file,
        expected,
        found,
    })
}

/// Reads keys of the model, noting what is missing or of another type.
pub(crate) struct Keys<'f> {
    file: &'f Gguf,
    pub(crate) mismatches: Vec<Mismatch>,
}

impl<'f> Keys<'f> {
    pub(crate) fn new(file: &'f Gguf) -> Self {
        Self {
            file,
            mismatches: Vec::new(),
        }
    }

    /// The value at `deepseek4.{key}` as `read` sees it.
    fn get<T>(
        &mut self,
        key: &str,
        kind: &str,
        read: impl FnOnce(Value<'f>) -> Option<T>,
    ) -> Option<T> {
        let full = format!("{PREFIX}{key}");
        let Some(value) = self.file.metadata().get(&full) else {
            self.mismatches.push(Mismatch::new(full, kind, "nothing"));
            return None;
        };
        let described = value.value_type().name();
        let read = read(value);
        if read.is_none() {
            self.mismatches.push(Mismatch::new(
                full,
                kind,
                format!("another value ({described})"),
            ));
        }
        read
    }

    pub(crate) fn size(&mut self, key: &str) -> usize {
        self.get(key, "a u32", |value| value.as_u32()).unwrap_or(0) as usize
    }

    fn float(&mut self, key: &str) -> f32 {
        self.get(key, "an f32", |value| value.as_f32())
            .unwrap_or(f32::NAN)
    }

    /// A key that has one legal value.
    pub(crate) fn exactly(&mut self, key: &str, expected: usize) {
        let noted = self.mismatches.len();
        let found = self.size(key);
        if self.mismatches.len() == noted && found != expected {
            self.mismatches.push(Mismatch::key(key, expected, found));
        }
    }

    /// A key that must be 0 where it exists.
    fn zero_if_present(&mut self, key: &str) {
        if self
            .file
            .metadata()
            .get(&format!("{PREFIX}{key}"))
            .is_some()
        {
            self.exactly(key, 0);
        }
    }

    fn shape(&mut self) -> Shape {
        let layers = self.size("block_count");
        let ratios = self.ratios(layers);
        let mut shape = Shape {
            profile: Profile::Mini,
            hidden: self.size("embedding_length"),
            vocab: self.size("vocab_size"),
            ratios,
            hash_layers: self.size("hash_layer_count"),
            heads: self.size("attention.head_count"),
            head_width: self.size("attention.key_length"),
            rotary: self.size("rope.dimension_count"),
            query_rank: self.size("attention.q_lora_rank"),
            output_groups: self.size("attention.output_group_count"),
            output_rank: self.size("attention.output_lora_rank"),
            window: self.size("attention.sliding_window"),
            index_heads: self.size("attention.indexer.head_count"),
            index_width: self.size("attention.indexer.key_length"),
            index_top_k: self.size("attention.indexer.top_k"),
            experts: self.size("expert_count"),
            experts_used: self.size("expert_used_count"),
            expert_width: self.size("expert_feed_forward_length"),
            routed_scale: self.float("expert_weights_scale"),
            swiglu_limit: self.clamp(layers),
            streams: self.size("hyper_connection.count"),
            sinkhorn_rounds: self.size("hyper_connection.sinkhorn_iterations"),
            norm_epsilon: self.float("attention.layer_norm_rms_epsilon"),
            hyper_epsilon: self.float("hyper_connection.epsilon"),
            rope: Rope {
                base: self.float("rope.freq_base"),
                compressed_base: self.float("attention.compress_rope_freq_base"),
                yarn_factor: self.float("rope.scaling.factor"),
                yarn_original: self.size("rope.scaling.original_context_length") as u32,
                yarn_beta_fast: self.float("rope.scaling.yarn_beta_fast"),
                yarn_beta_slow: self.float("rope.scaling.yarn_beta_slow"),
            },
            context: self.context(),
        };
        self.exactly("attention.head_count_kv", 1);
        self.exactly("attention.value_length", shape.head_width);
        self.exactly("expert_shared_count", 1);
        self.zero_if_present("expert_group_count");
        self.zero_if_present("expert_group_used_count");
        let normalised = self.get("expert_weights_norm", "a bool", |value| value.as_bool());
        if normalised == Some(false) {
            self.mismatches
                .push(Mismatch::key("expert_weights_norm", true, false));
        }
        shape.profile = shape.claimed_profile();
        shape
    }

    /// One ratio a layer. Files append entries for draft blocks they may not even hold: the tail is
    /// not ours.
    fn ratios(&mut self, layers: usize) -> Vec<Ratio> {
        let key = "attention.compress_ratios";
        let kind = format!("an array of at least {layers} integers");
        let Some(array) = self.get(key, &kind, |value| {
            value.as_array().filter(|array| array.len() >= layers)
        }) else {
            return Vec::new();
        };
        let mut ratios = Vec::new();
        for (layer, value) in array.values().take(layers).enumerate() {
            match value.as_u64().and_then(Ratio::from_tokens) {
                Some(ratio) => ratios.push(ratio),
                None => {
                    let at = format!("{key}[{layer}]");
                    self.mismatches
                        .push(Mismatch::key(&at, "0, 4 or 128", Shown(value)));
                    ratios.push(Ratio::None);
                }
            }
        }
        ratios
    }

    /// The SwiGLU clamp: stated once a layer, the same for all.
    fn clamp(&mut self, layers: usize) -> f32 {
        let key = "swiglu_clamp_exp";
        let kind = format!("an array of at least {layers} floats");
        let Some(array) = self.get(key, &kind, |value| {
            value
                .as_array()
                .filter(|array| !array.is_empty() && array.len() >= layers)
        }) else {
            return f32::NAN;
        };
        let mut limit = None;
        for (layer, value) in array.values().take(layers).enumerate() {
            let Some(found) = value.as_f32() else {
                let at = format!("{key}[{layer}]");
                self.mismatches
                    .push(Mismatch::key(&at, "a float", Shown(value)));
                return f32::NAN;
            };
            let first = *limit.get_or_insert(found);
            if found.to_bits() != first.to_bits() {
                let expected = format!("{first}, as in layer 0");
                self.mismatches
                    .push(Mismatch::key(&format!("{key}[{layer}]"), expected, found));
                return f32::NAN;
            }
        }
        limit.unwrap_or(f32::NAN)
    }

    fn context(&mut self) -> usize {
        match self.file.metadata().get(&format!("{PREFIX}context_length")) {
            Some(_) => self.size("context_length"),
            None => crate::profile::CONTEXT,
        }
    }
}

/// A scalar from a file, for a message.
struct Shown<'f>(Value<'f>);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0.as_i128(), self.0.as_f64()) {
            (Some(integer), _) => write!(f, "{integer}"),
            (None, Some(float)) => write!(f, "{float}"),
            _ => write!(f, "a {}", self.0.value_type().name()),
        }
    }
}
