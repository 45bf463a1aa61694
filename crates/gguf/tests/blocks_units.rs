//! Block rounding of KV rows and index rows against the model's golden unit cases.

use std::fs;
use std::path::PathBuf;

use ds4_gguf::scalar::E8M0;
use ds4_gguf::scalar::shared::{
    E2M1_BLOCK, E4M3_BLOCK, decode_e2m1, decode_e4m3, encode_e2m1, encode_e4m3, round_e2m1,
    round_e4m3,
};
use serde_json::Value;

struct Case {
    x: Vec<f32>,
    scale: Vec<f32>,
    y: Vec<f32>,
}

fn case(name: &str) -> Case {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden/units.json");
    let text = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let units: Value = serde_json::from_slice(&text).expect("units.json is JSON");
    let list = |key: &str| {
        let list = units[name][key].as_array().expect("a list").iter();
        list.map(|v| v.as_f64().expect("a number") as f32).collect()
    };
    Case {
        x: list("x"),
        scale: list("scale"),
        y: list("y"),
    }
}

#[test]
fn latent_rows_round_as_the_reference_does() {
    let Case { x, scale, y } = case("fp8_block64");
    for (b, block) in x.chunks(E4M3_BLOCK).enumerate() {
        let (mut codes, mut values) = ([0; E4M3_BLOCK], [0.0; E4M3_BLOCK]);
        let got = encode_e4m3(block, &mut codes);
        assert_eq!(got.to_f32(), scale[b], "scale of block {b}");
        decode_e4m3(got, &codes, &mut values);
        assert_eq!(values[..], y[E4M3_BLOCK * b..][..E4M3_BLOCK], "block {b}");
    }
    let mut row = x;
    round_e4m3(&mut row);
    assert_eq!(row, y);
}

#[test]
fn index_rows_round_as_the_reference_does() {
    let Case { x, scale, y } = case("fp4_block32");
    for (b, block) in x.chunks(E2M1_BLOCK).enumerate() {
        let (mut codes, mut values) = ([0; E2M1_BLOCK / 2], [0.0; E2M1_BLOCK]);
        let got = encode_e2m1(block, &mut codes);
        assert_eq!(got.to_f32(), scale[b], "scale of block {b}");
        decode_e2m1(got, &codes, &mut values);
        assert_eq!(values[..], y[E2M1_BLOCK * b..][..E2M1_BLOCK], "block {b}");
    }
    let mut row = x;
    round_e2m1(&mut row);
    assert_eq!(row, y);
}

#[test]
fn a_greatest_value_at_a_power_of_two_needs_no_larger_scale() {
    // The product with 1/448 and 1/6 is rounded; at full scale it must come out as the power
    // itself.
    for exponent in -13..100 {
        let power = 2f32.powi(exponent);
        let mut codes = [0; 64];
        let scale = encode_e4m3(&[448.0 * power; 64], &mut codes);
        assert_eq!(
            (scale.to_f32(), codes),
            (power, [0x7e; 64]),
            "448 · 2^{exponent}"
        );
        let mut codes = [0; 16];
        let scale = encode_e2m1(&[-6.0 * power; 32], &mut codes);
        assert_eq!(
            (scale.to_f32(), codes),
            (power, [0xff; 16]),
            "6 · 2^{exponent}"
        );
    }
}

#[test]
fn zero_rows_have_the_floor_scale_and_stay_zero() {
    let mut codes = [9; 64];
    // 1e-4 / 448 lies between 2^-23 and 2^-22.
    assert_eq!(encode_e4m3(&[0.0; 64], &mut codes).to_f32(), 2f32.powi(-22));
    assert_eq!(codes, [0; 64]);
    let mut codes = [9; 16];
    assert_eq!(
        encode_e2m1(&[0.0; 32], &mut codes).to_f32(),
        f32::MIN_POSITIVE
    );
    assert_eq!(codes, [0; 16]);
}

#[test]
fn a_nan_shows_in_its_block_and_nowhere_else() {
    let mut row = vec![1.0; 128];
    row[70] = f32::NAN;
    let mut latent = row.clone();
    round_e4m3(&mut latent);
    assert!(latent[..64].iter().all(|x| *x == 1.0) && latent[64..].iter().all(|x| x.is_nan()));
    let mut index = row;
    round_e2m1(&mut index);
    for (i, x) in index.iter().enumerate() {
        assert_eq!(x.is_nan(), (64..96).contains(&i), "value {i}");
    }
    assert_eq!(encode_e2m1(&[f32::NAN; 32], &mut [0; 16]), E8M0::NAN);
}

#[test]
fn infinities_saturate() {
    let mut codes = [0; 64];
    let mut block = [1.0; 64];
    block[3] = f32::NEG_INFINITY;
    assert_eq!(encode_e4m3(&block, &mut codes), E8M0(254));
    assert_eq!(codes[3], 0xfe);
}

#[test]
fn rounding_twice_changes_nothing() {
    let Case { x, .. } = case("fp8_block64");
    let scaled = |factor: f32| x.iter().map(|v| v * factor).collect::<Vec<f32>>();
    for factor in [1.0, 0.37, 1e-3, 913.0] {
        let mut once = scaled(factor);
        round_e4m3(&mut once);
        let mut twice = once.clone();
        round_e4m3(&mut twice);
        assert_eq!(once, twice, "E4M3, factor {factor}");
        let mut once = scaled(factor);
        round_e2m1(&mut once);
        let mut twice = once.clone();
        round_e2m1(&mut twice);
        assert_eq!(once, twice, "E2M1, factor {factor}");
    }
}
