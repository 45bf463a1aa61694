//! The example file in docs/formats/gguf.md is what the page says it is.

#![allow(
    clippy::unwrap_used,
    reason = "clippy knows tests by their attribute only"
)]

use std::path::Path;

use ds4_gguf::write::{MetadataBuf, Plan, TensorSpec, Writer};
use ds4_gguf::{Format, Gguf};

fn example() -> Vec<u8> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats/gguf.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("```hexdump\n").unwrap();
    let (dump, _) = rest.split_once("```").unwrap();
    let byte = |text: &str| u8::from_str_radix(text, 16).unwrap();
    dump.lines()
        .flat_map(|line| line.split_whitespace().skip(1).map(byte))
        .collect()
}

#[test]
fn the_example_reads_and_writes_as_described() {
    let bytes = example();
    let gguf = Gguf::from_bytes("docs", bytes.clone()).unwrap();
    assert_eq!(gguf.metadata().u32("k").unwrap(), 42);
    let tensor = gguf.tensor("t").unwrap();
    assert_eq!((tensor.format, tensor.dims == [2]), (Format::F32, true));
    let values = [1f32, -2.0].map(f32::to_le_bytes).concat();
    assert_eq!(*gguf.payload(tensor), values[..]);

    let mut metadata = MetadataBuf::new();
    metadata.set("k", 42u32);
    let spec = TensorSpec::new("t", &[2], Format::F32);
    let mut writer = Writer::to_memory(Plan::new(&metadata, &[spec]).unwrap());
    writer.payload("t", &values).unwrap();
    assert_eq!(writer.finish().unwrap(), bytes);
}
