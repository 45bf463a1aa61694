//! What is legal in a file but not expected: shared payloads, unknown keys and tensors, bytes
//! nobody owns.

use ds4_gguf::{Gguf, TensorInfo};
use ds4_model::bind::unknown_tensors;
use ds4_model::layout::Slot;

use super::facts::printable;
use crate::units::{Bytes, grouped};

/// Keys of `deepseek4.` that need not be there and decide nothing.
const INFORMATIONAL: [&str; 6] = [
    "context_length",
    "feed_forward_length",
    "expert_gating_func",
    "nextn_predict_layers",
    "rope.scaling.type",
    "swiglu_clamp_shexp",
];

/// What is odd about `file`; `known` are the tensors that the model has a place for.
pub(super) fn of(file: &Gguf, known: Option<&[Slot]>) -> Vec<String> {
    let mut odd = Vec::new();
    odd.extend(shared(file));
    if let Some(known) = known {
        odd.extend(strangers(
            "tensor",
            unknown_tensors(file, known).iter().map(|t| &*t.name),
        ));
        odd.extend(strangers("key", unknown_keys(file).iter().copied()));
    }
    odd.extend(unowned(file));
    if file.alignment() != 32 {
        odd.push(format!(
            "the alignment is {}, where published files have 32",
            file.alignment()
        ));
    }
    odd
}

fn shared(file: &Gguf) -> Option<String> {
    let groups: Vec<Vec<&TensorInfo>> = file.aliases().collect();
    let sharing = |group: &Vec<&TensorInfo>| group.len() - 1;
    let saved: u64 = groups
        .iter()
        .map(|group| group[0].bytes * sharing(group) as u64)
        .sum();
    let tensors: usize = groups.iter().map(sharing).sum();
    let example = groups.first()?;
    Some(format!(
        "{} tensors point at the payload of another ({} payloads are shared, {} saved), \
         such as {} at that of {}",
        grouped(tensors as u64),
        groups.len(),
        Bytes(saved),
        printable(&example[1].name),
        printable(&example[0].name)
    ))
}

fn unknown_keys(file: &Gguf) -> Vec<&str> {
    let mut expected = ds4_gguf::write::MetadataBuf::new();
    ds4_model::Shape::flash().to_metadata(&mut expected);
    let is_known = |key: &str| match key.strip_prefix("deepseek4.") {
        Some(own) => {
            expected.get(key).is_some()
                || INFORMATIONAL.contains(&own)
                || own.starts_with("expert_group")
                || own.starts_with("mtp_")
                || own.starts_with("dspark")
        }
        None => ["general.", "tokenizer.", "quantize.", "dspark."]
            .iter()
            .any(|prefix| key.starts_with(prefix)),
    };
    file.metadata()
        .iter()
        .map(|(key, _)| key)
        .filter(|key| !is_known(key))
        .collect()
}

/// "3 unknown tensors: a, b, c".
fn strangers<'n>(what: &str, names: impl ExactSizeIterator<Item = &'n str>) -> Option<String> {
    const SHOWN: usize = 5;
    let count = names.len();
    let mut list: Vec<String> = names.take(SHOWN).map(printable).collect();
    if count > SHOWN {
        list.push(format!("and {} more", count - SHOWN));
    }
    let plural = if count == 1 { "" } else { "s" };
    (count > 0).then(|| format!("{count} unknown {what}{plural}: {}", list.join(", ")))
}

/// Bytes behind the last payload and its padding, or holes before it.
fn unowned(file: &Gguf) -> Option<String> {
    let pad = |end: u64| end.next_multiple_of(file.alignment());
    let end = file
        .tensors()
        .iter()
        .map(TensorInfo::end)
        .max()
        .map_or(file.data_start(), pad);
    let extra = file
        .file_bytes()
        .checked_sub(end)
        .filter(|&extra| extra > 0)?;
    Some(format!("{} bytes follow the last tensor", grouped(extra)))
}
