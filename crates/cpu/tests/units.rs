//! Single operations of the CPU backend against the goldens of the float64 reference.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use ds4_model::synthetic::mini;
use serde_json::Value;

fn floats(v: &Value) -> Vec<f32> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap() as f32)
        .collect()
}

#[test]
fn hyper_connections_split_as_the_reference_does() {
    let units: Value =
        serde_json::from_str(include_str!("../../model/tests/golden/units.json")).unwrap();
    let cases = units["sinkhorn"].as_array().unwrap();
    assert_eq!(
        cases.len(),
        3,
        "soft, sharp and sharper: they tell 20 rounds from 19"
    );
    for case in cases {
        let [mix, scale, base] = ["mix", "scale", "base"].map(|name| floats(&case[name]));
        let found = ds4_cpu::split(&mix, &scale, &base, &mini());
        let close = |found: &[f32], expected: &Value| {
            let expected = floats(expected);
            assert_eq!(found.len(), expected.len());
            for (f, e) in found.iter().zip(&expected) {
                assert!((f - e).abs() < 2e-5, "{found:?} is not {expected:?}");
            }
        };
        close(&found.pre, &case["pre"]);
        close(&found.post, &case["post"]);
        for (row, expected) in found
            .comb
            .iter()
            .zip(case["comb_from_to"].as_array().unwrap())
        {
            close(row, expected);
        }
    }
}
