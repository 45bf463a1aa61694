//! The table of tensors: for a shape, every tensor's name in a GGUF file, its dimensions and its
//! role.
//!
//! The table is a [`Weights`] whose tensors are [`Slot`]s. Binding fills the slots from a file, a
//! synthetic model fills them with noise, the census counts them; none of these knows a name or a
//! dimension of its own.

use crate::role::Role;
use crate::shape::{Ratio, Shape};
use crate::weights::{
    Attention, Compressor, Csa, Draft, Ffn, Head, Hyper, Indexer, Latent, Layer, Moe, Output,
    Query, Router, Weights,
};

/// A place for a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Name in a GGUF file.
    pub name: String,
    /// Name in a released checkpoint. Routed experts are separate tensors there: `*` stands for the
    /// expert.
    pub checkpoint: String,
    /// Dimensions in GGUF order: the input width first, experts last.
    pub dims: Vec<u64>,
    /// What the tensor is for.
    pub role: Role,
    /// The layer it belongs to, if any.
    pub layer: Option<usize>,
}

impl Slot {
    /// Number of values.
    pub fn values(&self) -> u64 {
        self.dims.iter().product()
    }

    /// Input width: the length of a row.
    pub fn columns(&self) -> u64 {
        self.dims[0]
    }
}

impl Weights<Slot> {
    /// The slots of a model without its draft block.
    pub fn layout(shape: &Shape) -> Self {
        let global = Namer {
            gguf: String::new(),
            checkpoint: String::new(),
            layer: None,
        };
        let (hidden, vocab) = (shape.hidden, shape.vocab);
        Self {
            embed: global.slot("token_embd", "embed", Role::Embed, &[hidden, vocab]),
            layers: (0..shape.layers())
                .map(|layer| Layer::layout(shape, layer))
                .collect(),
            head: Head {
                hc: hyper(&global, "output_hc", "hc_head", shape, shape.streams, 1),
                norm: global.slot("output_norm", "norm", Role::Norm, &[hidden]),
                output: global.slot("output", "head", Role::Output, &[hidden, vocab]),
            },
            draft: None,
        }
    }

    /// The slots in the order of [`Weights::for_each`].
    pub fn slots(&self) -> Vec<Slot> {
        let mut slots = Vec::new();
        self.for_each(|_, slot| slots.push(slot.clone()));
        slots
    }
}

impl Layer<Slot> {
    /// The slots of decoder layer `layer`.
    fn layout(shape: &Shape, layer: usize) -> Self {
        let name = Namer {
            gguf: format!("blk.{layer}."),
            checkpoint: format!("layers.{layer}."),
            layer: Some(layer),
        };
        block(&name, shape, shape.ratios[layer], shape.is_hashed(layer))
    }

    /// The slots of block `number` of a support file: a layer of ratio 0 with a top-k router.
    pub fn support_layout(shape: &Shape, number: usize) -> Self {
        block(&Namer::support(number), shape, Ratio::None, false)
    }
}

impl Draft<Slot> {
    /// The slots of the draft block, as its own support file names them.
    pub fn layout(shape: &Shape) -> Self {
        let name = Namer::support(0);
        let hidden = shape.hidden;
        let square = |gguf| name.slot(gguf, gguf, Role::Projection, &[hidden, hidden]);
        let norm = |gguf| name.slot(gguf, gguf, Role::Norm, &[hidden]);
        Self {
            embed_proj: square("e_proj"),
            stream_proj: square("h_proj"),
            embed_norm: norm("enorm"),
            stream_norm: norm("hnorm"),
            layer: Layer::support_layout(shape, 0),
            hc: hyper(&name, "hc_head", "hc_head", shape, shape.streams, 1),
            norm: norm("norm"),
        }
    }

    /// The slots in the order of [`Draft::for_each`].
    pub fn slots(&self) -> Vec<Slot> {
        let mut slots = Vec::new();
        self.for_each(|_, slot| slots.push(slot.clone()));
        slots
    }
}

/// Prefixes of both naming schemes.
pub(crate) struct Namer {
    gguf: String,
    checkpoint: String,
    layer: Option<usize>,
}

