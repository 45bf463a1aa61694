//! Tensor counts and byte totals of every published recipe, from headers alone; and that such
//! headers bind.

use std::collections::BTreeMap;

use ds4_gguf::write::{MetadataBuf, Plan, TensorSpec};
use ds4_gguf::{Format, Gguf};
use ds4_model::layout::Slot;
use ds4_model::support::dspark::{Dspark, Settings};
use ds4_model::synthetic::Synthetic;
use ds4_model::weights::Draft;
use ds4_model::{Profile, Recipe, Role, Shape, Weights};

fn plan(shape: Shape, recipe: Recipe) -> Plan {
    Synthetic::noise(shape, 1, recipe)
        .plan()
        .expect("a file can be planned")
}

fn counts(plan: &Plan) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for tensor in plan.tensors() {
        *counts.entry(tensor.format.name()).or_default() += 1;
    }
    counts
}

fn bytes(plan: &Plan) -> u64 {
    plan.tensors().iter().map(|tensor| tensor.bytes).sum()
}

fn padded(plan: &Plan) -> u64 {
    plan.file_bytes() - plan.data_start()
}

#[test]
fn flash_q2_has_the_published_census() {
    let plan = plan(Shape::flash(), Recipe::Q2);
    assert_eq!(plan.tensors().len(), 1328);
    let expected = [
        ("F16", 359),
        ("F32", 492),
        ("I32", 3),
        ("IQ2_XXS", 86),
        ("Q2_K", 43),
        ("Q8_0", 345),
    ];
    assert_eq!(counts(&plan), BTreeMap::from(expected));
    assert_eq!(padded(&plan), 86_714_777_664);
    let routed = |name: &str| name.contains("_exps");
    let rest = plan.tensors().iter().filter(|tensor| !routed(&tensor.name));
    assert_eq!(rest.map(|tensor| tensor.bytes).sum::<u64>(), 8_801_384_796);
    let layer = plan
        .tensors()
        .iter()
        .filter(|tensor| tensor.name.starts_with("blk.9.") && routed(&tensor.name));
    assert_eq!(layer.map(|tensor| tensor.bytes).sum::<u64>(), 1_811_939_328);
}

#[test]
fn every_recipe_has_its_published_bytes() {
    for (shape, recipe, total) in [
        (Shape::flash(), Recipe::Q2, 86_714_775_900),
        (Shape::flash(), Recipe::Q2Q4, 97_586_411_868),
        (Shape::flash(), Recipe::MXFP4, 155_971_123_548),
        (Shape::flash(), Recipe::Q4, 164_628_167_004),
        (Shape::pro(), Recipe::Q2, 464_621_966_732),
        (Shape::pro(), Recipe::Q4, 899_827_144_076u64),
    ] {
        let layers = shape.layers();
        let plan = plan(shape, recipe.clone());
        assert_eq!(bytes(&plan), total, "{recipe}, {layers} layers");
        let tensors = if layers == 43 { 1328 } else { 1894 };
        assert_eq!(plan.tensors().len(), tensors);
    }
}

#[test]
fn models_have_the_published_number_of_parameters() {
    // Checkpoints count expert tables, but no draft block.
    let parameters = |shape: &Shape| -> u64 {
        Weights::layout(shape)
            .slots()
            .iter()
            .map(Slot::values)
            .sum()
    };
    assert_eq!(parameters(&Shape::flash()), 284_334_567_511);
    assert_eq!(parameters(&Shape::pro()), 1_572_999_528_803);
}

#[test]
fn the_mtp_file_has_32_tensors() {
    let slots = Draft::layout(&Shape::flash()).slots();
    let plan = support_plan(&slots, &Recipe::MTP);
    assert_eq!(plan.tensors().len(), 32);
    let expected = [("F32", 19), ("Q4_K", 3), ("Q8_0", 10)];
    assert_eq!(counts(&plan), BTreeMap::from(expected));
    assert_eq!(bytes(&plan), 3_807_600_108);
}

#[test]
fn the_dspark_file_has_81_tensors() {
    let settings = Settings {
        block_size: 5,
        markov_rank: 256,
        noise_token: 128_799,
        target_layers: vec![40, 41, 42],
        stages: 3,
    };
    let plan = support_plan(
        &Dspark::layout(&Shape::flash(), &settings).slots(),
        &Recipe::DSPARK,
    );
    assert_eq!(plan.tensors().len(), 81);
    let expected = [
        ("F16", 7),
        ("F32", 34),
        ("IQ2_XXS", 6),
        ("Q2_K", 3),
        ("Q8_0", 31),
    ];
    assert_eq!(counts(&plan), BTreeMap::from(expected));
    // The published file less its header of 5440 bytes.
    assert_eq!(padded(&plan), 5_989_114_272 - 5_440);
}

fn support_plan(slots: &[Slot], recipe: &Recipe) -> Plan {
    let format = |slot: &Slot| recipe.format(slot.role, slot.layer, 43);
    let spec = |slot: &Slot| TensorSpec::new(&*slot.name, &slot.dims, format(slot));
    let specs: Vec<TensorSpec> = slots.iter().map(spec).collect();
    Plan::new(&MetadataBuf::new(), &specs).expect("a file can be planned")
}

/// A file of the planned size that holds nothing but its header: the rest is a hole.
fn hollow(plan: &Plan) -> (tempfile::NamedTempFile, Gguf) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::io::Write::write_all(&mut file, plan.head()).expect("the header");
    file.as_file().set_len(plan.file_bytes()).expect("a hole");
    let gguf = Gguf::open(file.path()).expect("a legal file");
    (file, gguf)
}

#[test]
fn full_size_files_bind() {
    for (shape, recipe, profile) in [
        (Shape::flash(), Recipe::Q2Q4, Profile::Flash),
        (Shape::pro(), Recipe::MXFP4, Profile::Pro),
    ] {
        let (_keep, file) = hollow(&plan(shape.clone(), recipe));
        let (bound, weights) = Weights::bind(&file).expect("it binds");
        assert_eq!((bound.profile, &bound), (profile, &shape));
        assert_eq!(weights.layers.len(), shape.layers());
    }
}

#[test]
fn formats_outside_the_published_recipes_are_refused_at_full_size() {
    let recipe = Recipe {
        attention: Format::Q4K,
        ..Recipe::Q2
    };
    let (_keep, file) = hollow(&plan(Shape::flash(), recipe));
    let error = Weights::bind(&file)
        .expect_err("attention is Q8_0")
        .to_string();
    let projections = Weights::layout(&Shape::flash())
        .slots()
        .iter()
        .filter(|slot| matches!(slot.role, Role::Projection | Role::AttentionOut))
        .count();
    assert!(
        error.contains(&format!("{projections} differences")),
        "{error}"
    );
    assert!(
        error.contains("blk.0.attn_q_a.weight: expected Q8_0, found Q4_K"),
        "{error}"
    );
}
