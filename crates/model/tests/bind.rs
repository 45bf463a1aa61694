//! Everything that is wrong with a file comes in one error, each with what was expected and what
//! was found.

use ds4_gguf::write::{MetadataBuf, Plan, TensorSpec, ValueBuf, Writer};
use ds4_gguf::{Format, Gguf};
use ds4_model::support::dspark::Dspark;
use ds4_model::synthetic::{Synthetic, mini, tiny};
use ds4_model::weights::Draft;
use ds4_model::{BindError, Recipe, Shape, Weights, bind};

/// A tensor of a file to be altered.
struct Part {
    name: String,
    dims: Vec<u64>,
    format: Format,
    bytes: Vec<u8>,
}

/// The file with its keys and tensors changed by `change`.
fn altered(file: &Gguf, change: impl FnOnce(&mut MetadataBuf, &mut Vec<Part>)) -> Gguf {
    let mut metadata = MetadataBuf::from(file.metadata());
    let part = |info: &ds4_gguf::TensorInfo| Part {
        name: info.name.clone(),
        dims: info.dims.to_vec(),
        format: info.format,
        bytes: file.payload(info).to_vec(),
    };
    let mut parts: Vec<Part> = file.tensors().iter().map(part).collect();
    change(&mut metadata, &mut parts);
    let specs: Vec<TensorSpec> = parts
        .iter()
        .map(|part| TensorSpec::new(&*part.name, &part.dims, part.format))
        .collect();
    let mut writer = Writer::to_memory(Plan::new(&metadata, &specs).expect("a legal file"));
    for part in &parts {
        writer.payload(&part.name, &part.bytes).expect("a payload");
    }
    Gguf::from_bytes("altered.gguf", writer.finish().expect("complete")).expect("a legal file")
}

fn tiny_file() -> Gguf {
    Synthetic::reference(tiny(), 1, Recipe::FLOAT)
        .model()
        .expect("tiny")
}

fn find<'p>(parts: &'p mut [Part], name: &str) -> &'p mut Part {
    parts.iter_mut().find(|part| part.name == name).expect(name)
}

