//! Log-probabilities of the raw distribution.

use super::MAX_TOP_LOGPROBS;
use super::cut::{self, Rank};

/// A token and its log-probability.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Logprob {
    /// The token.
    pub token: u32,
    /// Natural logarithm of its probability.
    pub logprob: f32,
}

/// The likeliest tokens, best first. Inline: it travels with every token without an allocation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopLogprobs {
    count: usize,
    items: [Logprob; MAX_TOP_LOGPROBS],
}

impl TopLogprobs {
    /// No tokens.
    pub const EMPTY: Self = Self {
        count: 0,
        items: [Logprob {
            token: 0,
            logprob: 0.0,
        }; MAX_TOP_LOGPROBS],
    };

    /// The tokens, likeliest first.
    pub fn as_slice(&self) -> &[Logprob] {
        &self.items[..self.count]
    }
}

impl Default for TopLogprobs {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// `ln sum e^logit`, in one pass for the maximum and one for the sum. Logits that are no number
/// count as minus infinity.
pub(crate) fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if max == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    let weights = logits.iter().map(|logit| f64::from((logit - max).exp()));
    let sum: f64 = weights.filter(|weight| !weight.is_nan()).sum();
    f64::from(max) + sum.ln()
}

/// Log-probability of one token.
pub(crate) fn logprob_of(logits: &[f32], log_sum: f64, token: u32) -> f32 {
    (f64::from(logits[token as usize]) - log_sum) as f32
}

/// The `count` likeliest tokens. `work` is room for candidates.
pub(crate) fn top(logits: &[f32], log_sum: f64, count: usize, work: &mut Vec<Rank>) -> TopLogprobs {
    let count = count.min(MAX_TOP_LOGPROBS);
    let mut out = TopLogprobs::EMPTY;
    if count == 0 {
        return out;
    }
    work.clear();
    let ranks = logits
        .iter()
        .zip(0..)
        .map(|(&logit, id)| Rank { logit, id });
    work.extend(ranks.filter(|rank| !rank.logit.is_nan()));
    cut::top_k(work, count);
    work.sort_unstable_by(Rank::order);
    for (item, rank) in out.items.iter_mut().zip(&*work) {
        *item = Logprob {
            token: rank.id,
            logprob: (f64::from(rank.logit) - log_sum) as f32,
        };
    }
    out.count = work.len();
    out
}