impl Namer {
    /// Block `number` of a support file.
    pub(crate) fn support(number: usize) -> Self {
        let prefix = format!("mtp.{number}.");
        Self {
            gguf: prefix.clone(),
            checkpoint: prefix,
            layer: None,
        }
    }

    /// A tensor whose name ends in `.weight` in both schemes.
    pub(crate) fn slot(&self, gguf: &str, checkpoint: &str, role: Role, dims: &[usize]) -> Slot {
        self.named(
            &format!("{gguf}.weight"),
            &format!("{checkpoint}.weight"),
            role,
            dims,
        )
    }

    /// A tensor that checkpoints hold as a bare parameter, without `.weight`.
    fn bare(&self, gguf: &str, checkpoint: &str, role: Role, dims: &[usize]) -> Slot {
        self.named(&format!("{gguf}.weight"), checkpoint, role, dims)
    }

    fn named(&self, gguf: &str, checkpoint: &str, role: Role, dims: &[usize]) -> Slot {
        Slot {
            name: format!("{}{gguf}", self.gguf),
            checkpoint: format!("{}{checkpoint}", self.checkpoint),
            dims: dims.iter().map(|&dim| dim as u64).collect(),
            role,
            layer: self.layer,
        }
    }
}

fn block(name: &Namer, shape: &Shape, ratio: Ratio, hashed: bool) -> Layer<Slot> {
    let (hidden, heads, width) = (shape.hidden, shape.heads, shape.head_width);
    let (rank, low) = (shape.query_rank, shape.output_groups * shape.output_rank);
    let dense =
        |gguf, checkpoint, dims: [usize; 2]| name.slot(gguf, checkpoint, Role::Projection, &dims);
    let norm = |gguf, checkpoint, dim: usize| name.slot(gguf, checkpoint, Role::Norm, &[dim]);
    Layer {
        attn_hc: hyper(name, "hc_attn", "hc_attn", shape, shape.mix(), 3),
        attn_norm: norm("attn_norm", "attn_norm", hidden),
        query: Query {
            a: dense("attn_q_a", "attn.wq_a", [hidden, rank]),
            norm: norm("attn_q_a_norm", "attn.q_norm", rank),
            b: dense("attn_q_b", "attn.wq_b", [rank, heads * width]),
        },
        latent: Latent {
            kv: dense("attn_kv", "attn.wkv", [hidden, width]),
            norm: norm("attn_kv_a_norm", "attn.kv_norm", width),
        },
        sinks: name.bare("attn_sinks", "attn.attn_sink", Role::Sinks, &[heads]),
        attention: attention(name, shape, ratio),
        output: Output {
            a: dense(
                "attn_output_a",
                "attn.wo_a",
                [width * heads / shape.output_groups, low],
            ),
            b: name.slot(
                "attn_output_b",
                "attn.wo_b",
                Role::AttentionOut,
                &[low, hidden],
            ),
        },
        moe_hc: hyper(name, "hc_ffn", "hc_ffn", shape, shape.mix(), 3),
        moe_norm: norm("ffn_norm", "ffn_norm", hidden),
        moe: moe(name, shape, hashed),
    }
}

/// A hyper-connection of `rows` mixes and `scales` scales.
pub(crate) fn hyper(
    name: &Namer,
    gguf: &str,
    checkpoint: &str,
    shape: &Shape,
    rows: usize,
    scales: usize,
) -> Hyper<Slot> {
    let part = |gguf_end, checkpoint_end, role, dims: &[usize]| {
        name.bare(
            &format!("{gguf}_{gguf_end}"),
            &format!("{checkpoint}_{checkpoint_end}"),
            role,
            dims,
        )
    };
    Hyper {
        mix: part("fn", "fn", Role::HyperMix, &[shape.stream_width(), rows]),
        base: part("base", "base", Role::HyperBase, &[rows]),
        scale: part("scale", "scale", Role::HyperScale, &[scales]),
    }
}

