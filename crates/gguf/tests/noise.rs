//! Noise has the wanted spread in every format, and its bytes do not depend on how they are asked
//! for.

use ds4_gguf::synth::noise::{Fill, Noise, NoiseError};
use ds4_gguf::{Format, block};
use proptest::prelude::*;

const WEIGHTS: [Format; 8] = [
    Format::F32,
    Format::F16,
    Format::BF16,
    Format::Q8_0,
    Format::Q2K,
    Format::Q4K,
    Format::Iq2Xxs,
    Format::Mxfp4,
];

fn noise(name: &str, format: Format, std: f32) -> Noise {
    Noise::new(1, name, format, &Fill::Spread { std }).expect("a weight format")
}

fn values(format: Format, std: f32, count: usize) -> Vec<f32> {
    let size = format.bytes_of(count as u64).expect("whole blocks") as usize;
    let mut bytes = vec![0; size];
    noise("tensor", format, std).fill(0, &mut bytes);
    let mut values = vec![0.0; count];
    block::decode(format, &bytes, &mut values).expect("valid blocks");
    values
}

#[test]
fn every_format_has_the_wanted_spread() {
    for format in WEIGHTS {
        for std in [1.0, 0.25 / 64.0, 1.0 / 128.0, 2.0 / 84.66] {
            let values = values(format, std, 1 << 18);
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
            let square = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
            let found = (square / values.len() as f64).sqrt();
            let wanted = f64::from(std);
            assert!(values.iter().all(|v| v.is_finite()), "{format}");
            assert!(
                (found / wanted - 1.0).abs() < 0.02,
                "{format} {std}: {found}"
            );
            assert!(mean.abs() < 0.03 * wanted, "{format} {std}: mean {mean}");
        }
    }
}

#[test]
fn blocks_and_tensors_differ() {
    for format in WEIGHTS {
        let size = format
            .block_bytes()
            .max(64)
            .next_multiple_of(format.block_bytes());
        let (mut first, mut second, mut other) = (vec![0; size], vec![0; size], vec![0; size]);
        noise("a", format, 0.1).fill(0, &mut first);
        noise("a", format, 0.1).fill(size as u64, &mut second);
        noise("b", format, 0.1).fill(0, &mut other);
        assert!(first != second && first != other, "{format}");
    }
}

#[test]
fn small_tensors_have_their_own_laws() {
    let fill = |fill: Fill| {
        let mut bytes = vec![0; 4 << 14];
        Noise::new(3, "norm", Format::F32, &fill)
            .expect("F32")
            .fill(0, &mut bytes);
        let mut values = vec![0.0f32; 1 << 14];
        block::decode(Format::F32, &bytes, &mut values).expect("F32");
        values
    };
    let normal = fill(Fill::Normal {
        mean: 1.0,
        std: 0.1,
    });
    let mean = normal.iter().sum::<f32>() / normal.len() as f32;
    let variance = normal.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / normal.len() as f32;
    assert!((mean - 1.0).abs() < 0.005 && (variance.sqrt() - 0.1).abs() < 0.002);
    let uniform = fill(Fill::Uniform {
        low: 0.3,
        high: 0.7,
    });
    assert!(uniform.iter().all(|v| (0.3..=0.7).contains(v)));
    assert!(uniform.iter().any(|&v| v < 0.31) && uniform.iter().any(|&v| v > 0.69));
    assert_eq!(fill(Fill::Given(vec![1.0, 2.0]))[..3], [1.0, 2.0, 0.0]);
}

#[test]
fn rows_of_a_table_hold_different_numbers() {
    for below in [6, 16, 256, 384] {
        let mut bytes = vec![0; 4 * 6 * 1000];
        let fill = Fill::Distinct { row: 6, below };
        Noise::new(1, "table", Format::I32, &fill)
            .expect("I32")
            .fill(0, &mut bytes);
        for row in bytes.chunks(24) {
            let mut ids: Vec<i32> = row
                .as_chunks()
                .0
                .iter()
                .map(|&word| i32::from_le_bytes(word))
                .collect();
            assert!(
                ids.iter().all(|&id| (0..below as i32).contains(&id)),
                "{ids:?}"
            );
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), 6);
        }
    }
}

#[test]
fn what_cannot_be_made_is_refused() {
    let spread = |std| Fill::Spread { std };
    for (format, fill) in [
        (Format::I32, spread(1.0)),
        (Format::Q6K, spread(1.0)),
        (
            Format::F16,
            Fill::Normal {
                mean: 0.0,
                std: 1.0,
            },
        ),
        (Format::F32, Fill::Distinct { row: 1, below: 1 }),
    ] {
        let refused = Noise::new(1, "tensor", format, &fill);
        assert!(
            matches!(refused, Err(NoiseError::Format { .. })),
            "{format} {fill:?}"
        );
    }
    for std in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-9] {
        let refused = Noise::new(1, "tensor", Format::Q8_0, &spread(std));
        assert!(matches!(refused, Err(NoiseError::Scale { .. })), "{std}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_range_is_a_part_of_the_whole(
        format in prop::sample::select(&WEIGHTS[..]),
        start in 0usize..5000,
        length in 0usize..3000,
    ) {
        let noise = noise("tensor", format, 0.01);
        let mut whole = vec![0; 8192];
        noise.fill(0, &mut whole);
        let mut part = vec![0; length];
        noise.fill(start as u64, &mut part);
        prop_assert_eq!(&part[..], &whole[start..][..length]);
    }
}

#[test]
fn all_threads_make_the_bytes_of_one() {
    let noise = noise("tensor", Format::Iq2Xxs, 0.02);
    let (mut one, mut all) = (vec![0; 1_000_003], vec![0; 1_000_003]);
    noise.fill(77, &mut one);
    noise.fill_parallel(77, &mut all);
    assert!(one == all);
}
