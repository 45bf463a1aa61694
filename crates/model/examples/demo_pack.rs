//! The demo model's trained weights as a GGUF file.
//!
//! ```sh
//! cargo run --release -p ds4-model --example demo_pack -- FOLDER VOCAB.json demo.gguf
//! ```
//!
//! FOLDER holds what models/demo/train.py wrote: `config.json` and `part-*.safetensors` under the
//! names of released checkpoints. Tensors that training leaves out are those of the indexer: its
//! top-k keeps every row of any context the model was trained for, so what it scores never matters.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "a tool of the training script: it stops at the first thing that is wrong"
)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ds4_gguf::write::{MetadataBuf, Plan, TensorSpec, Writer};
use ds4_gguf::{Format, Gguf, block};
use ds4_model::layout::Slot;
use ds4_model::shape::metadata::ARCHITECTURE;
use ds4_model::{Role, Shape, Weights};
use serde_json::Value;

fn main() {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [folder, vocabulary, output] = &arguments[..] else {
        eprintln!("usage: demo_pack FOLDER VOCAB.json OUTPUT.gguf");
        std::process::exit(2);
    };
    let config = std::fs::read_to_string(folder.join("config.json")).expect("config.json");
    let shape = Shape::from_config(&config).expect("a config of this family");
    let weights = read(folder);
    let slots = Weights::layout(&shape).slots();
    let specs: Vec<TensorSpec> = slots
        .iter()
        .map(|slot| TensorSpec::new(&*slot.name, &slot.dims, format(slot)))
        .collect();
    let plan = Plan::new(&metadata(&shape, vocabulary), &specs).expect("a sound plan");
    let mut writer = Writer::create(output, plan).expect("the output can be created");
    for slot in &slots {
        let bytes = bytes(slot, &weights);
        writer.payload(&slot.name, &bytes).expect("a payload");
    }
    writer.finish().expect("the output is complete");
    let file = Gguf::open(output).expect("the file opens");
    Weights::bind(&file).expect("the file binds");
    let size = std::fs::metadata(output).expect("its size").len();
    println!("{}: {size} bytes", output.display());
}

/// Q8_0 where size matters, F16 where it does not. The indexer's values are all zero.
fn format(slot: &Slot) -> Format {
    match slot.role {
        Role::Norm | Role::Sinks | Role::HyperBase | Role::HyperScale | Role::RouterBias => {
            Format::F32
        }
        Role::ExpertTable => Format::I32,
        Role::HyperMix | Role::CompressorApe | Role::Router => Format::F16,
        _ if is_index(slot) => Format::Mxfp4,
        _ => Format::Q8_0,
    }
}

fn is_index(slot: &Slot) -> bool {
    slot.checkpoint.contains(".indexer.")
}

/// A tensor of a checkpoint, decoded.
struct Values {
    shape: Vec<u64>,
    values: Vec<f32>,
}

/// All tensors of all parts.
fn read(folder: &Path) -> HashMap<String, Values> {
    let mut all = HashMap::new();
    for entry in std::fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|end| end != "safetensors") {
            continue;
        }
        let raw = std::fs::read(&path).expect("a part is readable");
        let (length, rest) = raw.split_at(8);
        let length = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
        let (header, data) = rest.split_at(length);
        let header: Value = serde_json::from_slice(header).expect("a header of JSON");
        for (name, info) in header.as_object().expect("an object") {
            if name == "__metadata__" {
                continue;
            }
            let number = |value: &Value| value.as_u64().expect("a number");
            let shape = info["shape"].as_array().expect("a shape");
            let shape: Vec<u64> = shape.iter().map(number).collect();
            let ends = &info["data_offsets"];
            let payload = &data[number(&ends[0]) as usize..number(&ends[1]) as usize];
            let values = match info["dtype"].as_str() {
                Some("F16") => {
                    let mut values = vec![0.0; payload.len() / 2];
                    block::decode(Format::F16, payload, &mut values).expect("F16 decodes");
                    values
                }
                Some("I32") => payload
                    .chunks_exact(4)
                    .map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32)
                    .collect(),
                other => panic!("{name} is {other:?}: F16 or I32 is expected"),
            };
            all.insert(name.clone(), Values { shape, values });
        }
    }
    all
}

/// The bytes of a slot; routed experts are stacked.
fn bytes(slot: &Slot, weights: &HashMap<String, Values>) -> Vec<u8> {
    let mut values: Vec<f32> = Vec::new();
    if is_index(slot) {
        // Norms of one, everything else nothing: scores of zero for all rows.
        let value = if slot.role == Role::Norm { 1.0 } else { 0.0 };
        values.resize(slot.values() as usize, value);
    } else if slot.checkpoint.contains('*') {
        let (matrix, experts) = slot.dims.split_at(2);
        for expert in 0..experts[0] {
            let name = slot.checkpoint.replace('*', &expert.to_string());
            values.extend(find(weights, &name, matrix));
        }
    } else {
        values.extend(find(weights, &slot.checkpoint, &slot.dims));
    }
    let mut bytes = Vec::new();
    match format(slot) {
        Format::I32 => bytes.extend(values.iter().flat_map(|&v| (v as i32).to_le_bytes())),
        format => block::encode(format, &values, &mut bytes).expect("whole blocks"),
    }
    bytes
}

fn find<'w>(weights: &'w HashMap<String, Values>, name: &str, dims: &[u64]) -> &'w [f32] {
    let found = weights.get(name);
    let found = found.unwrap_or_else(|| panic!("the checkpoint lacks {name}"));
    let shape: Vec<u64> = dims.iter().rev().copied().collect();
    assert_eq!(found.shape, shape, "{name}: its shape, and the model's");
    &found.values
}

fn metadata(shape: &Shape, vocabulary: &Path) -> MetadataBuf {
    let text = std::fs::read(vocabulary).expect("the vocabulary is readable");
    let file: Value = serde_json::from_slice(&text).expect("the vocabulary is JSON");
    let strings = |key: &str| -> Vec<String> {
        serde_json::from_value(file[key].clone()).expect("a list of strings")
    };
    let types: Vec<i32> = serde_json::from_value(file["types"].clone()).expect("a list of numbers");
    let mut out = MetadataBuf::new();
    out.set("general.architecture", ARCHITECTURE);
    out.set("general.type", "model");
    out.set("general.name", "ds4 demo");
    out.set("general.license", "mit");
    out.set("general.quantization_version", 2u32);
    shape.to_metadata(&mut out);
    out.set("tokenizer.ggml.model", "gpt2");
    out.set("tokenizer.ggml.pre", "joyai-llm");
    out.set("tokenizer.ggml.tokens", strings("tokens"));
    out.set("tokenizer.ggml.token_type", types);
    out.set("tokenizer.ggml.merges", strings("merges"));
    out.set("tokenizer.ggml.bos_token_id", 0u32);
    out.set("tokenizer.ggml.eos_token_id", 1u32);
    out.set("tokenizer.ggml.padding_token_id", 2u32);
    out.set("tokenizer.ggml.add_bos_token", false);
    out.set("tokenizer.ggml.add_eos_token", false);
    out
}
