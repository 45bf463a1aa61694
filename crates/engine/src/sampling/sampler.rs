//! The state of sampling: draws made, tokens counted, room to work in.

use thiserror::Error;

use super::cut::{self, Rank};
use super::logprobs::{self, TopLogprobs};
use super::{Draws, Report, Sampling, TokenMask};

/// A chosen token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The token.
    pub token: u32,
    /// Its raw log-probability, if asked for.
    pub logprob: Option<f32>,
    /// The likeliest tokens with theirs, as many as asked for.
    pub top: TopLogprobs,
}

/// Whether this token is a matter of taste.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As [`Sampling`] says.
    #[default]
    Free,
    /// The next byte is structure (a tag, a name, punctuation of a call): the likeliest token,
    /// without penalties, which would punish markup for being regular. It is not counted for later
    /// penalties either.
    Structure,
}

/// Why no token could be chosen.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SampleError {
    /// The mask leaves none.
    #[error("the grammar allows none of the {vocab} tokens here")]
    NoneAllowed {
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// The model gave no number above minus infinity.
    #[error("the model gave {vocab} logits and none is a number")]
    NoNumbers {
        /// Size of the vocabulary.
        vocab: usize,
    },
}

/// Chooses the tokens of one generation.
///
/// Three or four passes over the vocabulary a token, no sort of it, and no allocation after the
/// first.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    draws: Draws,
    /// (token, times generated) in order of tokens. Bounded by the generation's length.
    counts: Vec<(u32, u32)>,
    logits: Vec<f32>,
    ranks: Vec<Rank>,
}

impl Sampler {
    /// A sampler for a generation of up to `max_tokens` tokens over `vocab`.
    pub fn new(sampling: Sampling, vocab: usize, max_tokens: usize) -> Self {
        let counts = match is_counting(&sampling) {
            true => max_tokens.min(vocab),
            false => 0,
        };
        Self {
            draws: Draws::new(sampling.fields().seed),
            counts: Vec::with_capacity(counts),
            logits: Vec::with_capacity(vocab),
            ranks: Vec::with_capacity(vocab),
            sampling,
        }
    }

    /// How it samples.
    pub fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// Chooses a token by its logits and counts it.
    ///
    /// # Errors
    /// If there is none to choose: see [`SampleError`].
    pub fn sample(
        &mut self,
        logits: &[f32],
        mask: Option<&TokenMask>,
        mode: Mode,
    ) -> Result<Choice, SampleError> {
        let is_drawn = mode == Mode::Free && !self.sampling.is_greedy();
        let token = if is_drawn {
            self.adjust(logits, mask, mode);
            self.draw()
        } else if mask.is_some() || self.has_adjustments() {
            self.adjust(logits, mask, mode);
            best(&self.logits).map(|rank| rank.id)
        } else {
            best(logits).map(|rank| rank.id)
        };
        let vocab = logits.len();
        let token = token.ok_or_else(|| match best(logits) {
            Some(_) => SampleError::NoneAllowed { vocab },
            None => SampleError::NoNumbers { vocab },
        })?;
        if mode == Mode::Free && is_counting(&self.sampling) {
            self.count(token);
        }
        let mut choice = Choice {
            token,
            logprob: None,
            top: TopLogprobs::EMPTY,
        };
        if let Report::Logprobs(count) = self.sampling.fields().report {
            let log_sum = logprobs::log_sum_exp(logits);
            choice.logprob = Some(logprobs::logprob_of(logits, log_sum, token));
            choice.top = logprobs::top(logits, log_sum, count.into(), &mut self.ranks);
        }
        Ok(choice)
    }

    /// Raw log-probability of `token`, and of the `top` likeliest in its place.
    pub fn score(&mut self, logits: &[f32], token: u32, top: usize) -> (f32, TopLogprobs) {
        let log_sum = logprobs::log_sum_exp(logits);
        let logprob = logprobs::logprob_of(logits, log_sum, token);
        (
            logprob,
            logprobs::top(logits, log_sum, top, &mut self.ranks),
        )
    }

    /// Whether something is added to logits, or may be.
    fn has_adjustments(&self) -> bool {
        !self.sampling.fields().logit_bias.is_empty() || !self.counts.is_empty()
    }

