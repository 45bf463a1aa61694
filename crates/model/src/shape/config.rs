//! A shape out of `config.json`, the form in which checkpoints are released.

use serde_json::{Map, Value};

use crate::mismatch::Mismatch;
use crate::shape::{Profile, Ratio, Rope, Shape};

/// Why a `config.json` is no model of this family.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is not a JSON object.
    #[error("config.json is not a JSON object")]
    Json(#[source] Option<serde_json::Error>),
    /// Fields are missing or have values no model of the family has.
    #[error("config.json does not describe a model of this family:{}", lines(.0))]
    Fields(Vec<Mismatch>),
}

fn lines(mismatches: &[Mismatch]) -> String {
    mismatches
        .iter()
        .map(|mismatch| format!("\n  {mismatch}"))
        .collect()
}

impl Shape {
    /// Reads a released `config.json`; `compress_ratios` may go on behind the last layer, for draft
    /// blocks.
    pub fn from_config(text: &str) -> Result<Self, ConfigError> {
        let json: Value =
            serde_json::from_str(text).map_err(|error| ConfigError::Json(Some(error)))?;
        let Value::Object(object) = json else {
            return Err(ConfigError::Json(None));
        };
        let mut fields = Fields {
            object: &object,
            prefix: "",
            mismatches: Vec::new(),
        };
        let shape = fields.shape();
        let mut mismatches = fields.mismatches;
        if mismatches.is_empty() {
            mismatches = shape.mismatches();
        }
        if mismatches.is_empty() {
            Ok(shape)
        } else {
            Err(ConfigError::Fields(mismatches))
        }
    }
}

/// Reads fields, noting what is missing or of another type.
struct Fields<'j> {
    object: &'j Map<String, Value>,
    prefix: &'static str,
    mismatches: Vec<Mismatch>,
}

impl<'j> Fields<'j> {
    fn get<T>(
        &mut self,
        field: &str,
        kind: &str,
        read: impl FnOnce(&'j Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.object.get(field);
        let result = value.and_then(read);
        if result.is_none() {
            let found = if value.is_some() {
                "another value"
            } else {
                "nothing"
            };
            self.mismatches.push(Mismatch::new(
                format!("{}{field}", self.prefix),
                kind,
                found,
            ));
        }
        result
    }

    fn size(&mut self, field: &str) -> usize {
        let value = self.get(field, "a number", |value| {
            u32::try_from(value.as_u64()?).ok()
        });
        value.unwrap_or(0) as usize
    }

    fn float(&mut self, field: &str) -> f32 {
        self.get(field, "a number", Value::as_f64)
            .map_or(f32::NAN, |value| value as f32)
    }

    fn exactly(&mut self, field: &str, expected: impl Into<Value>) {
        let expected = expected.into();
        let found = self.object.get(field);
        if found != Some(&expected) {
            let found = found.map_or_else(|| "nothing".to_owned(), Value::to_string);
            let at = format!("{}{field}", self.prefix);
            self.mismatches.push(Mismatch::new(at, expected, found));
        }
    }

    fn shape(&mut self) -> Shape {
        self.exactly("num_key_value_heads", 1);
        self.exactly("n_shared_experts", 1);
        self.exactly("norm_topk_prob", true);
        self.exactly("scoring_func", "sqrtsoftplus");
        let layers = self.size("num_hidden_layers");
        let mut shape = Shape {
            profile: Profile::Mini,
            hidden: self.size("hidden_size"),
            vocab: self.size("vocab_size"),
            ratios: self.ratios(layers),
            hash_layers: self.size("num_hash_layers"),
            heads: self.size("num_attention_heads"),
            head_width: self.size("head_dim"),
            rotary: self.size("qk_rope_head_dim"),
            query_rank: self.size("q_lora_rank"),
            output_groups: self.size("o_groups"),
            output_rank: self.size("o_lora_rank"),
            window: self.size("sliding_window"),
            index_heads: self.size("index_n_heads"),
            index_width: self.size("index_head_dim"),
            index_top_k: self.size("index_topk"),
            experts: self.size("n_routed_experts"),
            experts_used: self.size("num_experts_per_tok"),
            expert_width: self.size("moe_intermediate_size"),
            routed_scale: self.float("routed_scaling_factor"),
            swiglu_limit: self.float("swiglu_limit"),
            streams: self.size("hc_mult"),
            sinkhorn_rounds: self.size("hc_sinkhorn_iters"),
            norm_epsilon: self.float("rms_norm_eps"),
            hyper_epsilon: self.float("hc_eps"),
            rope: self.rope(),
            context: self.size("max_position_embeddings"),
        };
        shape.profile = shape.claimed_profile();
        shape
    }

    fn rope(&mut self) -> Rope {
        let (base, compressed_base) = (self.float("rope_theta"), self.float("compress_rope_theta"));
        let empty = Map::new();
        let scaling = self.get("rope_scaling", "an object", Value::as_object);
        let mut yarn = Fields {
            object: scaling.unwrap_or(&empty),
            prefix: "rope_scaling.",
            mismatches: Vec::new(),
        };
        let rope = Rope {
            base,
            compressed_base,
            yarn_factor: yarn.float("factor"),
            yarn_original: yarn.size("original_max_position_embeddings") as u32,
            yarn_beta_fast: yarn.float("beta_fast"),
            yarn_beta_slow: yarn.float("beta_slow"),
        };
        if scaling.is_some() {
            self.mismatches.append(&mut yarn.mismatches);
        }
        rope
    }

    fn ratios(&mut self, layers: usize) -> Vec<Ratio> {
        let kind = format!("at least {layers} of 0, 4 and 128");
        self.get("compress_ratios", &kind, |value| {
            let ratios = value.as_array()?.get(..layers)?;
            ratios
                .iter()
                .map(|ratio| Ratio::from_tokens(ratio.as_u64()?))
                .collect()
        })
        .unwrap_or_default()
    }
}
