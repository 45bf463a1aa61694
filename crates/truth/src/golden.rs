//! The golden files, read once.

use std::io::Read;

use ds4_gguf::synth::values::Values;
use ds4_model::Shape;
use flate2::read::GzDecoder;
use serde_json::Value;

/// Which golden model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// Every code path at small sizes, with other head widths than the family's: for the scalar reference alone.
    Tiny,
    /// The family's geometry, 31 million parameters.
    Mini,
    /// The same with the real index top-k and enough tokens that the indexer drops rows.
    Wide,
}

/// Whether rows are rounded as trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No rounding of rows: every float implementation of the model gives the same numbers.
    Exact,
    /// The model's roundings on.
    Rounded,
}

impl Model {
    /// The model's `config.json`, in the released format.
    pub fn config(self) -> &'static str {
        match self {
            Self::Tiny => include_str!("../golden/tiny/config.json"),
            Self::Mini => include_str!("../golden/mini/config.json"),
            Self::Wide => include_str!("../golden/wide/config.json"),
        }
    }

    /// Logits, streams, greedy tokens and drafts of a whole prompt.
    pub fn whole(self, mode: Mode) -> Whole {
        let bytes: &[u8] = match (self, mode) {
            (Self::Tiny, Mode::Exact) => include_bytes!("../golden/tiny/golden.json.gz"),
            (Self::Tiny, Mode::Rounded) => include_bytes!("../golden/tiny/golden_rounded.json.gz"),
            (Self::Mini, Mode::Exact) => include_bytes!("../golden/mini/golden.json.gz"),
            (Self::Mini, Mode::Rounded) => include_bytes!("../golden/mini/golden_rounded.json.gz"),
            (Self::Wide, Mode::Exact) => include_bytes!("../golden/wide/golden.json.gz"),
            (Self::Wide, Mode::Rounded) => include_bytes!("../golden/wide/golden_rounded.json.gz"),
        };
        Whole::read(&parse(bytes))
    }

    /// Intermediates of the last token of two prefixes; [`crate::trace`] compares with them.
    ///
    /// # Panics
    /// For [`Model::Wide`], which has none.
    pub fn trace(self) -> Value {
        match self {
            Self::Tiny => parse(include_bytes!("../golden/tiny/trace.json.gz")),
            Self::Mini => parse(include_bytes!("../golden/mini/trace.json.gz")),
            Self::Wide => panic!("there is no trace of this model"),
        }
    }

    /// The same of each block alone, fed with its synthetic streams, with the model's roundings:
    /// `"rounded"` as the reference rounds, `"packed"` with the rotary channels of latent rows in
    /// BF16 besides, as packed rows hold them.
    ///
    /// # Panics
    /// For [`Model::Wide`], which has none.
    pub fn blocks_trace(self) -> Value {
        match self {
            Self::Tiny => parse(include_bytes!("../golden/tiny/blocks_trace.json.gz")),
            Self::Mini => parse(include_bytes!("../golden/mini/blocks_trace.json.gz")),
            Self::Wide => panic!("there is no trace of this model"),
        }
    }
}

fn parse(gz: &[u8]) -> Value {
    let mut text = String::new();
    GzDecoder::new(gz)
        .read_to_string(&mut text)
        .expect("goldens in the tree are whole");
    serde_json::from_str(&text).expect("goldens in the tree are JSON")
}

/// What is known of the logits at every position of a prompt.
#[derive(Clone, Debug)]
pub struct EveryPosition {
    /// Most likely token.
    pub argmax: Vec<u32>,
    /// Its logit.
    pub max_logit: Vec<f64>,
    /// Its distance to the second.
    pub margin: Vec<f64>,
    /// Logarithm of the sum of exponentials.
    pub log_sum_exp: Vec<f64>,
    /// All logits at some positions.
    pub full: Vec<(usize, Vec<f64>)>,
}

/// Streams of some positions after one layer.
#[derive(Clone, Debug)]
pub struct Streams {
    /// The position.
    pub position: usize,
    /// By stream: sum, sum of squares, first channels.
    pub streams: Vec<(f64, f64, Vec<f64>)>,
}

/// A greedy continuation.
#[derive(Clone, Debug)]
pub struct Greedy {
    /// Tokens of the prompt it continues.
    pub prompt_len: usize,
    /// What follows.
    pub tokens: Vec<u32>,
}

/// One golden file.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The prompt.
    pub prompt: Vec<u32>,
    /// The token after it.
    pub next_token: u32,
    /// Logits of the model.
    pub logits: EveryPosition,
    /// Streams after each layer.
    pub layers: Vec<Vec<Streams>>,
    /// Greedy continuations (exact mode).
    pub greedy: Vec<Greedy>,
    /// Logits of the draft block.
    pub draft: EveryPosition,
}

