//! The weights of a model as the paper names them, each tensor already found, checked and typed.
//!
//! `Weights<T>` is generic over the handle of a tensor: `bind` makes `Weights<Tensor>` over a mapped file, and a backend
//! turns that into its own handles once, with [`Weights::try_map`]. After that no tensor is looked up by name again.

/// A whole model.
#[derive(Clone, Debug)]
pub struct Weights<T> {
    /// Token embedding, `[V, E]`.
    pub embed: T,
    /// The layers, in order.
    pub layers: Vec<Layer<T>>,
    /// Final collapse and vocabulary projection.
    pub head: Head<T>,
    /// The draft (MTP) block, when its file was given.
    pub draft: Option<Draft<T>>,
}

/// One decoder layer: hyper-connections around attention, then around the experts.
#[derive(Clone, Debug)]
pub struct Layer<T> {
    /// Streams in and out of attention.
    pub attn_hc: Hyper<T>,
    /// Norm of the attention input, `[E]`.
    pub attn_norm: T,
    /// Low-rank queries.
    pub query: Query<T>,
    /// The one key-value row per token.
    pub latent: Latent<T>,
    /// One softmax sink per head, `[H]`.
    pub sinks: T,
    /// What the layer sees besides its window.
    pub attention: Attention<T>,
    /// Grouped low-rank output.
    pub output: Output<T>,
    /// Streams in and out of the experts.
    pub moe_hc: Hyper<T>,
    /// Norm of the experts' input, `[E]`.
    pub moe_norm: T,
    /// Mixture of experts.
    pub moe: Moe<T>,
}

/// A hyper-connection: how four streams are read, written and mixed.
#[derive(Clone, Debug)]
pub struct Hyper<T> {
    /// `[24, 4E]`, or `[4, 4E]` in a head.
    pub mix: T,
    /// `[24]` or `[4]`.
    pub base: T,
    /// `[3]` or `[1]`.
    pub scale: T,
}

/// Queries through a low rank that also feeds the indexer.
#[derive(Clone, Debug)]
pub struct Query<T> {
    /// Down, `[Q, E]`.
    pub a: T,
    /// Norm of the low rank, `[Q]`.
    pub norm: T,
    /// Up, `[H D, Q]`.
    pub b: T,
}

/// The latent row: key and value of every head.
#[derive(Clone, Debug)]
pub struct Latent<T> {
    /// `[D, E]`.
    pub kv: T,
    /// `[D]`.
    pub norm: T,
}

/// What a layer attends to besides its window. No layer has an indexer it should not have.
#[derive(Clone, Debug)]
pub enum Attention<T> {
    /// Nothing more.
    Window,
    /// Compressed sparse attention: one row per 4 tokens, the best selected by the indexer.
    Csa(Csa<T>),
    /// Heavily compressed attention: one row per 128 tokens, all of them.
    Hca(Compressor<T>),
}

/// Ratio 4: a compressor and the indexer that selects among its rows.
#[derive(Clone, Debug)]
pub struct Csa<T> {
    /// Makes the latent rows.
    pub compressor: Compressor<T>,
    /// Selects among them.
    pub indexer: Indexer<T>,
}

/// Pools windows of tokens into rows, channel by channel.
#[derive(Clone, Debug)]
pub struct Compressor<T> {
    /// `[c d, E]`, where c is 2 for ratio 4 and 1 for ratio 128.
    pub kv: T,
    /// `[c d, E]`.
    pub gate: T,
    /// Position bias, `[ratio, c d]`.
    pub ape: T,
    /// `[d]`.
    pub norm: T,
}

/// Scores compressed rows against the token.
#[derive(Clone, Debug)]
pub struct Indexer<T> {
    /// `[HI DI, Q]`.
    pub query: T,
    /// `[HI, E]`.
    pub weights: T,
    /// Makes the index rows.
    pub compressor: Compressor<T>,
}

/// Output projection: block-diagonal by head groups, then dense.
#[derive(Clone, Debug)]
pub struct Output<T> {
    /// `[G O, H D / G]`: rows g O .. (g + 1) O belong to group g.
    pub a: T,
    /// `[E, G O]`.
    pub b: T,
}

/// Mixture of experts.
#[derive(Clone, Debug)]
pub struct Moe<T> {
    /// Router logits, `[X, E]`.
    pub gate: T,
    /// How experts are chosen.
    pub router: Router<T>,
    /// Routed experts, stacked: `[X, F, E]`, `[X, F, E]`, `[X, E, F]`.
    pub experts: Ffn<T>,
    /// The always-on expert: `[F, E]`, `[F, E]`, `[E, F]`.
    pub shared: Ffn<T>,
}

/// How experts are chosen; their weights always come from the scores without bias.
#[derive(Clone, Debug)]
pub enum Router<T> {
    /// By token id: an i32 table `[V, k]`.
    Hash(T),
    /// The best scores plus a bias `[X]`.
    TopK(T),
}

/// Gate, up and down matrices of a SwiGLU.
#[derive(Clone, Debug)]
pub struct Ffn<T> {
    /// w1.
    pub gate: T,
    /// w3.
    pub up: T,
    /// w2.
    pub down: T,
}

/// Final collapse of the streams, norm and vocabulary projection.
#[derive(Clone, Debug)]
pub struct Head<T> {
    /// `[4, 4E]`.
    pub hc: Hyper<T>,
    /// `[E]`.
    pub norm: T,
    /// `[V, E]`.
    pub output: T,
}

/// The draft (MTP) block: predicts one token further. Embedding and output matrix are the main model's.
#[derive(Clone, Debug)]
pub struct Draft<T> {
    /// Embedding of the next token, `[E, E]`.
    pub embed_proj: T,
    /// Streams of this position, `[E, E]`.
    pub stream_proj: T,
    /// `[E]`.
    pub embed_norm: T,
    /// `[E]`.
    pub stream_norm: T,
    /// A layer of ratio 0 with a top-k router.
    pub layer: Layer<T>,
    /// Its own collapse.
    pub hc: Hyper<T>,
    /// Its own final norm, `[E]`.
    pub norm: T,
}

mod walk;
