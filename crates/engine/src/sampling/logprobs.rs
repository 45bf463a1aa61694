//! Log-probabilities of the raw distribution.

use super::MAX_TOP_LOGPROBS;
use super::cut::{self, Rank};
use super::survey::Survey;
use super::weight::Scale;

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

/// `ln sum e^logit`, in one pass for the maximum, which `survey` has from then on, and one for the
/// sum. Logits that are no number count as minus infinity.
pub(super) fn log_sum_exp(logits: &[f32], survey: &mut Survey) -> f64 {
    survey.look(logits).map_or(f64::NEG_INFINITY, |best| {
        let sum = survey.weigh(logits, Scale::new(best.logit, 1.0));
        f64::from(best.logit) + sum.ln()
    })
}

/// Log-probability of one token.
pub(super) fn logprob_of(logits: &[f32], log_sum: f64, token: u32) -> f32 {
    (f64::from(logits[token as usize]) - log_sum) as f32
}

/// The `count` likeliest tokens, after `survey` has looked. `work` is room for candidates.
pub(super) fn top(
    logits: &[f32],
    log_sum: f64,
    count: usize,
    survey: &mut Survey,
    work: &mut Vec<Rank>,
) -> TopLogprobs {
    let count = count.min(MAX_TOP_LOGPROBS);
    let mut out = TopLogprobs::EMPTY;
    if count == 0 {
        return out;
    }
    let least = survey.reached_by(count);
    survey.reaching(logits, least, |logit| logit, work);
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