    /// Bias, penalties and mask. What must not be chosen becomes minus infinity.
    fn adjust(&mut self, logits: &[f32], mask: Option<&TokenMask>, mode: Mode) {
        let fields = self.sampling.fields();
        self.logits.clear();
        let numbers = logits.iter().map(|logit| match logit.is_nan() {
            true => f32::NEG_INFINITY,
            false => *logit,
        });
        self.logits.extend(numbers);
        for &(token, bias) in &fields.logit_bias {
            if let Some(logit) = self.logits.get_mut(token as usize) {
                *logit += bias;
            }
        }
        if mode == Mode::Free {
            for &(token, count) in &self.counts {
                let penalty = fields.presence_penalty + fields.frequency_penalty * count as f32;
                self.logits[token as usize] -= penalty;
            }
        }
        if let Some(mask) = mask {
            let words = mask.words().iter().copied().chain(std::iter::repeat(0));
            for (logits, word) in self.logits.chunks_mut(64).zip(words) {
                for (bit, logit) in logits.iter_mut().enumerate() {
                    if word >> bit & 1 == 0 {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }

    /// Cuts the tail and draws.
    fn draw(&mut self) -> Option<u32> {
        let fields = self.sampling.fields();
        // Relative to the best, so that no temperature, however small, makes an infinity.
        let max = best(&self.logits)?.logit;
        let scale = 1.0 / fields.temperature.max(f32::MIN_POSITIVE);
        for logit in &mut self.logits {
            *logit = match *logit == max {
                true => 0.0, // Also when the best is plus infinity.
                false => (*logit - max) * scale,
            };
        }
        let max = 0.0;
        let ranks = self.logits.iter().zip(0..);
        let ranks = ranks.map(|(&logit, id)| Rank { logit, id });
        self.ranks.clear();
        self.ranks
            .extend(ranks.filter(|rank| rank.logit > f32::NEG_INFINITY));
        let candidates = self.ranks.len();
        cut::top_k(&mut self.ranks, fields.top_k as usize);
        // The mass that `top_p` is a share of is that of what `top_k` left, whatever `min_p` takes
        // from it.
        let mass = match fields.top_p < 1.0 {
            true => self.ranks.iter().map(|rank| rank.weight(max)).sum(),
            false => f64::INFINITY,
        };
        cut::min_p(&mut self.ranks, fields.min_p, max);
        if mass.is_finite() {
            cut::top_mass(&mut self.ranks, mass * f64::from(fields.top_p), max);
        }
        let last = match self.ranks.len() == candidates {
            true => None,
            false => self.ranks.iter().copied().max_by(Rank::order),
        };
        Some(pick(&self.logits, last, max, self.draws.uniform()))
    }

    fn count(&mut self, token: u32) {
        match self.counts.binary_search_by_key(&token, |entry| entry.0) {
            Ok(at) => self.counts[at].1 += 1,
            Err(at) => self.counts.insert(at, (token, 1)),
        }
    }
}

fn is_counting(sampling: &Sampling) -> bool {
    let fields = sampling.fields();
    fields.presence_penalty != 0.0 || fields.frequency_penalty != 0.0
}

/// The likeliest token, the lowest of several; none if there is no number above minus infinity.
fn best(logits: &[f32]) -> Option<Rank> {
    // Only the largest of a stretch is compared with the best so far, so that the loop over a
    // stretch has nothing to remember but a maximum: some twenty times as fast as one over all.
    const STRETCH: usize = 256;
    let mut best = f32::NEG_INFINITY;
    let mut stretch = None;
    for (at, logits) in logits.chunks(STRETCH).enumerate() {
        let max = logits.iter().fold(f32::NEG_INFINITY, |max, &logit| {
            if logit > max { logit } else { max } // Which no NaN is.
        });
        if max > best {
            best = max;
            stretch = Some(at * STRETCH);
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

/// The token that `u` in [0, 1) falls on, walking those kept in order of their ids: an order
/// nothing else has an influence on.
fn pick(logits: &[f32], last: Option<Rank>, max: f32, u: f64) -> u32 {
    let ranks = logits.iter().zip(0..);
    let ranks = ranks.map(|(&logit, id)| Rank { logit, id });
    let kept = ranks.filter(|rank| match &last {
        Some(last) => rank.within(last),
        None => rank.logit > f32::NEG_INFINITY,
    });
    let mass: f64 = kept.clone().map(|rank| rank.weight(max)).sum();
    let mut left = u * mass;
    let mut chosen = 0;
    for rank in kept {
        let weight = rank.weight(max);
        // A weight that underflowed to nothing is not drawn, and rounding must not run past the
        // last one.
        if weight > 0.0 {
            chosen = rank.id;
            if left < weight {
                break;
            }
            left -= weight;
        }
    }
    chosen
}
