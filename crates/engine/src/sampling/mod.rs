//! From logits to a token.
//!
//! [`Sampling`] says how, and is checked when it is made: whatever reaches a [`Sampler`] is sane.
//! The order is fixed:
//!
//! 1. logit bias, then presence and frequency penalties, are added to the logits; a [`TokenMask`]
//!    removes tokens;
//! 2. temperature divides what is left;
//! 3. `top_k`, then `top_p` (of the mass that `top_k` left), then `min_p` (relative to the best)
//!    cut the tail;
//! 4. one draw from what remains, by its renormalised probabilities.
//!
//! All three cuts keep a prefix of one order, *likelier first, among equals the lower id*, so they
//! commute up to what `top_p` takes for the whole mass, and a token's fate never depends on how a
//! sort happens to break ties.
//!
//! Log-probabilities, where asked for, are those of the **raw** distribution: the model's own
//! opinion, before bias, penalties, mask and temperature.

mod cut;
mod logprobs;
mod mask;
mod rng;
mod sampler;
mod survey;
mod urn;
mod weight;

#[cfg(test)]
mod naive;

use thiserror::Error;

pub use logprobs::{Logprob, TopLogprobs};
pub use mask::TokenMask;
pub use rng::Draws;
pub use sampler::{Choice, Mode, SampleError, Sampler};

/// Most log-probabilities that may be asked for with each token.
pub const MAX_TOP_LOGPROBS: usize = 20;

/// Largest temperature; beyond it logits are noise.
pub const MAX_TEMPERATURE: f32 = 100.0;

/// Bounds of bias and penalties, both signs.
pub const MAX_BIAS: f32 = 1000.0;

/// Which log-probabilities are reported with each token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Report {
    /// None, which saves a pass over the vocabulary.
    #[default]
    Nothing,
    /// That of the token, and of this many of the likeliest (0 to [`MAX_TOP_LOGPROBS`]).
    Logprobs(u8),
}

/// How tokens are chosen, before it is checked: the fields of [`Sampling`] as a request gives them.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingFields {
    /// 0 is greedy.
    pub temperature: f32,
    /// Keep the likeliest tokens that hold this much of the mass; 1 keeps all.
    pub top_p: f32,
    /// Keep this many of the likeliest; 0 keeps all.
    pub top_k: u32,
    /// Keep tokens at least this likely relative to the likeliest; 0 keeps all.
    pub min_p: f32,
    /// Where the draws begin.
    pub seed: u64,
    /// Added to the logits of single tokens.
    pub logit_bias: Vec<(u32, f32)>,
    /// Subtracted once per occurrence of a token among those generated.
    pub frequency_penalty: f32,
    /// Subtracted from tokens that were generated at least once.
    pub presence_penalty: f32,
    /// Which log-probabilities to report.
    pub report: Report,
}

impl Default for SamplingFields {
    /// The published recommendation: temperature 1, nothing cut.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            seed: 0,
            logit_bias: Vec::new(),
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            report: Report::Nothing,
        }
    }
}

/// A field of [`SamplingFields`] that no sampler can work with.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("{field} is {value}; it must be {expected}")]
pub struct SamplingError {
    /// The field.
    pub field: &'static str,
    /// What it was.
    pub value: f64,
    /// What it may be.
    pub expected: &'static str,
}

/// How tokens are chosen: [`SamplingFields`] that hold together. Made by [`Sampling::new`] alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling(SamplingFields);

impl Sampling {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of range or no number. Of a token biased twice the last one
    /// counts.
    pub fn new(mut fields: SamplingFields) -> Result<Self, SamplingError> {
        let check = |field, value: f32, low: f32, high: f32, expected| {
            // NaN is in no range.
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(SamplingError {
                field,
                value: value.into(),
                expected,
            })
        };
        let f = &fields;
        check(
            "temperature",
            f.temperature,
            0.0,
            MAX_TEMPERATURE,
            "0 to 100",
        )?;
        check(
            "top_p",
            f.top_p,
            f32::MIN_POSITIVE,
            1.0,
            "above 0, at most 1",
        )?;
        check("min_p", f.min_p, 0.0, 1.0, "0 to 1")?;
        let bias = "-1000 to 1000";
        check(
            "frequency_penalty",
            f.frequency_penalty,
            -MAX_BIAS,
            MAX_BIAS,
            bias,
        )?;
        check(
            "presence_penalty",
            f.presence_penalty,
            -MAX_BIAS,
            MAX_BIAS,
            bias,
        )?;
        for &(_, value) in &f.logit_bias {
            check("logit_bias", value, -MAX_BIAS, MAX_BIAS, bias)?;
        }
        if let Report::Logprobs(top) = f.report
            && usize::from(top) > MAX_TOP_LOGPROBS
        {
            return Err(SamplingError {
                field: "top_logprobs",
                value: top.into(),
                expected: "0 to 20",
            });
        }
        // Stable: among entries of one token the last stays the last.
        fields.logit_bias.sort_by_key(|entry| entry.0);
        fields.logit_bias.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                *earlier = *later;
            }
            same
        });
        Ok(Self(fields))
    }

    /// Always the likeliest token.
    pub fn greedy() -> Self {
        Self(SamplingFields {
            temperature: 0.0,
            ..SamplingFields::default()
        })
    }

    /// The checked fields; `logit_bias` is in order of tokens, each once.
    pub fn fields(&self) -> &SamplingFields {
        &self.0
    }

    /// Is there nothing to draw?
    pub fn is_greedy(&self) -> bool {
        self.0.temperature == 0.0
    }
}

impl TryFrom<SamplingFields> for Sampling {
    type Error = SamplingError;

    fn try_from(fields: SamplingFields) -> Result<Self, SamplingError> {
        Self::new(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, Sampling, SamplingFields};

    #[test]
    fn every_field_is_checked_and_named() {
        type Spoil = fn(&mut SamplingFields);
        let cases: [(&str, Spoil); 10] = [
            ("temperature", |f| f.temperature = f32::NAN),
            ("temperature", |f| f.temperature = -0.1),
            ("temperature", |f| f.temperature = f32::INFINITY),
            ("top_p", |f| f.top_p = 0.0),
            ("top_p", |f| f.top_p = 1.01),
            ("min_p", |f| f.min_p = -1.0),
            ("frequency_penalty", |f| f.frequency_penalty = f32::NAN),
            ("presence_penalty", |f| f.presence_penalty = 1e9),
            ("logit_bias", |f| {
                f.logit_bias = vec![(1, 0.5), (2, f32::NEG_INFINITY)];
            }),
            ("top_logprobs", |f| f.report = Report::Logprobs(21)),
        ];
        for (field, spoil) in cases {
            let mut fields = SamplingFields::default();
            spoil(&mut fields);
            let error = Sampling::new(fields).expect_err(field);
            assert_eq!(error.field, field);
            assert!(error.to_string().contains(field));
        }
    }

    #[test]
    fn of_two_biases_of_one_token_the_last_counts() {
        let fields = SamplingFields {
            logit_bias: vec![(7, 1.0), (3, 2.0), (7, -4.0), (7, 5.0), (3, -1.0)],
            ..SamplingFields::default()
        };
        let sampling = Sampling::new(fields).unwrap();
        assert_eq!(sampling.fields().logit_bias, [(3, -1.0), (7, 5.0)]);
    }
}
