//! What a fuzzer does with arbitrary bytes. Shared with the fuzz targets in `fuzz/`; it needs
//! nothing but the crate.

use ds4_gguf::safetensors::Shard;
use ds4_gguf::write::{MetadataBuf, Plan, TensorSpec, Writer};
use ds4_gguf::{Gguf, Items, Value};

/// Whatever opens can be read to the last item, and written again as the same file.
pub fn gguf_header(bytes: &[u8]) {
    let gguf = match Gguf::from_bytes("fuzz", bytes.to_vec()) {
        Ok(gguf) => gguf,
        Err(error) => return check_message(&error),
    };
    let values = gguf
        .metadata()
        .iter()
        .map(|(_, value)| count(value))
        .sum::<usize>();
    assert!(
        values <= bytes.len(),
        "{values} values in {} bytes",
        bytes.len()
    );
    for tensor in gguf.tensors() {
        assert_eq!(gguf.payload(tensor).len() as u64, tensor.bytes);
        assert_eq!(gguf.tensor(&tensor.name), Some(tensor));
    }
    assert_eq!(gguf.metadata().iter().count(), gguf.metadata().len());
    rewrite(&gguf);
}

/// Whatever opens has payloads that cover the data.
pub fn safetensors_header(bytes: &[u8]) {
    let shard = match Shard::from_bytes("fuzz", bytes.to_vec()) {
        Ok(shard) => shard,
        Err(error) => return check_message(&error),
    };
    let mut end = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("the shard was accepted"));
    for tensor in shard.tensors() {
        assert_eq!(tensor.offset, end, "{}", tensor.name);
        assert_eq!(shard.payload(tensor).len() as u64, tensor.bytes);
        assert_eq!(tensor.dtype.bytes_of(&tensor.shape), Some(tensor.bytes));
        assert_eq!(shard.tensor(&tensor.name), Some(tensor));
        end = tensor.end();
    }
    assert_eq!(end, bytes.len() as u64);
}

fn check_message(error: &ds4_gguf::Error) {
    let text = error.to_string();
    assert!(text.starts_with("fuzz: ") && text.len() < 2000, "{text}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// Reads a value to its last item; returns how many there are.
fn count(value: Value<'_>) -> usize {
    let items = |items: Items<'_>| items.map(count).sum::<usize>();
    1 + value.as_array().map_or(0, |array| items(array.values()))
}

fn rewrite(gguf: &Gguf) {
    let metadata = MetadataBuf::from(gguf.metadata());
    let owner = |index: usize| {
        let tensor = &gguf.tensors()[index];
        let range = (tensor.offset, tensor.bytes, tensor.format);
        gguf.tensors()[..index]
            .iter()
            .find(|t| (t.offset, t.bytes, t.format) == range)
    };
    let specs: Vec<_> = (0..gguf.tensors().len())
        .map(|index| {
            let tensor = &gguf.tensors()[index];
            let spec = TensorSpec::new(&tensor.name, &tensor.dims, tensor.format);
            match owner(index) {
                Some(owner) => spec.sharing(&owner.name),
                None => spec,
            }
        })
        .collect();
    // The writer stores alignments as u32 only; the reader also takes other unsigned widths.
    let Ok(plan) = Plan::new(&metadata, &specs) else {
        let alignment = gguf.metadata().get("general.alignment");
        assert!(
            !matches!(alignment, None | Some(Value::U32(_))),
            "{alignment:?}"
        );
        return;
    };
    let mut writer = Writer::to_memory(plan.clone());
    for tensor in plan.payloads() {
        let source = gguf
            .tensor(&tensor.name)
            .expect("the plan has the file's names");
        writer
            .payload(&tensor.name, &gguf.payload(source))
            .expect("the plan has the file's sizes");
    }
    let bytes = writer.finish().expect("every payload is written");
    let again = Gguf::from_bytes("again", bytes).expect("the reader takes what the writer wrote");
    assert_eq!(
        format!("{:?}", again.metadata()),
        format!("{:?}", gguf.metadata())
    );
    for (a, b) in again.tensors().iter().zip(gguf.tensors()) {
        assert_eq!((&a.name, a.dims, a.format), (&b.name, b.dims, b.format));
        assert_eq!(*again.payload(a), *gguf.payload(b));
    }
}
