//! The state of sampling: draws made, tokens counted, room to work in.

use thiserror::Error;

use super::logprobs::{self, TopLogprobs};
use super::urn::Urn;
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
/// Two or three passes over the vocabulary a token, no sort of it, and no allocation after the
/// first.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    draws: Draws,
    /// (token, times generated) in order of tokens. Bounded by the generation's length.
    counts: Vec<(u32, u32)>,
    /// Logits with bias, penalties and mask, where there are any.
    logits: Vec<f32>,
    urn: Urn,
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
            urn: Urn::new(vocab),
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
        let is_adjusted = mask.is_some() || self.has_adjustments();
        if is_adjusted {
            self.adjust(logits, mask, mode);
        }
        let adjusted = match is_adjusted {
            true => &self.logits,
            false => logits,
        };
        let token = match is_drawn {
            true => {
                let fields = self.sampling.fields();
                self.urn.draw(adjusted, fields, &mut self.draws)
            }
            false => self.urn.survey.look(adjusted).map(|rank| rank.id),
        };
        let vocab = logits.len();
        let token = token.ok_or_else(|| match self.urn.survey.look(logits) {
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
            let (logprob, top) = self.score(logits, token, count.into());
            (choice.logprob, choice.top) = (Some(logprob), top);
        }
        Ok(choice)
    }

    /// Raw log-probability of `token`, and of the `top` likeliest in its place.
    pub fn score(&mut self, logits: &[f32], token: u32, top: usize) -> (f32, TopLogprobs) {
        let Urn {
            survey, candidates, ..
        } = &mut self.urn;
        let log_sum = logprobs::log_sum_exp(logits, survey);
        let logprob = logprobs::logprob_of(logits, log_sum, token);
        let top = logprobs::top(logits, log_sum, top, survey, candidates);
        (logprob, top)
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
                match word {
                    0 => logits.fill(f32::NEG_INFINITY),
                    u64::MAX => {}
                    _ => forbid(logits, word),
                }
            }
        }
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

/// Makes what a word of a mask lacks minus infinity.
fn forbid(logits: &mut [f32], word: u64) {
    for (bit, logit) in logits.iter_mut().enumerate() {
        if word >> bit & 1 == 0 {
            *logit = f32::NEG_INFINITY;
        }
    }
}
