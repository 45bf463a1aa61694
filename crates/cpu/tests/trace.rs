//! Every intermediate that the goldens hold: what each step of each layer gave for the last token of
//! two prefixes. A mistake shows here by the name of the operation that made it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that shows its figures"
)]

mod rigs;

use std::collections::BTreeMap;

use ds4_model::probe::Probed;
use ds4_truth::trace::{Witness, distances};
use ds4_truth::{Mode, Model, Rig};
use rigs::exact;

/// What must be there for every layer; more for those with an indexer.
const NAMES: [&str; 10] = [
    "attn_in",
    "attn_post",
    "attn_comb",
    "q",
    "kv",
    "attn_heads",
    "attn_out",
    "experts",
    "expert_weights",
    "ffn_out",
];

#[test]
fn intermediates_are_the_goldens() {
    for model in [Model::Tiny, Model::Mini] {
        let whole = model.whole(Mode::Exact);
        let golden = model.trace();
        let rig = rigs::rig(model, exact(&whole));
        let shape = rig.shape().clone();
        let backend = Probed::new(rig.backend, Witness::default());
        let mut rig = Rig::new(backend, &shape, rig.weights);
        let mut worst = BTreeMap::<String, f64>::new();
        let lengths = golden["prompt_len"].as_array().unwrap();
        assert!(!lengths.is_empty());
        for (length, layers) in lengths.iter().zip(golden["exact"].as_array().unwrap()) {
            let length = length.as_u64().unwrap() as usize;
            let found = rig.trace(&whole.prompt[..length], 100);
            assert_eq!(found.len(), shape.layers());
            for (number, found) in found.iter().enumerate() {
                let of_layer = distances(found, &layers[number.to_string()]);
                assert!(NAMES.iter().all(|name| of_layer.contains_key(*name)));
                for (name, distance) in of_layer {
                    assert!(
                        distance < 5e-4,
                        "{model:?}, {length} tokens, layer {number}, {name}: {distance}"
                    );
                    let worst = worst.entry(name).or_default();
                    *worst = worst.max(distance);
                }
            }
        }
        assert_eq!(worst.len(), NAMES.len() + 2, "an indexer's as well");
        let worst: Vec<_> = worst
            .iter()
            .map(|(name, far)| format!("{name} {far:.1e}"))
            .collect();
        eprintln!("{model:?}: {}", worst.join(", "));
    }
}
