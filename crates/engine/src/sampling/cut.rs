//! Where the tail of a distribution is cut, without sorting it.
//!
//! `top_k`, `top_p` and `min_p` all keep a prefix of the candidates in order of [`Rank`], so a cut
//! is one rank: the last one kept. It is found by selection, which splits the candidates around a
//! middle rank and goes on in one half: linear in their number however flat the distribution is.

use std::cmp::Ordering;

use super::weight::exp;

/// A candidate: its logit (after temperature and relative to the best, so that its weight is its
/// exponential) and its id.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rank {
    pub(super) logit: f32,
    pub(super) id: u32,
}

impl Rank {
    /// Likelier first; among equals the lower id. Logits are never NaN here.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        other
            .logit
            .total_cmp(&self.logit)
            .then(self.id.cmp(&other.id))
    }

    /// Is this one kept when `last` is the last one kept?
    pub(super) fn within(&self, last: &Self) -> bool {
        self.order(last) != Ordering::Greater
    }

    /// Its probability relative to the best.
    pub(super) fn weight(&self) -> f64 {
        f64::from(exp(self.logit))
    }
}

/// Leaves the `k` best of `ranks`, in any order; 0 keeps all.
pub(super) fn top_k(ranks: &mut Vec<Rank>, k: usize) {
    if 0 < k && k < ranks.len() {
        ranks.select_nth_unstable_by(k - 1, Rank::order);
        ranks.truncate(k);
    }
}

/// Leaves those at least `min_p` times as likely as the best.
pub(super) fn min_p(ranks: &mut Vec<Rank>, min_p: f32) {
    if min_p > 0.0 {
        let least = min_p.ln();
        ranks.retain(|rank| rank.logit >= least);
    }
}

/// Leaves the shortest prefix whose weights reach `mass`; the best always stays.
///
/// Summation follows the selection, whose pivots may differ between releases of the standard
/// library: a cut that falls on the last bit of a float sum is not promised to stay where it is. On
/// one build it is the same every time.
pub(super) fn top_mass(ranks: &mut Vec<Rank>, mass: f64) {
    let (mut kept, mut missing) = (0, mass);
    let mut end = ranks.len();
    // Everything before `kept` stays, everything from `end` on goes; in between the cut is looked
    // for.
    while kept < end {
        let half = (end - kept).div_ceil(2);
        let open = &mut ranks[kept..end];
        if half < open.len() {
            open.select_nth_unstable_by(half - 1, Rank::order);
        }
        let weight: f64 = open[..half].iter().map(|rank| rank.weight()).sum();
        if weight < missing {
            missing -= weight;
            kept += half;
        } else if half == 1 {
            kept += 1;
            end = kept;
        } else {
            end = kept + half;
        }
    }
    ranks.truncate(kept.max(1));
}
