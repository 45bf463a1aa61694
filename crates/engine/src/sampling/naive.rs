//! The definition of sampling, as slow and plain as it can be, and the sampler compared with it.

use proptest::prelude::*;

use super::{
    Choice, Draws, Mode, Report, SampleError, Sampler, Sampling, SamplingFields, TokenMask,
};

/// Tokens kept and their probabilities, likelier first.
fn distribution(
    logits: &[f32],
    fields: &SamplingFields,
    history: &[u32],
    mask: Option<&TokenMask>,
) -> Vec<(u32, f64)> {
    let mut kept: Vec<(u32, f64)> = Vec::new();
    for (id, &logit) in (0u32..).zip(logits) {
        if logit.is_nan() || logit == f32::NEG_INFINITY || mask.is_some_and(|m| !m.allows(id)) {
            continue;
        }
        let bias = fields.logit_bias.iter().rev().find(|entry| entry.0 == id);
        let count = history.iter().filter(|&&token| token == id).count() as f32;
        let mut logit = logit + bias.map_or(0.0, |entry| entry.1);
        if count > 0.0 {
            logit -= fields.presence_penalty + fields.frequency_penalty * count;
        }
        kept.push((id, f64::from(logit)));
    }
    kept.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let Some(&(_, max)) = kept.first() else {
        return kept;
    };
    for (_, p) in &mut kept {
        *p = ((*p - max) / f64::from(fields.temperature)).exp();
    }
    if fields.top_k > 0 {
        kept.truncate(fields.top_k as usize);
    }
    let mass: f64 = kept.iter().map(|entry| entry.1).sum();
    let mut sum = 0.0;
    let enough = kept.iter().position(|entry| {
        sum += entry.1 / mass;
        sum >= f64::from(fields.top_p)
    });
    if let (true, Some(last)) = (fields.top_p < 1.0, enough) {
        kept.truncate(last + 1);
    }
    kept.retain(|entry| entry.1 >= f64::from(fields.min_p));
    let mass: f64 = kept.iter().map(|entry| entry.1).sum();
    kept.iter_mut().for_each(|entry| entry.1 /= mass);
    kept
}

/// What the sampler's next draw must choose, with the distance of the draw to the nearest border.
fn expected(kept: &[(u32, f64)], u: f64) -> (u32, f64) {
    let mut by_id = kept.to_vec();
    by_id.sort_by_key(|entry| entry.0);
    let (mut sum, mut slack) = (0.0, f64::INFINITY);
    let mut chosen = None;
    for &(id, p) in &by_id {
        sum += p;
        slack = slack.min((u - sum).abs());
        if chosen.is_none() && u < sum {
            chosen = Some(id);
        }
    }
    (chosen.unwrap_or(by_id[by_id.len() - 1].0), slack)
}

fn fields() -> impl Strategy<Value = SamplingFields> {
    let shares = (0.05f32..3.0, 0.05f32..=1.0, 0u32..20, 0.0f32..0.6);
    let bias = prop::collection::vec((0u32..70, -4.0f32..4.0), 0..6);
    (shares, any::<u64>(), bias, -1.0f32..2.0, -1.0f32..2.0).prop_map(
        |((temperature, top_p, top_k, min_p), seed, logit_bias, frequency, presence)| {
            SamplingFields {
                temperature,
                // Half of the cases are not cut by mass, and half not by ratio.
                top_p: if seed & 1 == 0 { 1.0 } else { top_p },
                top_k,
                min_p: if seed & 2 == 0 { 0.0 } else { min_p },
                seed,
                logit_bias,
                frequency_penalty: frequency.max(0.0),
                presence_penalty: presence.max(0.0),
                report: Report::Logprobs(5),
            }
        },
    )
}