fn attention(name: &Namer, shape: &Shape, ratio: Ratio) -> Attention<Slot> {
    let latent = |ratio| {
        compressor(
            name,
            "attn_compressor",
            "attn.compressor",
            shape,
            ratio,
            shape.head_width,
        )
    };
    match ratio {
        Ratio::None => Attention::Window,
        Ratio::OneTwentyEight => Attention::Hca(latent(ratio)),
        Ratio::Four => Attention::Csa(Csa {
            compressor: latent(ratio),
            indexer: Indexer {
                query: name.slot(
                    "indexer.attn_q_b",
                    "attn.indexer.wq_b",
                    Role::IndexerQuery,
                    &[shape.query_rank, shape.index_heads * shape.index_width],
                ),
                weights: name.slot(
                    "indexer.proj",
                    "attn.indexer.weights_proj",
                    Role::IndexerWeights,
                    &[shape.hidden, shape.index_heads],
                ),
                // An underscore here, a dot above: so the files spell it.
                compressor: compressor(
                    name,
                    "indexer_compressor",
                    "attn.indexer.compressor",
                    shape,
                    ratio,
                    shape.index_width,
                ),
            },
        }),
    }
}

fn compressor(
    name: &Namer,
    gguf: &str,
    checkpoint: &str,
    shape: &Shape,
    ratio: Ratio,
    width: usize,
) -> Compressor<Slot> {
    let lanes = ratio.lanes() * width;
    let matrix = |gguf_end, checkpoint_end, role| {
        let (gguf, checkpoint) = (
            format!("{gguf}_{gguf_end}"),
            format!("{checkpoint}.{checkpoint_end}"),
        );
        name.slot(&gguf, &checkpoint, role, &[shape.hidden, lanes])
    };
    Compressor {
        kv: matrix("kv", "wkv", Role::CompressorKv),
        gate: matrix("gate", "wgate", Role::CompressorGate),
        ape: name.bare(
            &format!("{gguf}_ape"),
            &format!("{checkpoint}.ape"),
            Role::CompressorApe,
            &[lanes, ratio.tokens()],
        ),
        norm: name.slot(
            &format!("{gguf}_norm"),
            &format!("{checkpoint}.norm"),
            Role::Norm,
            &[width],
        ),
    }
}

fn moe(name: &Namer, shape: &Shape, hashed: bool) -> Moe<Slot> {
    let (hidden, width, experts) = (shape.hidden, shape.expert_width, shape.experts);
    let routed = |gguf, checkpoint: &str, role, [columns, rows]: [usize; 2]| {
        let checkpoint = format!("ffn.experts.*.{checkpoint}");
        name.slot(gguf, &checkpoint, role, &[columns, rows, experts])
    };
    let shared = |gguf, checkpoint: &str, role, dims: [usize; 2]| {
        name.slot(
            gguf,
            &format!("ffn.shared_experts.{checkpoint}"),
            role,
            &dims,
        )
    };
    let (inward, outward) = ([hidden, width], [width, hidden]);
    Moe {
        gate: name.slot("ffn_gate_inp", "ffn.gate", Role::Router, &[hidden, experts]),
        router: if hashed {
            let dims = [shape.experts_used, shape.vocab];
            Router::Hash(name.bare(
                "ffn_gate_tid2eid",
                "ffn.gate.tid2eid",
                Role::ExpertTable,
                &dims,
            ))
        } else {
            Router::TopK(name.named(
                "exp_probs_b.bias",
                "ffn.gate.bias",
                Role::RouterBias,
                &[experts],
            ))
        },
        experts: Ffn {
            gate: routed("ffn_gate_exps", "w1", Role::ExpertIn, inward),
            up: routed("ffn_up_exps", "w3", Role::ExpertIn, inward),
            down: routed("ffn_down_exps", "w2", Role::ExpertOut, outward),
        },
        shared: Ffn {
            gate: shared("ffn_gate_shexp", "w1", Role::SharedIn, inward),
            up: shared("ffn_up_shexp", "w3", Role::SharedIn, inward),
            down: shared("ffn_down_shexp", "w2", Role::SharedOut, outward),
        },
    }
}
