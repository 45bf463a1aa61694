//! The best of many: which compressed rows a token attends to, which experts it goes to.

use std::cmp::Ordering;

/// A candidate: its number and its score.
pub(crate) type Scored = (u32, f32);

/// Better first; among equals the lower number.
fn better(a: &Scored, b: &Scored) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// Leaves the `k` best in `scored`, in order of their numbers.
pub(crate) fn keep_best(scored: &mut Vec<Scored>, k: usize) {
    if k < scored.len() {
        if k > 0 {
            scored.select_nth_unstable_by(k - 1, better);
        }
        scored.truncate(k);
    }
    scored.sort_unstable_by_key(|s| s.0);
}

/// Leaves the `k` best in `scored`, best first.
pub(crate) fn keep_best_ranked(scored: &mut Vec<Scored>, k: usize) {
    keep_best(scored, k);
    scored.sort_unstable_by(better);
}

#[cfg(test)]
mod tests {
    use super::{keep_best, keep_best_ranked};

    #[test]
    fn ties_go_to_the_lower_number() {
        let all = [1.0, 3.0, 2.0, 3.0, 3.0, -0.5].into_iter();
        let scored: Vec<_> = all.enumerate().map(|(i, s)| (i as u32, s)).collect();
        let (mut by_number, mut by_rank) = (scored.clone(), scored);
        keep_best(&mut by_number, 2);
        keep_best_ranked(&mut by_rank, 4);
        assert_eq!(by_number, [(1, 3.0), (3, 3.0)]);
        assert_eq!(by_rank, [(1, 3.0), (3, 3.0), (4, 3.0), (2, 2.0)]);
    }
}
