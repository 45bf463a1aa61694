//! Synthetic models are the golden ones, bind, and keep their values through every recipe.

use ds4_gguf::Format;
use ds4_gguf::synth::values::Values;
use ds4_model::synthetic::{self, Synthetic};
use ds4_model::weights::{Attention, Router};
use ds4_model::{Profile, Recipe, Shape, Tensor, Weights};

fn config(name: &str) -> Shape {
    let path = format!(
        "{}/../truth/golden/{name}/config.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(path).expect("a golden config");
    Shape::from_config(&text).expect("a golden config is a shape")
}

#[test]
fn built_in_shapes_are_those_of_the_goldens() {
    assert_eq!(synthetic::tiny(), config("tiny"));
    assert_eq!(synthetic::mini(), config("mini"));
    assert_eq!(synthetic::wide(), config("wide"));
    assert_eq!(synthetic::tiny().profile, Profile::Odd);
}

#[test]
fn a_model_binds_to_the_shape_it_was_made_from() {
    for shape in [synthetic::tiny(), synthetic::mini()] {
        let model = Synthetic::reference(shape.clone(), 1, Recipe::FLOAT);
        let (bound, mut weights) = Weights::bind(&model.model().unwrap()).unwrap();
        assert_eq!(bound, shape);
        weights.bind_draft(&model.draft().unwrap(), &shape).unwrap();
        let hashed = weights
            .layers
            .iter()
            .map(|l| matches!(l.moe.router, Router::Hash(_)));
        assert_eq!(hashed.filter(|&hashed| hashed).count(), shape.hash_layers);
        let indexed = weights
            .layers
            .iter()
            .map(|l| matches!(l.attention, Attention::Csa(_)));
        let fours = shape.ratios.iter().map(|ratio| ratio.tokens() == 4);
        assert!(indexed.eq(fours));
    }
}

/// The reference stores `gate.tid2eid` of a model with 8 experts, 2 a token, as units.json says,
/// and `wq_a` so.
#[test]
fn values_are_those_of_the_reference_generator() {
    let units = include_str!("golden/units.json");
    let units: serde_json::Value = serde_json::from_str(units).unwrap();
    let expected = &units["synth"];
    let floats = |field: &str| -> Vec<f32> {
        let values = expected[field].as_array().unwrap();
        values
            .iter()
            .map(|value| value.as_f64().unwrap() as f32)
            .collect()
    };
    let raw: Vec<String> = (0..4)
        .map(|i| {
            Values::new(1, "layers.0.attn.wq_a.weight")
                .raw(i)
                .to_string()
        })
        .collect();
    assert_eq!(expected["raw64_first4"], serde_json::json!(raw));

    let weights = float_weights(synthetic::tiny());
    let wq_a = &weights.layers[0].query.a;
    assert_eq!(wq_a.format, Format::BF16);
    assert_eq!(wq_a.decode()[..8], floats("bf16_first8"));
    let Router::Hash(table) = &weights.layers[0].moe.router else {
        panic!("layer 0 is hashed")
    };
    let ids: Vec<i32> = table.integers().take(8).collect();
    let golden: Vec<i64> = expected["tid2eid_first4_E8_K2"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| {
            row.as_array()
                .unwrap()
                .iter()
                .map(|id| id.as_i64().unwrap())
        })
        .collect();
    assert!(ids.iter().map(|&id| i64::from(id)).eq(golden), "{ids:?}");
}

fn float_weights(shape: Shape) -> Weights<Tensor> {
    let model = Synthetic::reference(shape, 1, Recipe::FLOAT);
    let file = model.model().expect("a test model can be made");
    Weights::bind(&file).expect("and bound").1
}

#[test]
fn experts_are_stacked_under_their_own_names() {
    let weights = float_weights(synthetic::tiny());
    let down = &weights.layers[3].moe.experts.down;
    assert_eq!((down.slabs, down.rows, down.columns), (8, 128, 32));
    let mut row = vec![0.0; 32];
    down.decode_row(5, 7, &mut row);
    // gain 1.5 / q^2 with q = max(1, 1.5 / 5) = 1
    let amplitude = (1.5 * (3.0f64 / 32.0).sqrt()) as f32;
    let values = Values::new(1, "layers.3.ffn.experts.5.w2.weight");
    for (column, &value) in row.iter().enumerate() {
        let exact = values.around(7 * 32 + column as u64, 0.0, amplitude);
        assert!(
            (value - exact).abs() <= exact.abs() / 256.0,
            "{value} for {exact}"
        );
    }
}

#[test]
fn every_recipe_keeps_the_values_about_where_they_were() {
    let float = float_weights(synthetic::mini());
    for recipe in Recipe::ALL {
        let name = recipe.name;
        let file = Synthetic::reference(synthetic::mini(), 1, recipe)
            .model()
            .unwrap();
        let (_, weights) = Weights::bind(&file).unwrap();
        let mut originals = Vec::new();
        float.for_each(|_, tensor| originals.push(tensor.clone()));
        let mut originals = originals.iter();
        weights.for_each(|path, tensor| {
            let original = originals.next().expect("the same walk");
            if original.format == Format::I32 {
                assert_eq!(tensor.bytes(), original.bytes());
                return;
            }
            let (found, wanted) = (tensor.decode(), original.decode());
            let error: f64 = found
                .iter()
                .zip(&wanted)
                .map(|(a, b)| f64::from(a - b).powi(2))
                .sum();
            let power: f64 = wanted.iter().map(|value| f64::from(*value).powi(2)).sum();
            let relative = (error / power).sqrt();
            let bound = match tensor.format {
                Format::F32 | Format::BF16 => 0.005,
                Format::F16 => 0.001,
                Format::Q8_0 => 0.01,
                Format::Q4K => 0.1,
                Format::Mxfp4 => 0.2,
                _ => 0.6,
            };
            assert!(
                relative < bound,
                "{name} {path} {}: {relative}",
                tensor.format
            );
        });
    }
}

#[test]
fn the_prompt_repeats_what_was_near() {
    let prompt = synthetic::prompt(512, 701, 1);
    assert_eq!(prompt.len(), 701);
    for index in (42..701).step_by(3) {
        assert!(
            prompt[index - 40..index].contains(&prompt[index]),
            "{index}"
        );
    }
}

#[test]
fn any_tensor_of_a_noise_model_can_be_made_alone() {
    let model = Synthetic::noise(synthetic::mini(), 5, Recipe::Q2);
    let file = model.model().unwrap();
    let (shape, _) = Weights::bind(&file).unwrap();
    for slot in Weights::layout(&shape).slots() {
        let info = file.tensor(&slot.name).unwrap();
        let payload = file.payload(info);
        let middle = payload.len() / 3;
        let mut part = vec![0; payload.len() - middle];
        model.tensor(&slot).unwrap().fill(middle as u64, &mut part);
        assert!(part == payload[middle..], "{}", slot.name);
    }
}

#[test]
fn shared_layers_hold_the_payloads_of_the_first_ones() {
    let mut model = Synthetic::noise(synthetic::mini(), 5, Recipe::FLOAT);
    model.contents = synthetic::Contents::Noise { share: Some(2) };
    let file = model.model().unwrap();
    let (_, weights) = Weights::bind(&file).unwrap();
    let experts = |layer: usize| weights.layers[layer].moe.experts.gate.bytes();
    assert!(experts(0) != experts(1));
    assert!(experts(2).as_ptr() == experts(0).as_ptr());
    assert!(experts(3).as_ptr() == experts(1).as_ptr());
    // What is small or decides routes is every layer's own.
    let gate = |layer: usize| weights.layers[layer].moe.gate.bytes();
    assert!(gate(2) != gate(0));
}
