//! Prefill and decode of a full-size synthetic model on a card, in tokens a second.
//!
//! `cargo run --release -p ds4-cuda --example speed [LAYERS [RECIPE]]`: the Flash shape with
//! weights of noise, which are made in memory; all layers but LAYERS (default 2) share theirs, and
//! each has its own copy on the card.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints its figures"
)]

use std::time::Instant;

use ds4_cuda::{Cuda, Options};
use ds4_model::synthetic::{self, Contents, Synthetic};
use ds4_model::{Outputs, Recipe, Shape, Weights};
use ds4_truth::{Rig, check};

fn main() {
    let mut args = std::env::args().skip(1);
    let own = args.next().map_or(2, |layers| layers.parse().unwrap());
    let recipe = args
        .next()
        .map_or(Recipe::Q2, |name| Recipe::named(&name).unwrap());
    let from = Instant::now();
    let synthetic = Synthetic {
        contents: Contents::Noise { share: Some(own) },
        ..Synthetic::noise(Shape::flash(), 1, recipe)
    };
    let (shape, weights) = Weights::bind(&synthetic.model().unwrap()).unwrap();
    println!("made in {:.1} s", from.elapsed().as_secs_f32());

    let options = Options {
        pages: 80,
        max_rows: 1024,
        max_outputs: 8,
        slots: 8,
        ..Options::default()
    };
    let cuda = Cuda::new(shape.clone(), options).unwrap();
    println!("on {}", cuda.device().name().unwrap());
    let from = Instant::now();
    let loaded = cuda.load(&weights).unwrap();
    let (free, total) = cuda.device().memory().unwrap();
    println!(
        "loaded in {:.1} s; {:.1} of {:.1} GB in use",
        from.elapsed().as_secs_f32(),
        (total - free) as f64 / 1e9,
        total as f64 / 1e9
    );
    let mut rig = Rig::new(cuda, &shape, loaded);
    let prompt = synthetic::prompt(shape.vocab, 33_000, 3);

    let mut at = 0;
    for (until, chunk) in [(1024, 512), (2048, 1024), (8192, 1024), (16384, 1024)] {
        let (from, first) = (Instant::now(), at);
        while at < until {
            let logits = rig.step(&[(0, at as u32, &prompt[at..at + chunk], Outputs::Last)]);
            assert!(logits[0].iter().all(|l| l.is_finite()));
            at += chunk;
        }
        let seconds = from.elapsed().as_secs_f64();
        println!(
            "prefill {first}..{until}, {chunk} a step: {:.0} t/s",
            (until - first) as f64 / seconds
        );
        decode(&mut rig, &mut at, &prompt);
    }
    together(&mut rig, &prompt);
}

/// Median time of single steps.
fn decode(rig: &mut Rig<Cuda>, at: &mut usize, prompt: &[u32]) {
    let mut times: Vec<f64> = (0..24)
        .map(|_| {
            let from = Instant::now();
            let logits = rig.step(&[(0, *at as u32, &prompt[*at..*at + 1], Outputs::Last)]);
            assert!(check::argmax(&logits[0]).1.is_finite());
            *at += 1;
            from.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "decode at {at}: {:.1} t/s ({:.2} ms)",
        1.0 / times[12],
        1e3 * times[12]
    );
}

/// Eight sessions, one token each a step.
fn together(rig: &mut Rig<Cuda>, prompt: &[u32]) {
    for slot in 1..8 {
        rig.step(&[(slot, 0, &prompt[..512], Outputs::None)]);
    }
    for sessions in [1, 2, 4, 7] {
        let mut times: Vec<f64> = (0..12)
            .map(|step| {
                let token = [prompt[step]];
                let runs: Vec<_> = (1..=sessions)
                    .map(|slot| (slot, 512 + step as u32, &token[..], Outputs::Last))
                    .collect();
                let from = Instant::now();
                rig.step(&runs);
                from.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!(
            "{sessions} sessions at 0.5k: {:.1} t/s in sum",
            f64::from(sessions) / times[6]
        );
    }
}
