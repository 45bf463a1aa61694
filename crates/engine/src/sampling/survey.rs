//! What is remembered of one look over a vocabulary, so that the next one need not go everywhere.
//!
//! A vocabulary is looked at in stretches. The largest logit of each tells where candidates can be,
//! the weight of each where a draw falls; only those stretches are looked at token by token. The
//! loops over all tokens have lanes of their own to remember things in, so that they become vector
//! instructions.

use super::cut::Rank;
use super::weight::Scale;

/// Tokens of a stretch.
const STRETCH: usize = 256;

/// Tokens that a loop looks at together.
const LANES: usize = 16;

/// The stretches of a vocabulary.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    /// The largest logit of each stretch, minus infinity where none is a number.
    maxima: Vec<f32>,
    /// The weight of each.
    weights: Vec<f64>,
    /// Room to sort maxima in.
    work: Vec<f32>,
}

impl Survey {
    /// With room for `vocab` tokens.
    pub(super) fn new(vocab: usize) -> Self {
        let stretches = vocab.div_ceil(STRETCH);
        Self {
            maxima: Vec::with_capacity(stretches),
            weights: Vec::with_capacity(stretches),
            work: Vec::with_capacity(stretches),
        }
    }

    /// Takes the maxima: the likeliest token, the lowest of several; none if there is no number
    /// above minus infinity.
    pub(super) fn look(&mut self, logits: &[f32]) -> Option<Rank> {
        self.maxima.clear();
        self.maxima.extend(logits.chunks(STRETCH).map(|stretch| {
            // Which no NaN is.
            let larger = |a: f32, b: f32| if b > a { b } else { a };
            lanes(stretch, f32::NEG_INFINITY, larger)
                .into_iter()
                .fold(f32::NEG_INFINITY, larger)
        }));
        let (mut best, mut stretch) = (f32::NEG_INFINITY, None);
        for (at, &max) in self.maxima.iter().enumerate() {
            if max > best {
                (best, stretch) = (max, Some(at * STRETCH));
            }
        }
        let begin = stretch?;
        let within = logits[begin..].iter().position(|&logit| logit == best)?;
        let id = begin + within;
        Some(Rank {
            logit: logits[id],
            id: id as u32,
        })
    }

    /// After [`Self::look`]: a logit that at least `count` tokens reach.
    pub(super) fn reached_by(&mut self, count: usize) -> f32 {
        if count == 0 || count > self.maxima.len() {
            return f32::NEG_INFINITY;
        }
        self.work.clone_from(&self.maxima);
        let (_, bound, _) = self
            .work
            .select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
        *bound
    }

    /// Takes the weights, and says what all tokens weigh.
    pub(super) fn weigh(&mut self, logits: &[f32], scale: Scale) -> f64 {
        self.weights.clear();
        self.weights.extend(logits.chunks(STRETCH).map(|stretch| {
            let sums = lanes(stretch, 0.0, |sum, logit| sum + scale.weight(logit));
            sums.into_iter().map(f64::from).sum::<f64>()
        }));
        self.weights.iter().sum()
    }

    /// After [`Self::weigh`]: the token that a draw of `mass` out of all falls on, tokens in order
    /// of their ids.
    pub(super) fn pick(&self, logits: &[f32], scale: Scale, mut mass: f64) -> u32 {
        let mut begin = 0;
        for (at, &weight) in self.weights.iter().enumerate() {
            if weight > 0.0 {
                begin = at * STRETCH;
                if mass < weight {
                    break;
                }
                mass -= weight;
            }
        }
        let end = logits.len().min(begin + STRETCH);
        let ids = begin as u32..;
        let ranks = logits[begin..end].iter().zip(ids);
        walk(
            ranks.map(|(&logit, id)| Rank {
                logit: scale.of(logit),
                id,
            }),
            mass,
        )
    }

    /// After [`Self::look`]: all tokens whose logit reaches `least`, in order of their ids, once
    /// `value`, under which larger logits stay larger, was applied.
    pub(super) fn reaching(
        &self,
        logits: &[f32],
        least: f32,
        value: impl Fn(f32) -> f32,
        out: &mut Vec<Rank>,
    ) {
        out.clear();
        let stretches = logits.chunks(STRETCH).zip(&self.maxima).enumerate();
        for (stretch, (logits, &max)) in stretches {
            if value(max) < least {
                continue;
            }
            for (part, logits) in logits.chunks(LANES).enumerate() {
                let is_any = |any, &logit: &f32| any | (value(logit) >= least);
                if !logits.iter().fold(false, is_any) {
                    continue;
                }
                let first = (stretch * STRETCH + part * LANES) as u32;
                let ranks = logits.iter().zip(first..).map(|(&logit, id)| Rank {
                    logit: value(logit),
                    id,
                });
                out.extend(ranks.filter(|rank| rank.logit >= least));
            }
        }
    }
}

/// The token that a draw of `mass` falls on, walking `ranks`, whose order nothing else may have an
/// influence on.
pub(super) fn walk(ranks: impl Iterator<Item = Rank>, mut mass: f64) -> u32 {
    let mut chosen = 0;
    for rank in ranks {
        let weight = rank.weight();
        // A weight that underflowed to nothing is not drawn, and rounding must not run past the
        // last one.
        if weight > 0.0 {
            chosen = rank.id;
            if mass < weight {
                break;
            }
            mass -= weight;
        }
    }
    chosen
}

/// Every lane's logits, one after the other.
#[inline(always)]
fn lanes(stretch: &[f32], from: f32, fold: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    let mut lanes = [from; LANES];
    let mut parts = stretch.chunks_exact(LANES);
    for part in &mut parts {
        for (lane, &logit) in lanes.iter_mut().zip(part) {
            *lane = fold(*lane, logit);
        }
    }
    for (lane, &logit) in lanes.iter_mut().zip(parts.remainder()) {
        *lane = fold(*lane, logit);
    }
    lanes
}
