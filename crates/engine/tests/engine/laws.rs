//! What holds on every machine: the laws themselves, which know no backend.

use ds4_engine::{Engine, Machine, Request, Rewind};
use ds4_model::{Outputs, Plan};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use crate::rig::{Made, VOCAB, greedy, greedy_tokens, noise};

/// Past the first page, on which every compressor has made its rows.
pub(crate) const LENGTH: usize = 560;

/// Logits at every position.
pub(crate) type Logits = Vec<Vec<f32>>;

/// Runs sequences in the given pieces: in step i, sequence s computes `cuts[i][s]` tokens, in its
/// own slot.
pub(crate) fn run_on(
    machine: &mut dyn Machine,
    sequences: &[Vec<u32>],
    cuts: &[Vec<usize>],
) -> Vec<Logits> {
    let mut plan = Plan::new();
    let mut done = vec![0; sequences.len()];
    let mut out = vec![Logits::new(); sequences.len()];
    for slot in 0..sequences.len() as u32 {
        // Pages in no particular order.
        machine.seat(slot, &[7 - slot, 11 + slot], 0, None).unwrap();
    }
    for step in cuts {
        plan.clear();
        for (slot, (sequence, &count)) in sequences.iter().zip(step).enumerate() {
            let count = count.min(sequence.len() - done[slot]);
            if count > 0 {
                let tokens = &sequence[done[slot]..][..count];
                let first = done[slot] as u32;
                plan.push(slot as u32, first, tokens, Outputs::All).unwrap();
            }
        }
        if plan.is_empty() {
            continue;
        }
        let mut rows = machine.step(&plan).unwrap().chunks_exact(VOCAB);
        for run in plan.runs() {
            let slot = run.slot as usize;
            out[slot].extend(rows.by_ref().take(run.rows.len()).map(<[f32]>::to_vec));
            done[slot] += run.rows.len();
        }
    }
    out
}

/// How many tokens each sequence computes in each step: mostly few, sometimes many.
pub(crate) fn cuts() -> impl Strategy<Value = Vec<Vec<usize>>> {
    let count = prop_oneof![2 => Just(0usize), 4 => 1..3usize, 3 => 3..40usize, 2 => 40..200usize];
    prop::collection::vec(prop::collection::vec(count, 3), 10..40).prop_map(|mut cuts| {
        // Whatever is left at the end.
        cuts.push(vec![LENGTH; 3]);
        cuts
    })
}

fn argmax(logits: &[f32]) -> usize {
    let mut best = 0;
    for (id, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = id;
        }
    }
    best
}

pub(crate) fn check_close(plain: &[Logits], cut: &[Logits]) -> TestCaseResult {
    for (plain, cut) in plain.iter().zip(cut) {
        prop_assert_eq!(plain.len(), cut.len());
        for (at, (plain, cut)) in plain.iter().zip(cut).enumerate() {
            let worst = plain
                .iter()
                .zip(cut)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            prop_assert!(worst < 5e-4, "{worst} at position {at}");
        }
    }
    Ok(())
}

pub(crate) fn check_argmax(plain: &[Logits], cut: &[Logits]) -> TestCaseResult {
    let pairs = || plain.iter().flatten().zip(cut.iter().flatten());
    let same = pairs().filter(|(a, b)| argmax(a) == argmax(b)).count();
    prop_assert!(
        same * 100 >= pairs().count() * 95,
        "{same} of {}",
        pairs().count()
    );
    Ok(())
}

/// One thing that is done to a conversation.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Say something new, hear an answer.
    Turn { say: usize, hear: u32 },
    /// Go back to some share of what is there, and say something else.
    GoBack { share: f64, say: usize },
    /// Go on in a fork; the original says something else first.
    Fork { say: usize },
    /// Go on from a snapshot.
    Restore,
    /// Somebody else needs the slots.
    MakeRoom,
}

pub(crate) fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (1..120usize, 1..12u32).prop_map(|(say, hear)| Act::Turn { say, hear }),
        2 => (0.0..1.0f64, 1..40usize).prop_map(|(share, say)| Act::GoBack { share, say }),
        2 => (1..20usize).prop_map(|say| Act::Fork { say }),
        2 => Just(Act::Restore),
        1 => Just(Act::MakeRoom),
    ]
}

/// Leads a conversation and compares the four tokens at its end with those of a plain run.
pub(crate) fn conversation(
    engine: &Engine,
    plain: impl Fn(&[u32]) -> Made,
    begin: usize,
    acts: Vec<Act>,
    seed: u64,
) -> TestCaseResult {
    let mut session = engine.session().unwrap();
    let mut history = noise(seed, begin);
    greedy_tokens(&session, &history, 2);
    for (n, act) in (1u64..).zip(acts) {
        match act {
            Act::Turn { say, hear } => {
                history.extend(noise(seed ^ n, say));
                history.extend(greedy_tokens(&session, &history, hear).tokens);
            }
            Act::GoBack { share, say } => {
                let to = (history.len() as f64 * share) as usize;
                let before = session.status().unwrap();
                let at = match session.rewind(to as u32).unwrap() {
                    Rewind::Exact { at } => at,
                    Rewind::Short { at, wanted } => {
                        // The deepest kept place, and never further back than they are apart.
                        let deepest = before.kept.iter().rev().find(|&&kept| kept <= wanted);
                        prop_assert_eq!(at, deepest.copied().unwrap_or(0));
                        at
                    }
                };
                prop_assert_eq!(session.status().unwrap().tokens, &history[..at as usize]);
                history.truncate(to);
                history.extend(noise(seed ^ n, say));
            }
            Act::Fork { say } => {
                let fork = session.fork().unwrap();
                let mut other = session.status().unwrap().tokens;
                other.extend(noise(!seed ^ n, say));
                greedy_tokens(&session, &other, 3);
                session = fork;
            }
            Act::Restore => {
                let bytes = session.snapshot().unwrap();
                session = engine.restore(bytes).unwrap();
            }
            Act::MakeRoom => {
                for seed in 0..2 {
                    greedy_tokens(&engine.session().unwrap(), &noise(seed, 5), 1);
                }
            }
        }
    }
    if history.is_empty() {
        history.push(0);
    }
    let made = greedy_tokens(&session, &history, 4);
    made.assert_close(&plain(&history));
    // Nothing is left behind.
    drop(session);
    let status = engine.status().unwrap();
    prop_assert_eq!(
        (status.free_bytes, status.promised_bytes),
        (status.total_bytes, 0)
    );
    Ok(())
}

/// Several generations in one engine are what each is in an engine of its own.
pub(crate) fn check_at_once(engine: impl Fn() -> Engine) {
    let prompts = [noise(20, 150), noise(21, 70), noise(22, 3)];
    let shared = engine();
    let sessions = [(); 3].map(|()| shared.session().unwrap());
    let request = |prompt: &Vec<u32>| Request::tokens(prompt.clone(), 30, greedy());
    let generations: Vec<_> = sessions
        .iter()
        .zip(&prompts)
        .map(|(session, prompt)| session.generate(request(prompt)).unwrap())
        .collect();
    for (generation, prompt) in generations.into_iter().zip(&prompts) {
        let alone = greedy_tokens(&engine().session().unwrap(), prompt, 30);
        Made::collect(generation).assert_close(&alone);
    }
}
