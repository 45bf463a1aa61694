//! Blocks decoded by the Python package `gguf` must decode to the same bits here.
//!
//! `fixtures/make_block_fixtures.py` made the data and says what is in it.

use std::fs;
use std::path::PathBuf;

use ds4_gguf::Format;
use ds4_gguf::block::{Block, Q8_0, blocks_of, decode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use zerocopy::IntoBytes;

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/blocks")
        .join(name);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn digest(values: &[f32]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    Sha256::digest(bytes)[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn every_weight_format_decodes_as_the_python_package_does() {
    let index: Value = serde_json::from_slice(&fixture("blocks.json")).unwrap();
    let entries = index.as_array().unwrap();
    let mut seen = Vec::new();
    for entry in entries {
        let name = entry["format"].as_str().unwrap();
        let format = Format::from_name(name).unwrap();
        let per_digest = entry["values_per_digest"].as_u64().unwrap() as usize;
        let digests = entry["digests"].as_array().unwrap();
        let bytes = fixture(&format!("{}.bin", name.to_lowercase()));
        let mut values = vec![f32::NAN; bytes.len() / format.block_bytes() * format.block_values()];
        decode(format, &bytes, &mut values).unwrap();

        let expected = entry["first_bits"].as_array().unwrap().iter();
        let expected = expected.flat_map(|row| row.as_array().unwrap());
        for (i, (value, bits)) in values.iter().zip(expected).enumerate() {
            let bits = bits.as_u64().unwrap() as u32;
            let wanted = f32::from_bits(bits);
            assert_eq!(
                value.to_bits(),
                bits,
                "{name}, value {i}: {value}, wanted {wanted}"
            );
        }
        assert_eq!(values.len(), digests.len() * per_digest, "{name}");
        for (b, (row, wanted)) in values.chunks(per_digest).zip(digests).enumerate() {
            assert_eq!(
                digest(row),
                wanted.as_str().unwrap(),
                "{name}, digest {b}: {row:?}"
            );
        }
        seen.push(format);
    }
    let weights: Vec<Format> = Format::all().filter(|f| f.is_weight()).collect();
    seen.sort();
    let mut wanted = weights;
    wanted.sort();
    assert_eq!(seen, wanted, "a format without a fixture");
}

#[test]
fn q8_0_encodes_as_the_python_package_does() {
    let bytes = fixture("q8_0_encode.bin");
    let (values, blocks) = bytes.split_at(64 * 32 * 4);
    let blocks = blocks_of::<Q8_0>(blocks).unwrap();
    let values: Vec<f32> = values
        .chunks(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect();
    assert_eq!(blocks.len(), 64);
    for (b, (values, wanted)) in values.chunks(32).zip(blocks).enumerate() {
        assert_eq!(
            Q8_0::encode(values).as_bytes(),
            wanted.as_bytes(),
            "block {b}"
        );
    }
}

#[test]
fn the_block_worked_by_hand_in_the_documentation_is_right() {
    let page = include_str!("../../../docs/formats/blocks.md");
    let (_, hex) = page.split_once("```hex mxfp4\n").unwrap();
    let (hex, _) = hex.split_once("\n```").unwrap();
    let bytes: Vec<u8> = hex
        .split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let mut values = [f32::NAN; 32];
    decode(Format::Mxfp4, &bytes, &mut values).unwrap();
    let mut wanted = [0.0; 32];
    (wanted[0], wanted[16], wanted[1]) = (1.0, 2.0, -12.0);
    assert_eq!(values, wanted);
}
