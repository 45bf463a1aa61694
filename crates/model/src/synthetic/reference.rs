//! The weights of the golden test models, value by value as the reference generator makes them.
//!
//! The reference names tensors and stores experts as checkpoints do, so the value of a stacked
//! expert is found under that expert's own name. What it stores as BF16 is rounded to BF16 here
//! too, whatever the recipe does with it afterwards.

use ds4_gguf::Format;
use ds4_gguf::synth::values::{self, Law, Values};

use crate::layout::Slot;
use crate::role::Role;
use crate::shape::Shape;
use crate::synthetic::SynthError;

/// The payload of `slot` in `format`.
pub(super) fn payload(
    slot: &Slot,
    format: Format,
    shape: &Shape,
    seed: u64,
) -> Result<Vec<u8>, SynthError> {
    if slot.role == Role::ExpertTable {
        return Ok(expert_table(slot, shape, seed));
    }
    let names = checkpoint_names(slot);
    let each = slot.values() as usize / names.len();
    let row = slot.columns() as usize;
    values::payload(seed, &names, [each / row, row], law(slot, shape), format).map_err(|cause| {
        SynthError::Format {
            tensor: slot.name.clone(),
            cause,
        }
    })
}

/// The tensors of the checkpoint that `slot` stacks.
fn checkpoint_names(slot: &Slot) -> Vec<String> {
    match slot.checkpoint.split_once('*') {
        Some((before, after)) => (0..slot.dims[2])
            .map(|expert| format!("{before}{expert}{after}"))
            .collect(),
        None => vec![slot.checkpoint.clone()],
    }
}

fn expert_table(slot: &Slot, shape: &Shape, seed: u64) -> Vec<u8> {
    let values = Values::new(seed, &slot.checkpoint);
    let mut bytes = Vec::with_capacity(4 * shape.vocab * shape.experts_used);
    for token in 0..shape.vocab as u64 {
        for expert in values.distinct(token, shape.experts as u64, shape.experts_used as u64) {
            bytes.extend_from_slice(&(expert as i32).to_le_bytes());
        }
    }
    bytes
}

/// Mean, amplitude and stored precision of a tensor's values.
fn law(slot: &Slot, shape: &Shape) -> Law {
    // The amplitude at which a product with `columns` inputs of variance 1 has variance gain
    // squared.
    let gain = |gain: f64| (gain * (3.0 / slot.columns() as f64).sqrt()) as f32;
    // Larger limits get larger gate and up values, so that the clamp is reached.
    let hot = (f64::from(shape.swiglu_limit) / 5.0).max(1.0);
    let bf16 = |mean, amplitude| Law {
        mean,
        amplitude,
        bf16: true,
    };
    let f32 = |mean, amplitude| Law {
        mean,
        amplitude,
        bf16: false,
    };
    match slot.role {
        Role::Embed => bf16(0.0, 3f64.sqrt() as f32),
        Role::Norm => bf16(1.0, 0.25),
        Role::Sinks => f32(0.0, 1.5),
        Role::CompressorApe => f32(0.0, 1.0),
        Role::HyperMix => f32(0.0, gain(0.5)),
        Role::HyperBase => f32(0.0, 0.8),
        Role::HyperScale => f32(1.0, 0.2),
        Role::RouterBias => f32(0.0, 0.3),
        Role::Output | Role::AttentionOut => bf16(0.0, gain(2.0)),
        Role::CompressorGate | Role::Router => bf16(0.0, gain(1.5)),
        Role::ExpertIn | Role::SharedIn => bf16(0.0, gain(1.5 * hot)),
        Role::ExpertOut | Role::SharedOut => bf16(0.0, gain(1.5 / (hot * hot))),
        Role::Projection
        | Role::CompressorKv
        | Role::IndexerQuery
        | Role::IndexerWeights
        | Role::Drafter
        // An expert table holds no values drawn from a range; `payload` fills it itself.
        | Role::ExpertTable => bf16(0.0, gain(1.0)),
    }
}

/// `tokens` token ids; every third one from 40 on repeats one of the 40 before it, to give
/// attention something to find.
pub fn prompt(vocab: usize, tokens: usize, seed: u64) -> Vec<u32> {
    let values = Values::new(seed, "prompt");
    let mut prompt: Vec<u32> = Vec::with_capacity(tokens);
    for index in 0..tokens {
        let token = if index >= 40 && index % 3 == 0 {
            prompt[index - 1 - (values.raw((tokens + index) as u64) % 40) as usize]
        } else {
            (values.raw(index as u64) % vocab as u64) as u32
        };
        prompt.push(token);
    }
    prompt
}