#[test]
fn every_difference_of_tensors_is_in_one_error() {
    let file = altered(&tiny_file(), |_, parts| {
        parts.retain(|part| part.name != "blk.1.attn_kv.weight");
        find(parts, "blk.2.attn_norm.weight").dims = vec![64, 2];
        find(parts, "blk.3.attn_sinks.weight").format = Format::I32;
        let up = find(parts, "blk.4.ffn_up_exps.weight");
        up.format = Format::F16;
        let table = find(parts, "blk.1.ffn_gate_tid2eid.weight");
        table.bytes[4 * 7..4 * 8].copy_from_slice(&8i32.to_le_bytes());
    });
    let error = Weights::bind(&file).expect_err("five differences");
    let text = error.to_string();
    for line in [
        "altered.gguf does not fit the V4 architecture at other head widths (Odd), 5 differences:",
        "blk.1.attn_kv.weight: expected a weight format [128, 96], found no such tensor",
        "blk.2.attn_norm.weight: expected [128], found [64, 2]",
        "blk.3.attn_sinks.weight: expected F32, found I32",
        "blk.4.ffn_up_exps.weight: expected BF16, the format of blk.4.ffn_gate_exps.weight, found F16",
        "blk.1.ffn_gate_tid2eid.weight, token 3: expected experts 0 to 7, found 8",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
}

#[test]
fn every_difference_of_keys_is_in_one_error() {
    let mut metadata = MetadataBuf::new();
    metadata.set("general.architecture", "deepseek4");
    Shape::flash().to_metadata(&mut metadata);
    let shape_of = |metadata: &MetadataBuf| {
        let plan = Plan::new(metadata, &[]).expect("a legal file");
        let bytes = Writer::to_memory(plan).finish().expect("no payloads");
        Shape::from_metadata(&Gguf::from_bytes("keys.gguf", bytes).expect("a legal file"))
    };
    assert_eq!(shape_of(&metadata).expect("Flash"), Shape::flash());

    let mut wrong = metadata.clone();
    wrong.set("deepseek4.vocab_size", 129_281u32);
    wrong.set("deepseek4.expert_weights_scale", 1.6f32);
    wrong.set("deepseek4.hyper_connection.count", 3u32);
    let mut ratios = vec![0i32; 44];
    ratios[2] = 4;
    wrong.set("deepseek4.attention.compress_ratios", ratios);
    let text = shape_of(&wrong).expect_err("many differences").to_string();
    for line in [
        "keys.gguf does not fit DeepSeek V4 Flash, 43 differences:",
        "deepseek4.vocab_size: expected 129280, found 129281",
        "deepseek4.expert_weights_scale: expected 1.5, found 1.6",
        "deepseek4.hyper_connection.count: expected 4, found 3",
        "deepseek4.attention.compress_ratios[3]: expected 128, found 0",
        "and 3 more",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }

    let mut gaps = metadata.clone();
    gaps.remove("deepseek4.expert_count");
    gaps.set("deepseek4.rope.freq_base", "ten thousand");
    gaps.set("deepseek4.expert_group_count", 8u32);
    gaps.set("deepseek4.expert_weights_norm", false);
    gaps.set("deepseek4.swiglu_clamp_exp", vec![10.0f32; 42]);
    gaps.set("deepseek4.attention.value_length", 256u32);
    let text = shape_of(&gaps).expect_err("six differences").to_string();
    for line in [
        "6 differences:",
        "deepseek4.expert_count: expected a u32, found nothing",
        "deepseek4.rope.freq_base: expected an f32, found another value (string)",
        "deepseek4.expert_group_count: expected 0, found 8",
        "deepseek4.expert_weights_norm: expected true, found false",
        "deepseek4.swiglu_clamp_exp: expected an array of at least 43 floats",
        "deepseek4.attention.value_length: expected 512, found 256",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
}

#[test]
fn what_published_files_vary_is_accepted() {
    let mut metadata = MetadataBuf::new();
    metadata.set("general.architecture", "deepseek4");
    Shape::flash().to_metadata(&mut metadata);
    let ratios = |tail: usize| {
        let all = Shape::flash().ratios;
        let ratios = all.iter().map(|ratio| ratio.tokens() as u32);
        ratios
            .chain(std::iter::repeat_n(0, tail))
            .collect::<Vec<u32>>()
    };
    let variants: [(&str, ValueBuf); 5] = [
        ("attention.compress_ratios", ratios(1).into()),
        ("attention.compress_ratios", ratios(3).into()),
        ("rope.scaling.original_context_length", 65_536u64.into()),
        ("swiglu_clamp_exp", vec![10.0f64; 44].into()),
        (
            "attention.layer_norm_rms_epsilon",
            (1e-6f32 * (1.0 + 1e-7)).into(),
        ),
    ];
    for (key, value) in variants {
        let mut metadata = metadata.clone();
        metadata.set(format!("deepseek4.{key}"), value);
        let plan = Plan::new(&metadata, &[]).expect("a legal file");
        let bytes = Writer::to_memory(plan).finish().expect("no payloads");
        let file = Gguf::from_bytes(key, bytes).expect("a legal file");
        Shape::from_metadata(&file).expect(key);
    }
}

#[test]
fn sizes_out_of_bounds_are_refused_before_any_tensor_is_thought_of() {
    for (key, value) in [
        ("block_count", 0),
        ("block_count", 1 << 30),
        ("vocab_size", u32::MAX),
        ("embedding_length", u32::MAX),
        ("attention.output_group_count", 3),
        ("attention.indexer.key_length", 96),
        ("rope.dimension_count", 33),
        ("expert_used_count", 9),
        ("hash_layer_count", 7),
        ("attention.head_count", 0),
        ("attention.output_group_count", 0),
    ] {
        let file = altered(&tiny_file(), |metadata, _| {
            metadata.set(format!("deepseek4.{key}"), value);
        });
        let error = Weights::bind(&file).expect_err(key).to_string();
        let named = error.contains(key) || error.contains("compress_ratios");
        assert!(named, "{key} = {value}: {error}");
    }
}

#[test]
fn other_files_are_told_apart_by_architecture() {
    let model = Synthetic::reference(tiny(), 1, Recipe::FLOAT);
    let draft = model.draft().expect("a draft");
    let error = Weights::bind(&draft).expect_err("no main model");
    assert!(matches!(error, BindError::Architecture { .. }));
    let text = "architecture \"deepseek4_mtp_support\", expected \"deepseek4\"";
    assert!(error.to_string().contains(text), "{error}");
    let main = tiny_file();
    assert!(matches!(
        Draft::bind(&main, &tiny()),
        Err(BindError::Architecture { .. })
    ));
    assert!(matches!(
        Dspark::bind(&main, &tiny()),
        Err(BindError::Architecture { .. })
    ));
}

#[test]
fn a_draft_for_another_model_is_refused() {
    let draft = Synthetic::reference(tiny(), 1, Recipe::FLOAT)
        .draft()
        .expect("a draft");
    let error = Draft::bind(&draft, &mini())
        .expect_err("other sizes")
        .to_string();
    assert!(
        error.contains("deepseek4.expert_count: expected 16, found 8"),
        "{error}"
    );
    assert!(
        error.contains("mtp.0.e_proj.weight: expected [256, 256], found [128, 128]"),
        "{error}"
    );
}

#[test]
fn what_the_model_has_no_place_for_is_an_oddity_not_an_error() {
    let file = altered(&tiny_file(), |metadata, parts| {
        metadata.set("somebody.else", 1u32);
        parts.push(Part {
            name: "blk.0.extra.weight".to_owned(),
            dims: vec![2],
            format: Format::F32,
            bytes: vec![0; 8],
        });
    });
    let (shape, _) = Weights::bind(&file).expect("extra tensors are no error");
    let unknown = bind::unknown_tensors(&file, &Weights::layout(&shape).slots());
    assert_eq!(unknown.len(), 1);
    assert_eq!(unknown[0].name, "blk.0.extra.weight");
}

#[test]
fn a_vocabulary_of_another_size_is_refused() {
    let file = altered(&tiny_file(), |metadata, _| {
        metadata.set(
            "tokenizer.ggml.tokens",
            vec!["a".to_owned(), "b".to_owned()],
        );
    });
    let error = Weights::bind(&file).expect_err("two tokens").to_string();
    assert!(
        error.contains("tokenizer.ggml.tokens: expected 512, found 2"),
        "{error}"
    );
}

#[test]
fn dspark_files_bind_under_every_spelling_of_their_keys() {
    for prefix in ["dspark.", "deepseek4.dspark.", "deepseek4.dspark_"] {
        let file = dspark_file(prefix, 3);
        let drafter = Dspark::bind(&file, &mini()).expect(prefix);
        assert_eq!(drafter.stages.len(), 2);
        assert_eq!(drafter.settings.target_layers, [1, 3]);
        assert_eq!(
            (drafter.markov_in.rows, drafter.markov_in.columns),
            (512, 32)
        );
    }
    let error = Dspark::bind(&dspark_file("dspark.", 5), &mini()).expect_err("no layer 5");
    assert!(
        error
            .to_string()
            .contains("dspark.target_layer_ids: expected 1 to 8 layers below 5")
    );
}

fn dspark_file(prefix: &str, target: u32) -> Gguf {
    let settings = ds4_model::support::dspark::Settings {
        block_size: 5,
        markov_rank: 32,
        noise_token: 500,
        target_layers: vec![1, 3],
        stages: 2,
    };
    let mut metadata = MetadataBuf::new();
    metadata.set("general.architecture", "deepseek4-dspark");
    for (key, value) in [
        ("block_size", 5),
        ("markov_rank", 32),
        ("noise_token_id", 500),
        ("stage_count", 2),
    ] {
        metadata.set(format!("{prefix}{key}"), value as u32);
    }
    metadata.set(format!("{prefix}n_layers"), 2u32);
    metadata.set(format!("{prefix}target_layer_ids"), vec![1u32, target]);
    let slots = Dspark::layout(&mini(), &settings).slots();
    let format = |slot: &ds4_model::layout::Slot| Recipe::FLOAT.format(slot.role, None, 5);
    let specs: Vec<TensorSpec> = slots
        .iter()
        .map(|slot| TensorSpec::new(&*slot.name, &slot.dims, format(slot)))
        .collect();
    let plan = Plan::new(&metadata, &specs).expect("a legal file");
    let sizes: Vec<(String, u64)> = plan
        .payloads()
        .map(|info| (info.name.clone(), info.bytes))
        .collect();
    let mut writer = Writer::to_memory(plan);
    for (name, bytes) in sizes {
        writer
            .payload(&name, &vec![0; bytes as usize])
            .expect("a payload");
    }
    Gguf::from_bytes("dspark.gguf", writer.finish().expect("complete")).expect("a legal file")
}
