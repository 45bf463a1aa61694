//! Sessions that begin on one backend and go on on the other.

use ds4_model::{Backend, Outputs, synthetic};
use ds4_truth::Rig;

use crate::Check;
use crate::rigs::{Setup, bound, on_card, on_cpu};
use crate::twin::distance;

pub(crate) const CHECKS: &[Check] = &[
    ("snapshots exact", || there_and_back(Setup::EXACT, 1e-4)),
    ("snapshots packed", || there_and_back(Setup::PACKED, 0.1)),
];

const TOKENS: usize = 700;

/// Moves what `from` remembers after `tokens` tokens into an empty session of `to`.
fn carry<A, B>(from: &mut Rig<A>, to: &mut Rig<B>, tokens: usize)
where
    A: Backend<Error: std::fmt::Debug>,
    B: Backend<Error: std::fmt::Debug>,
{
    to.reserve(0, tokens);
    for page in 0..tokens.div_ceil(512) as u32 {
        let mut bytes = vec![0; from.backend.geometry().page_bytes];
        from.backend.save_page(page, &mut bytes).unwrap();
        to.backend.load_page(page, &bytes).unwrap();
    }
    let mut bytes = Vec::new();
    from.backend
        .save_frontier(0, tokens as u32, &mut bytes)
        .unwrap();
    to.backend.load_frontier(0, tokens as u32, &bytes).unwrap();
    let mut again = Vec::new();
    to.backend
        .save_frontier(0, tokens as u32, &mut again)
        .unwrap();
    assert!(bytes == again, "a frontier loaded is the frontier saved");
}

fn go_on<B: Backend<Error: std::fmt::Debug>>(rig: &mut Rig<B>, prompt: &[u32]) -> Vec<f32> {
    let mut all = Vec::new();
    for (part, first) in [
        (&prompt[TOKENS..TOKENS + 1], TOKENS),
        (&prompt[TOKENS + 1..], TOKENS + 1),
    ] {
        all.extend(rig.step(&[(0, first as u32, part, Outputs::All)]).concat());
    }
    all
}

fn there_and_back(setup: Setup, limit: f64) {
    let model = bound(&synthetic::mini(), ds4_model::Recipe::FLOAT);
    let prompt = synthetic::prompt(model.0.vocab, TOKENS + 30, 11);
    let mut cpu = on_cpu(setup, &model);
    cpu.prompt(0, &prompt[..TOKENS], 256);
    let mut card = on_card(setup, &model);
    carry(&mut cpu, &mut card, TOKENS);
    let truth = go_on(&mut cpu, &prompt);
    let there = distance(&go_on(&mut card, &prompt), &truth);

    let mut card = on_card(setup, &model);
    card.prompt(0, &prompt[..TOKENS], 256);
    let mut cpu = on_cpu(setup, &model);
    carry(&mut card, &mut cpu, TOKENS);
    let truth = go_on(&mut card, &prompt);
    let back = distance(&go_on(&mut cpu, &prompt), &truth);
    println!("  from CPU to card {there:.1e}, back {back:.1e}");
    assert!(there < limit && back < limit);
}
