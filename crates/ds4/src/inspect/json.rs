//! Facts as one JSON object.

use ds4_gguf::TensorInfo;
use serde_json::{Map, Value, json};

use super::facts::{Content, Facts, ModelFacts};

/// The object for a program. Sizes are in bytes; keys never change their meaning.
pub(super) fn render(facts: &Facts, tensors: &[TensorInfo]) -> String {
    let formats: Map<String, Value> = facts
        .formats
        .iter()
        .map(|(format, share)| {
            (
                format.to_string(),
                json!({ "tensors": share.tensors, "bytes": share.bytes }),
            )
        })
        .collect();
    let mut object = json!({
        "file": facts.path,
        "name": facts.name,
        "architecture": facts.architecture,
        "file_bytes": facts.file_bytes,
        "data_start": facts.data_start,
        "alignment": facts.alignment,
        "keys": facts.keys,
        "tensors": facts.tensors,
        "formats": formats,
        "odd": facts.odd,
    });
    match &facts.content {
        Content::Model(found) => object["model"] = model(found),
        Content::Support { kind, fits } => {
            object["support"] = json!({ "kind": kind, "fits": fits });
        }
        Content::Other => {}
    }
    if let Some(tokenizer) = &facts.tokenizer {
        let special: Map<String, Value> = tokenizer
            .special
            .iter()
            .map(|(text, id)| ((*text).to_owned(), json!(id)))
            .collect();
        object["tokenizer"] = json!({
            "kind": tokenizer.kind,
            "tokens": tokenizer.tokens,
            "added": tokenizer.added,
            "merges": tokenizer.merges,
            "special": special,
        });
    }
    if !tensors.is_empty() {
        object["tensor_list"] = tensors.iter().map(tensor).collect();
    }
    format!("{object:#}\n")
}

fn model(model: &ModelFacts) -> Value {
    let ModelFacts {
        shape,
        inventory,
        conversations,
    } = model;
    let ratios: Vec<usize> = shape.ratios.iter().map(|ratio| ratio.tokens()).collect();
    let routed: Vec<Value> = inventory
        .routed
        .iter()
        .map(|run| {
            json!({
                "first_layer": run.layers.start(),
                "last_layer": run.layers.end(),
                "gate_up": run.inward.name(),
                "down": run.outward.name(),
            })
        })
        .collect();
    let memory: Vec<Value> = conversations
        .iter()
        .map(|conversation| {
            json!({
                "tokens": conversation.tokens,
                "row_bytes": conversation.rows,
                "allocated_bytes": conversation.allocated,
            })
        })
        .collect();
    json!({
        "profile": format!("{:?}", shape.profile).to_lowercase(),
        "parameters": inventory.parameters,
        "recipe": inventory.recipe.as_ref().map(|recipe| recipe.name),
        "routed_experts": routed,
        "layers": shape.layers(),
        "compress_ratios": ratios,
        "hash_layers": shape.hash_layers,
        "hidden": shape.hidden,
        "vocab": shape.vocab,
        "heads": shape.heads,
        "head_width": shape.head_width,
        "experts": shape.experts,
        "experts_used": shape.experts_used,
        "expert_width": shape.expert_width,
        "index_top_k": shape.index_top_k,
        "token_reads": { "always": inventory.reading.always, "routed": inventory.reading.routed },
        "conversations": memory,
    })
}

fn tensor(tensor: &TensorInfo) -> Value {
    json!({
        "name": tensor.name,
        "format": tensor.format.name(),
        "dims": tensor.dims.to_vec(),
        "offset": tensor.offset,
        "bytes": tensor.bytes,
    })
}