/// Logits with ties, since they are drawn from few values; of few tokens, or of more than are looked
/// at in one go, most of them far below the best.
fn logits() -> impl Strategy<Value = Vec<f32>> {
    let few = prop::collection::vec((-12i32..12).prop_map(|step| step as f32 * 0.5), 1..70);
    let far = (-300i32..12).prop_map(|step| step as f32 * 0.125);
    let odd = prop_oneof![Just(f32::NAN), Just(f32::NEG_INFINITY)];
    let many = prop::collection::vec(prop_oneof![50 => far, 1 => odd], 300..700);
    prop_oneof![3 => few, 1 => many]
}

proptest! {
    /// Cuts are compared exactly but for cuts within a rounding error of a border, which the draw
    /// then tells apart.
    #[test]
    fn the_sampler_is_the_definition(
        fields in fields(),
        logits in logits(),
        masked in prop::option::of(prop::collection::vec(any::<bool>(), 700)),
    ) {
        let mask = masked.map(|allowed| {
            let mut mask = TokenMask::none(logits.len());
            (0u32..).zip(&allowed).filter(|(_, a)| **a).for_each(|(id, _)| mask.allow(id));
            mask
        });
        let sampling = Sampling::new(fields).unwrap();
        let mut sampler = Sampler::new(sampling.clone(), logits.len(), 8);
        let mut draws = Draws::new(sampling.fields().seed);
        let mut history = Vec::new();
        for _ in 0..8 {
            let kept = distribution(&logits, sampling.fields(), &history, mask.as_ref());
            let chosen = sampler.sample(&logits, mask.as_ref(), Mode::Free);
            if kept.is_empty() {
                let vocab = logits.len();
                prop_assert_eq!(chosen.unwrap_err(), SampleError::NoneAllowed { vocab });
                break;
            }
            let chosen: Choice = chosen.unwrap();
            let (token, slack) = expected(&kept, draws.uniform());
            prop_assert!(
                chosen.token == token
                    || slack < 1e-5
                    || near_a_cut(&logits, &sampling, &history, mask.as_ref()),
                "{} instead of {token}, slack {slack}, kept {kept:?}", chosen.token
            );
            history.push(chosen.token);
        }
    }

    /// Reported log-probabilities are those of the raw softmax, best first, ties by id.
    #[test]
    fn logprobs_are_raw(fields in fields(), logits in logits()) {
        let mut sampler = Sampler::new(Sampling::new(fields).unwrap(), logits.len(), 1);
        let choice = sampler.sample(&logits, None, Mode::Free).unwrap();
        let numbers = logits.iter().filter(|l| !l.is_nan());
        let sum: f64 = numbers.map(|&l| f64::from(l).exp()).sum();
        let raw = |id: u32| (f64::from(logits[id as usize]) - sum.ln()) as f32;
        prop_assert!((choice.logprob.unwrap() - raw(choice.token)).abs() < 1e-5);
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        order.retain(|&id| !logits[id as usize].is_nan());
        order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
        order.truncate(5);
        let top = choice.top.as_slice();
        prop_assert_eq!(top.iter().map(|item| item.token).collect::<Vec<_>>(), order);
        prop_assert!(top.iter().all(|item| (item.logprob - raw(item.token)).abs() < 1e-5));
    }
}

/// Whether a share of mass or a ratio is met so narrowly that f32 and f64 may disagree about it.
fn near_a_cut(
    logits: &[f32],
    sampling: &Sampling,
    history: &[u32],
    mask: Option<&TokenMask>,
) -> bool {
    let count = |nudge: f32| {
        let mut fields = sampling.fields().clone();
        fields.top_p = (fields.top_p * (1.0 + nudge)).min(1.0);
        fields.min_p *= 1.0 - nudge;
        distribution(logits, &fields, history, mask).len()
    };
    count(1e-5) != count(-1e-5)
}

