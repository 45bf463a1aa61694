//! The forward pass, written once.
//!
//! Four residual streams run through the layers. Each layer reads them twice: for attention over a window of latent rows
//! and some compressed ones, and for a mixture of experts. At the end they collapse into one row and meet the vocabulary.

use crate::ops::{Ops, Site};
use crate::scratch::Scratch;
use crate::shape::Ratio;
use crate::weights::{Attention, Draft, Head, Hyper, Layer, Moe, Weights};

/// Runs the rows of the current plan through the whole model; logits of its output rows are in `s.logits`.
pub fn forward<O: Ops>(
    o: &mut O,
    w: &Weights<O::Tensor>,
    s: &mut Scratch<O::Buffer, O::Picks>,
) -> Result<(), O::Error> {
    o.embed(&mut s.x, &w.embed)?;
    o.spread(&mut s.streams, &s.x)?;
    if let Some(first) = w.layers.first() {
        o.enter(s, &first.attn_hc, &first.attn_norm)?;
    }
    for (number, layer) in w.layers.iter().enumerate() {
        entered(o, number, layer, w.layers.get(number + 1), s)?;
    }
    head(o, &w.head, s)
}

/// One layer: hyper-connections around attention, then around the experts.
pub fn layer<O: Ops>(
    o: &mut O,
    number: usize,
    w: &Layer<O::Tensor>,
    s: &mut Scratch<O::Buffer, O::Picks>,
) -> Result<(), O::Error> {
    o.enter(s, &w.attn_hc, &w.attn_norm)?;
    entered(o, number, w, None, s)
}

/// A layer whose input has been read; that of the `next` one is read at its end.
fn entered<O: Ops>(
    o: &mut O,
    number: usize,
    w: &Layer<O::Tensor>,
    next: Option<&Layer<O::Tensor>>,
    s: &mut Scratch<O::Buffer, O::Picks>,
) -> Result<(), O::Error> {
    let at = Site {
        layer: number,
        ratio: ratio(&w.attention),
    };
    o.attention(s, w, at)?;
    o.pass(s, &w.moe_hc, &w.moe_norm)?;
    o.feed(s, &w.moe, next.map(|next| (&next.attn_hc, &next.attn_norm)))
}

/// The streams written with a sub-layer's result, then read for the next one; the unfused body of
/// [`Ops::pass`].
pub fn pass<O: Ops>(
    o: &mut O,
    s: &mut Scratch<O::Buffer, O::Picks>,
    hc: &Hyper<O::Tensor>,
    norm: &O::Tensor,
) -> Result<(), O::Error> {
    o.hyper_leave(&mut s.streams, &s.y, &s.mix)?;
    o.enter(s, hc, norm)
}

/// A sub-layer's input, read from the streams and normalised; the unfused body of [`Ops::enter`].
pub fn enter<O: Ops>(
    o: &mut O,
    s: &mut Scratch<O::Buffer, O::Picks>,
    hc: &Hyper<O::Tensor>,
    norm: &O::Tensor,
) -> Result<(), O::Error> {
    o.hyper_enter(&mut s.x, &mut s.mix, &s.streams, hc)?;
    o.rms_norm(&mut s.xn, &s.x, norm)
}

/// Router and experts, then the streams; the unfused body of [`Ops::feed`].
pub fn feed<O: Ops>(
    o: &mut O,
    s: &mut Scratch<O::Buffer, O::Picks>,
    w: &Moe<O::Tensor>,
    next: Option<(&Hyper<O::Tensor>, &O::Tensor)>,
) -> Result<(), O::Error> {
    o.matmul(&mut s.router, &s.xn, &w.gate)?;
    o.route(&mut s.experts, &s.router, &w.router)?;
    o.experts(&mut s.y, &s.xn, &s.experts, &w.experts, &w.shared)?;
    match next {
        Some((hc, norm)) => o.pass(s, hc, norm),
        None => o.hyper_leave(&mut s.streams, &s.y, &s.mix),
    }
}

/// Collapse of the streams, final norm, vocabulary.
pub fn head<O: Ops>(
    o: &mut O,
    w: &Head<O::Tensor>,
    s: &mut Scratch<O::Buffer, O::Picks>,
) -> Result<(), O::Error> {
    o.hyper_head(&mut s.head_x, &s.streams, &w.hc)?;
    o.rms_norm(&mut s.head_xn, &s.head_x, &w.norm)?;
    o.matmul(&mut s.logits, &s.head_xn, &w.output)
}

/// The draft block: from the streams of each row's position and the token *after* it (the plan's token), the logits of
/// the token after that.
///
/// It starts from the streams in `s.streams` and leaves its own there, so that it can be called again for a further
/// draft. Its window is one more layer of the session's memory.
pub fn draft<O: Ops>(
    o: &mut O,
    w: &Weights<O::Tensor>,
    draft: &Draft<O::Tensor>,
    s: &mut Scratch<O::Buffer, O::Picks>,
) -> Result<(), O::Error> {
    o.rms_norm(&mut s.draft_in, &s.streams, &draft.stream_norm)?;
    o.matmul(&mut s.draft_streams, &s.draft_in, &draft.stream_proj)?;
    o.embed(&mut s.x, &w.embed)?;
    o.rms_norm(&mut s.xn, &s.x, &draft.embed_norm)?;
    o.matmul(&mut s.x, &s.xn, &draft.embed_proj)?;
    o.spread(&mut s.streams, &s.x)?;
    o.add(&mut s.streams, &s.draft_streams)?;
    layer(o, w.layers.len(), &draft.layer, s)?;
    o.hyper_head(&mut s.head_x, &s.streams, &draft.hc)?;
    o.rms_norm(&mut s.head_xn, &s.head_x, &draft.norm)?;
    o.matmul(&mut s.logits, &s.head_xn, &w.head.output)
}

fn ratio<T>(attention: &Attention<T>) -> Ratio {
    match attention {
        Attention::Window => Ratio::None,
        Attention::Csa(_) => Ratio::Four,
        Attention::Hca(_) => Ratio::OneTwentyEight,
    }
}
