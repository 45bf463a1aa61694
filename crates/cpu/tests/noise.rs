//! Models of noise behave: whatever the recipe, logits keep a standard deviation near 2 and depend on the prompt.

use ds4_cpu::{Arithmetic, Cpu, Options, Tensor};
use ds4_model::synthetic::{Synthetic, mini, prompt};
use ds4_model::{Outputs, Recipe, Rounding, RowFormat, Weights};
use ds4_truth::Rig;

const TOKENS: usize = 48;

#[test]
fn logits_of_noise_have_a_standard_deviation_near_2() {
    for recipe in [Recipe::Q2, Recipe::MXFP4] {
        let name = recipe.name;
        let file = Synthetic::noise(mini(), 1, recipe)
            .model()
            .expect("a model");
        let (shape, weights) = Weights::bind(&file).expect("it binds");
        let options = Options {
            threads: 2,
            arithmetic: Arithmetic::Blocks,
            simd: None,
            rows: RowFormat::Packed,
            rounding: Rounding::Model,
            draft: false,
            slots: 1,
            pages: 1,
            max_rows: 48,
            max_outputs: 48,
        };
        let backend = Cpu::new(shape.clone(), options).expect("a backend");
        let weights = weights.map(|_, tensor| Tensor::bound(tensor));
        let mut rig = Rig::new(backend, &shape, weights);
        let tokens = prompt(shape.vocab, TOKENS, 1);
        let logits = rig.step(&[(0, 0, &tokens, Outputs::All)]);

        let all: Vec<f64> = logits
            .iter()
            .flatten()
            .map(|&logit| f64::from(logit))
            .collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let variance =
            all.iter().map(|logit| (logit - mean).powi(2)).sum::<f64>() / all.len() as f64;
        let deviation = variance.sqrt();
        eprintln!("{name}: {deviation:.3}");
        assert!((1.5..2.5).contains(&deviation), "{name}: {deviation}");

        let best = |row: &Vec<f32>| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
        let mut winners: Vec<_> = logits.iter().map(best).collect();
        winners.sort_unstable();
        winners.dedup();
        assert!(
            winners.len() > TOKENS / 4,
            "{name}: only {} winners",
            winners.len()
        );
    }
}