#[test]
fn greedy_takes_the_lowest_of_the_best_and_ignores_nan() {
    let logits = [f32::NAN, 1.0, 3.0, 3.0, f32::NEG_INFINITY];
    let mut sampler = Sampler::new(Sampling::greedy(), 5, 1);
    assert_eq!(sampler.sample(&logits, None, Mode::Free).unwrap().token, 2);
    let mut mask = TokenMask::all(5);
    mask.forbid(2);
    let choice = sampler.sample(&logits, Some(&mask), Mode::Free).unwrap();
    assert_eq!(choice.token, 3);
    let nothing = sampler.sample(&[f32::NAN; 5], None, Mode::Free);
    assert_eq!(nothing.unwrap_err(), SampleError::NoNumbers { vocab: 5 });
}

#[test]
fn structure_is_greedy_and_free_of_penalties() {
    let fields = SamplingFields {
        temperature: 2.0,
        presence_penalty: 100.0,
        seed: 3,
        ..SamplingFields::default()
    };
    let mut sampler = Sampler::new(Sampling::new(fields).unwrap(), 3, 16);
    let logits = [0.0, 5.0, 0.1];
    for _ in 0..4 {
        let choice = sampler.sample(&logits, None, Mode::Structure).unwrap();
        assert_eq!(choice.token, 1);
    }
    // Structure was not counted: the first free token is still likeliest to be token 1, and then it
    // is penalised.
    let free: Vec<u32> = (0..3)
        .map(|_| sampler.sample(&logits, None, Mode::Free).unwrap().token)
        .collect();
    let mut sorted = free.clone();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        [0, 1, 2],
        "a penalty of 100 forbids repetition: {free:?}"
    );
}

/// Chi-squared over 20,000 draws of a fixed seed: what is drawn follows the distribution that was
/// cut.
#[test]
fn frequencies_follow_the_distribution() {
    let logits: Vec<f32> = (0..40).map(|i| ((i * 7) % 40) as f32 * 0.1).collect();
    let fields = SamplingFields {
        temperature: 0.8,
        top_p: 0.9,
        top_k: 30,
        min_p: 0.05,
        seed: 2026,
        ..SamplingFields::default()
    };
    let kept = distribution(&logits, &fields, &[], None);
    assert!(kept.len() > 10 && kept.len() < 30);
    let mut sampler = Sampler::new(Sampling::new(fields).unwrap(), 40, 0);
    let mut seen = [0u32; 40];
    for _ in 0..20_000 {
        let choice = sampler.sample(&logits, None, Mode::Free).unwrap();
        seen[choice.token as usize] += 1;
    }
    let chi: f64 = kept
        .iter()
        .map(|&(id, p)| (f64::from(seen[id as usize]) - p * 20_000.0).powi(2) / (p * 20_000.0))
        .sum();
    let total: u32 = kept.iter().map(|&(id, _)| seen[id as usize]).sum();
    assert_eq!(total, 20_000, "only kept tokens are drawn");
    // For k degrees of freedom the mean is k and the deviation sqrt(2 k).
    let k = (kept.len() - 1) as f64;
    assert!(
        chi < k + 4.0 * (2.0 * k).sqrt(),
        "chi squared {chi} for {k} degrees"
    );
}

proptest! {
    /// Vocabularies longer than what is looked at in one go, with ties and what is no number.
    #[test]
    fn greedy_is_the_first_of_the_largest(
        logits in prop::collection::vec(
            prop_oneof![
                8 => (-4i8..4).prop_map(f32::from),
                1 => Just(-0.0),
                1 => Just(f32::NAN),
                1 => Just(f32::NEG_INFINITY),
            ],
            1..2000,
        ),
    ) {
        let mut expected: Option<(u32, f32)> = None;
        for (id, &logit) in (0..).zip(&logits) {
            if logit > expected.map_or(f32::NEG_INFINITY, |best| best.1) {
                expected = Some((id, logit));
            }
        }
        let sampling = Sampling::new(SamplingFields { temperature: 0.0, ..SamplingFields::default() });
        let mut sampler = Sampler::new(sampling.unwrap(), logits.len(), 1);
        let chosen = sampler.sample(&logits, None, Mode::Free);
        prop_assert_eq!(chosen.ok().map(|choice| choice.token), expected.map(|best| best.0));
    }
}
