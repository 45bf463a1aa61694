//! The router: scores, choice and weights of experts.

use ds4_model::Shape;

use crate::select::{Scored, keep_best_ranked};

/// `sqrt(softplus(logit))`.
pub(crate) fn score(logit: f32) -> f32 {
    let softplus = if logit > 20.0 {
        logit
    } else {
        logit.exp().ln_1p()
    };
    softplus.sqrt()
}

/// Chooses the experts of one token and their weights. With a bias the best biased scores win; `fixed` names the experts
/// of a hash-routed layer. The weights come from the scores without bias in both cases.
pub(crate) fn choose(
    logits: &[f32],
    choice: Choice<'_, impl Iterator<Item = u32>>,
    shape: &Shape,
    candidates: &mut Vec<Scored>,
    ids: &mut [u32],
    weights: &mut [f32],
) {
    match choice {
        Choice::Fixed(fixed) => ids
            .iter_mut()
            .zip(fixed)
            .for_each(|(id, fixed)| *id = fixed),
        Choice::Biased(bias) => {
            candidates.clear();
            let biased = logits
                .iter()
                .zip(bias)
                .map(|(logit, bias)| score(*logit) + bias);
            candidates.extend((0..).zip(biased));
            keep_best_ranked(candidates, ids.len());
            ids.iter_mut()
                .zip(&*candidates)
                .for_each(|(id, best)| *id = best.0);
        }
    }
    let mut sum = 0.0;
    for (weight, id) in weights.iter_mut().zip(&*ids) {
        *weight = score(logits[*id as usize]);
        sum += *weight;
    }
    for weight in weights {
        *weight = *weight / sum * shape.routed_scale;
    }
}

/// How experts are chosen.
pub(crate) enum Choice<'a, I> {
    /// By a table of token ids.
    Fixed(I),
    /// By score plus bias.
    Biased(&'a [f32]),
}

#[cfg(test)]
mod tests {
    use ds4_model::synthetic::mini;

    use super::{Choice, choose};

    #[test]
    fn experts_and_weights_are_those_of_the_reference() {
        let units: serde_json::Value =
            serde_json::from_str(include_str!("../../model/tests/golden/units.json")).unwrap();
        let unit = &units["router"];
        let floats = |name: &str| -> Vec<f32> {
            unit[name]
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_f64().unwrap() as f32)
                .collect()
        };
        let (mut ids, mut weights) = ([0; 6], [0.0; 6]);
        let bias = floats("bias");
        let choice = Choice::<std::iter::Empty<u32>>::Biased(&bias);
        choose(
            &floats("logits"),
            choice,
            &mini(),
            &mut Vec::new(),
            &mut ids,
            &mut weights,
        );
        let expected = unit["experts"].as_array().unwrap();
        assert!(
            ids.iter()
                .zip(expected)
                .all(|(id, e)| u64::from(*id) == e.as_u64().unwrap())
        );
        for (weight, expected) in weights.iter().zip(floats("weights")) {
            assert!((weight - expected).abs() < 1e-6);
        }
    }
}
