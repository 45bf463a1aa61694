//! Single operations against the goldens of the float64 reference.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use ds4_model::hadamard::hadamard;
use ds4_model::synthetic::mini;
use ds4_model::{Frequencies, RopeTable};
use serde_json::Value;

fn units() -> Value {
    serde_json::from_str(include_str!("golden/units.json")).unwrap()
}

fn floats(v: &Value) -> Vec<f32> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap() as f32)
        .collect()
}

#[test]
fn rope_frequencies_are_bit_exact() {
    let (rope, tables) = (&units()["rope"], Frequencies::new(&mini().rope, 64));
    assert_eq!(tables.of(RopeTable::Window), floats(&rope["main_inv_freq"]));
    assert_eq!(
        tables.of(RopeTable::Compressed),
        floats(&rope["compress_inv_freq"])
    );
}

#[test]
fn angles_are_right_up_to_a_million() {
    let tables = Frequencies::new(&mini().rope, 64);
    let units = units();
    let angles = units["rope"]["angles"].as_array().unwrap();
    assert!(angles.len() >= 4);
    for at in angles {
        let table = match at["table"].as_str().unwrap() {
            "main" => RopeTable::Window,
            "compress" => RopeTable::Compressed,
            other => panic!("no table {other}"),
        };
        let pos = at["pos"].as_u64().unwrap() as u32;
        let mut found = [(0.0, 0.0); 32];
        tables.angles(table, pos, &mut found);
        let expected = floats(&at["cos"]).into_iter().zip(floats(&at["sin"]));
        for ((cos, sin), (c, s)) in found.into_iter().zip(expected) {
            // The reference multiplies in f32 as well, so only the last digit may differ.
            assert!(
                (cos - c).abs() < 1e-6 && (sin - s).abs() < 1e-6,
                "position {pos}"
            );
        }
    }
}

#[test]
fn hadamard_is_orthonormal_in_natural_order() {
    let unit = &units()["hadamard128"];
    let mut x = floats(&unit["x"]);
    hadamard(&mut x);
    for (found, expected) in x.iter().zip(floats(&unit["y"])) {
        assert!((found - expected).abs() < 1e-6);
    }
}
