//! Payloads of a synthetic model: which tensors have one of their own, and what is in it.

use std::collections::HashMap;

use ds4_gguf::synth::noise::{Fill, Noise};
use ds4_gguf::synth::values::Values;
use ds4_gguf::write::{Output, Writer};

use crate::layout::Slot;
use crate::role::Role;
use crate::shape::Shape;
use crate::synthetic::{Contents, SynthError, Synthetic, reference};

/// Writes the payload of `slot`.
pub(super) fn put<O: Output>(
    model: &Synthetic,
    slot: &Slot,
    writer: &mut Writer<'_, O>,
) -> Result<(), SynthError> {
    let format = model.format(slot);
    match model.contents {
        Contents::Reference => {
            let bytes = reference::payload(slot, format, &model.shape, model.seed)?;
            writer.payload(&slot.name, &bytes)?;
        }
        Contents::Noise { .. } => {
            let noise = noise(model, slot)?;
            writer.stream(&slot.name, |sink| {
                let mut at = 0;
                let mut piece = vec![0; PIECE];
                while sink.left() > 0 {
                    let piece = &mut piece[..PIECE.min(sink.left() as usize)];
                    noise.fill_parallel(at, piece);
                    sink.put(piece)?;
                    at += piece.len() as u64;
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// Bytes made at a time.
const PIECE: usize = 16 << 20;

/// The noise of `slot`: any byte range of it, alone.
pub(super) fn noise(model: &Synthetic, slot: &Slot) -> Result<Noise, SynthError> {
    let fill = fill(slot, &model.shape, model.seed);
    Noise::new(model.seed, &slot.name, model.format(slot), &fill).map_err(|cause| {
        SynthError::Noise {
            tensor: slot.name.clone(),
            cause,
        }
    })
}

/// Matrices get a gain over sqrt(inputs): 1 keeps activations in their range. What writes into the
/// streams gets less, so that forty layers do not drown the embedding; the output matrix gets what
/// makes logits of standard deviation 2.
fn fill(slot: &Slot, shape: &Shape, seed: u64) -> Fill {
    let gain = |gain: f32| Fill::Spread {
        std: gain / (slot.columns() as f32).sqrt(),
    };
    match slot.role {
        Role::Embed => Fill::Spread { std: 1.0 },
        Role::Norm => Fill::Normal {
            mean: 1.0,
            std: 0.1,
        },
        Role::Sinks => Fill::Normal {
            mean: 0.0,
            std: 1.0,
        },
        Role::RouterBias => Fill::Normal {
            mean: 0.0,
            std: 0.02,
        },
        Role::HyperScale => Fill::Uniform {
            low: 0.3,
            high: 0.7,
        },
        Role::HyperBase => Fill::Given(hyper_base(slot, shape.streams, seed)),
        Role::ExpertTable => Fill::Distinct {
            row: shape.experts_used as u32,
            below: shape.experts as u32,
        },
        Role::CompressorApe => Fill::Spread { std: 0.5 },
        Role::Router => gain(1.5),
        Role::Output => gain(2.0),
        Role::AttentionOut | Role::ExpertOut | Role::SharedOut => gain(0.25),
        Role::Projection
        | Role::HyperMix
        | Role::CompressorKv
        | Role::CompressorGate
        | Role::IndexerQuery
        | Role::IndexerWeights
        | Role::ExpertIn
        | Role::SharedIn
        | Role::Drafter => gain(1.0),
    }
}

/// Gates near the middle, and a mixing matrix that mostly keeps each stream where it is.
fn hyper_base(slot: &Slot, streams: usize, seed: u64) -> Vec<f32> {
    let values = Values::new(seed, &slot.name);
    let gates = 2 * streams;
    let draw = |index: usize| {
        let noise = values.uniform(index as u64);
        if index < gates {
            return 0.5 * noise;
        }
        let (row, column) = ((index - gates) / streams, (index - gates) % streams);
        let stays = if row == column { 2.0 } else { 0.0 };
        stays + 0.8 * noise
    };
    (0..slot.dims[0] as usize).map(draw).collect()
}

/// For every slot, the earlier one whose payload it shares, if any.
///
/// Large matrices of the same kind, dimensions and format take turns with the payloads of the first
/// `share` layers.
pub(super) fn owners(model: &Synthetic, slots: &[Slot]) -> Vec<Option<String>> {
    let Contents::Noise { share: Some(share) } = model.contents else {
        return vec![None; slots.len()];
    };
    let share = share.max(1);
    let mut groups: HashMap<_, (Vec<&str>, usize)> = HashMap::new();
    let owner = |slot| {
        let slot: &Slot = slot;
        let format = model.format(slot);
        let large = format
            .bytes_of(slot.values())
            .is_some_and(|bytes| bytes >= LARGE);
        slot.layer.filter(|_| large && !slot.role.is_fixed())?;
        let kind = slot.name.splitn(3, '.').last();
        let (owners, turn) = groups.entry((kind, format, slot.dims.clone())).or_default();
        let this = *turn;
        *turn += 1;
        if owners.len() < share {
            owners.push(&slot.name);
            return None;
        }
        Some(owners[this % share].to_owned())
    };
    slots.iter().map(owner).collect()
}

/// Bytes from which on a tensor is worth sharing.
const LARGE: u64 = 1 << 20;