impl Whole {
    fn read(v: &Value) -> Self {
        Self {
            prompt: ints(&v["prompt"]),
            next_token: int(&v["next_token"]),
            logits: EveryPosition::read(&v["every_position"]),
            layers: list(&v["layers"]).iter().map(streams).collect(),
            greedy: v["greedy"].as_array().map_or_else(Vec::new, |runs| {
                let run = |run: &Value| Greedy {
                    prompt_len: int(&run["prompt_len"]) as usize,
                    tokens: ints(&run["tokens"]),
                };
                runs.iter().map(run).collect()
            }),
            draft: EveryPosition::read(&v["mtp"]),
        }
    }
}

fn streams(layer: &Value) -> Vec<Streams> {
    let one =
        |at: &Value| Streams::read(int(&at["position"]), &at["sum"], &at["sumsq"], &at["head"]);
    list(layer).iter().map(one).collect()
}

impl Streams {
    fn read(position: u32, sums: &Value, squares: &Value, heads: &Value) -> Self {
        let heads = list(heads).iter().map(floats);
        let sums = floats(sums).into_iter().zip(floats(squares));
        let streams = sums
            .zip(heads)
            .map(|((sum, squares), head)| (sum, squares, head));
        Self {
            position: position as usize,
            streams: streams.collect(),
        }
    }
}

impl EveryPosition {
    fn read(v: &Value) -> Self {
        let full = &v["full"];
        let positions = ints(&full["positions"]).into_iter().map(|p| p as usize);
        Self {
            argmax: ints(&v["argmax"]),
            max_logit: floats(&v["max_logit"]),
            margin: floats(&v["margin"]),
            log_sum_exp: floats(&v["logsumexp"]),
            full: positions
                .zip(list(&full["logits"]).iter().map(floats))
                .collect(),
        }
    }
}

pub(crate) fn list(v: &Value) -> &[Value] {
    v.as_array().expect("a list stands here in the goldens")
}

pub(crate) fn int(v: &Value) -> u32 {
    v.as_u64().expect("a number stands here in the goldens") as u32
}

pub(crate) fn ints(v: &Value) -> Vec<u32> {
    list(v).iter().map(int).collect()
}

pub(crate) fn floats(v: &Value) -> Vec<f64> {
    list(v)
        .iter()
        .map(|v| v.as_f64().expect("a number stands here in the goldens"))
        .collect()
}

/// A block alone: a layer fed with synthetic streams at positions 0, 1, ...
#[derive(Clone, Debug)]
pub struct Block {
    /// Its name in the checkpoint.
    pub name: String,
    /// Its number; the draft block follows the last layer.
    pub layer: usize,
    /// Rows it is fed.
    pub rows: usize,
    /// The streams it should give.
    pub expected: Vec<Streams>,
    amplitude: f32,
}

impl Block {
    /// The streams it is fed, `(rows, streams, E)`.
    pub fn streams(&self, shape: &Shape) -> Vec<f32> {
        let values = Values::new(SEED, &format!("streams.{}", self.name));
        let count = self.rows * shape.stream_width();
        (0..count as u64)
            .map(|i| values.around(i, 0.0, self.amplitude))
            .collect()
    }
}

/// Seed of everything golden.
pub const SEED: u64 = 1;

/// The blocks of a model that has block goldens: [`Model::Tiny`] and [`Model::Mini`].
pub fn blocks(model: Model, mode: Mode) -> Vec<Block> {
    let v = match model {
        Model::Tiny => parse(include_bytes!("../golden/tiny/layers.json.gz")),
        Model::Mini => parse(include_bytes!("../golden/mini/layers.json.gz")),
        Model::Wide => return Vec::new(),
    };
    let amplitude = v["amp"].as_f64().expect("block goldens state an amplitude") as f32;
    let positions = ints(&v["positions"]);
    let block = |(layer, block): (usize, &Value)| {
        let of_mode = match mode {
            Mode::Exact => &block["exact"],
            Mode::Rounded => &block["rounded"],
        };
        let of_position = |(i, position): (usize, &u32)| {
            let at = |what: &str| &list(&of_mode[what])[i];
            Streams::read(*position, at("sum"), at("sumsq"), at("head"))
        };
        let expected = positions.iter().enumerate().map(of_position);
        Block {
            name: block["block"]
                .as_str()
                .expect("blocks have names")
                .to_owned(),
            layer,
            rows: int(&v["n"]) as usize,
            expected: expected.collect(),
            amplitude,
        }
    };
    list(&v["blocks"]).iter().enumerate().map(block).collect()
}
