//! What drawing a token costs by its logits, over a vocabulary as large as the models', and what was
//! drawn, by which two versions may be compared.
//!
//! ```sh
//! cargo run --release -p ds4-engine --example sampling_speed
//! ```

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "an example")]

use std::hint::black_box;
use std::time::Instant;

use ds4_engine::sampling::{Draws, Mode, Report, Sampler};
use ds4_engine::{Sampling, SamplingFields};

const VOCAB: usize = 129_280;
const TOKENS: usize = 200;

fn main() {
    let logits: Vec<Vec<f32>> = (0..4).map(logits).collect();
    let plain = SamplingFields::default;
    let cases = [
        (
            "greedy",
            SamplingFields {
                temperature: 0.0,
                ..plain()
            },
        ),
        ("temperature 1", plain()),
        (
            "top-p 0.95",
            SamplingFields {
                top_p: 0.95,
                ..plain()
            },
        ),
        (
            "min-p 0.05",
            SamplingFields {
                min_p: 0.05,
                ..plain()
            },
        ),
        (
            "top-k 40, top-p 0.95, min-p 0.05",
            SamplingFields {
                top_k: 40,
                top_p: 0.95,
                min_p: 0.05,
                ..plain()
            },
        ),
        (
            "temperature 1, penalties",
            SamplingFields {
                presence_penalty: 0.5,
                ..plain()
            },
        ),
        (
            "temperature 1, 20 log-probabilities",
            SamplingFields {
                report: Report::Logprobs(20),
                ..plain()
            },
        ),
    ];
    for (name, fields) in cases {
        let mut sampler = Sampler::new(Sampling::new(fields).unwrap(), VOCAB, TOKENS);
        let begun = Instant::now();
        let mut drawn = 0u32;
        for at in 0..TOKENS {
            let choice = sampler.sample(&logits[at % 4], None, Mode::Free);
            drawn = drawn.rotate_left(7) ^ black_box(choice.unwrap()).token;
        }
        let micros = begun.elapsed().as_secs_f64() * 1e6 / TOKENS as f64;
        println!("{name:<36} {micros:8.1} us a token, drawn {drawn:08x}");
    }
}

/// A body of noise and a few tokens that stand out, as models have them.
fn logits(seed: u64) -> Vec<f32> {
    let mut draws = Draws::new(seed);
    let mut logits: Vec<f32> = (0..VOCAB)
        .map(|_| {
            let sum: f64 = (0..6).map(|_| draws.uniform()).sum();
            (4.0 * (sum - 3.0)) as f32
        })
        .collect();
    for rank in 0..40 {
        let token = draws.bits() as usize % VOCAB;
        logits[token] = 18.0 - 0.5 * rank as f32;
    }
    logits
}
