//! A draw: which tokens remain, and the one that it falls on.

use super::cut::{self, Rank};
use super::survey::{Survey, walk};
use super::weight::Scale;
use super::{Draws, SamplingFields};

/// Room to draw in.
#[derive(Clone, Debug)]
pub(super) struct Urn {
    pub(super) survey: Survey,
    /// Tokens that may remain, in order of their ids.
    pub(super) candidates: Vec<Rank>,
    /// The same, in any order and without what was cut.
    kept: Vec<Rank>,
}

impl Urn {
    /// With room for `vocab` tokens.
    pub(super) fn new(vocab: usize) -> Self {
        Self {
            survey: Survey::new(vocab),
            candidates: Vec::with_capacity(vocab),
            kept: Vec::with_capacity(vocab),
        }
    }

    /// Cuts the tail of what `logits` say, and draws; none if nothing is a number above minus
    /// infinity.
    pub(super) fn draw(
        &mut self,
        logits: &[f32],
        fields: &SamplingFields,
        draws: &mut Draws,
    ) -> Option<u32> {
        let best = self.survey.look(logits)?;
        let scale = Scale::new(best.logit, fields.temperature);
        if fields.top_k == 0 && fields.min_p == 0.0 && fields.top_p >= 1.0 {
            let mass = draws.uniform() * self.survey.weigh(logits, scale);
            return Some(self.survey.pick(logits, scale, mass));
        }
        let last = self.cut(logits, scale, fields);
        let kept = self.candidates.iter().copied();
        let kept = kept.filter(|rank| last.is_none_or(|last| rank.within(&last)));
        let mass: f64 = kept.clone().map(|rank| rank.weight()).sum();
        // In order of ids, which nothing else has an influence on.
        Some(walk(kept, draws.uniform() * mass))
    }

    /// Finds the candidates, and the last of them that is kept; none if all are.
    fn cut(&mut self, logits: &[f32], scale: Scale, fields: &SamplingFields) -> Option<Rank> {
        let (top_k, top_p) = (fields.top_k as usize, fields.top_p);
        // The mass that `top_p` is a share of is that of what `top_k` left, whatever `min_p` takes
        // from it.
        let mut share = f64::INFINITY;
        if top_k > 0 {
            let least = scale.of(self.survey.reached_by(top_k));
            self.find(logits, scale, least);
            cut::top_k(&mut self.kept, top_k);
            if top_p < 1.0 {
                share = weight(&self.kept) * f64::from(top_p);
            }
        } else if top_p < 1.0 {
            share = self.survey.weigh(logits, scale) * f64::from(top_p);
            // The likeliest that hold it are mostly few, and if those that reach some logit hold
            // it, they are among these.
            for least in [-4.0, -8.0, -16.0, f32::MIN] {
                self.find(logits, scale, least);
                if weight(&self.kept) >= share {
                    break;
                }
            }
        } else {
            self.find(logits, scale, fields.min_p.ln());
        }
        cut::min_p(&mut self.kept, fields.min_p);
        if share.is_finite() {
            cut::top_mass(&mut self.kept, share);
        }
        match self.kept.len() == self.candidates.len() {
            true => None,
            false => self.kept.iter().copied().max_by(Rank::order),
        }
    }

    /// The tokens that reach `least`, but for those that no temperature brings back.
    fn find(&mut self, logits: &[f32], scale: Scale, least: f32) {
        let (least, candidates) = (least.max(f32::MIN), &mut self.candidates);
        let value = |logit| scale.of(logit);
        self.survey.reaching(logits, least, value, candidates);
        self.kept.clone_from(candidates);
    }
}

fn weight(ranks: &[Rank]) -> f64 {
    ranks.iter().map(Rank::weight).sum()
}
