//! Dot products on quantised rows: the scalar functions against decoded values, every vector
//! function against the scalar one.
//!
//! All functions multiply codes exactly and differ in how they add floats, once a block. The bound
//! is what adding that many numbers in float32 may lose: one rounding unit of 2^-24 for each
//! addition, times the sum of what any block could at most contribute.

use ds4_cpu::dot::{Activations, Dots, Partner, Row, Simd};
use ds4_gguf::Format;
use ds4_gguf::block::{F16, Mxfp4, Q2K, Q4K, Q8_0, blocks_of, decode, encode};
use proptest::prelude::*;

fn weights() -> impl Iterator<Item = Format> {
    Format::all().filter(|format| format.is_weight())
}

/// Where a format has its float16 numbers.
fn f16_places(format: Format) -> &'static [usize] {
    match format {
        Format::F16 | Format::Q8_0 | Format::Q4K | Format::Iq2Xxs => match format {
            Format::Q4K => &[0, 2],
            _ => &[0],
        },
        Format::Q2K => &[80, 82],
        _ => &[],
    }
}

/// Any bytes as a row of finite blocks: exponents that make infinities or enormous values go down.
fn tame(format: Format, mut bytes: Vec<u8>) -> Vec<u8> {
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        for &place in f16_places(format) {
            // At most 2^0: the top exponent bits of a float16 reach 2^16.
            block[place + 1] &= 0xbf;
        }
        match format {
            Format::F32 => block[3] &= 0xbf,
            Format::BF16 => block[1] &= 0xbf,
            // 2^-16 to 2^15.
            Format::Mxfp4 => block[0] = block[0] % 32 + 111,
            _ => {}
        }
    }
    bytes
}

/// The values that a row of activations stands for.
fn dequantised(x: Row<'_>) -> Vec<f32> {
    match x {
        Row::F32(x) => x.to_vec(),
        Row::Q8(x) => x
            .iter()
            .flat_map(|b| b.qs.map(|q| b.d * f32::from(q)))
            .collect(),
        Row::Q8K(x) => x
            .iter()
            .flat_map(|b| b.qs.map(|q| b.d * f32::from(q)))
            .collect(),
    }
}

/// The most that a weight of each block can be, before a minimum is taken off.
fn caps(format: Format, row: &[u8], values: &[f32]) -> Vec<f64> {
    let cap = |d: F16, top: f64, dmin: F16, low: f64| {
        f64::from(d.to_f32()).abs() * top + f64::from(dmin.to_f32()).abs() * low
    };
    match format {
        Format::Q2K => {
            let blocks = blocks_of::<Q2K>(row).expect("whole blocks");
            blocks
                .iter()
                .map(|b| cap(b.d, 45.0, b.dmin, 15.0))
                .collect()
        }
        Format::Q4K => {
            let blocks = blocks_of::<Q4K>(row).expect("whole blocks");
            blocks
                .iter()
                .map(|b| cap(b.d, 945.0, b.dmin, 63.0))
                .collect()
        }
        _ => {
            let largest = |b: &[f32]| b.iter().fold(0.0f64, |m, w| m.max(f64::from(w.abs())));
            values.chunks(format.block_values()).map(largest).collect()
        }
    }
}

/// Compares all levels with each other and the decoded values on one row.
fn check(format: Format, row: &[u8], x: &[f32]) -> Result<(), TestCaseError> {
    let mut activations = Activations::default();
    activations.fill(Partner::of(format).expect("a weight format"), x.len(), [x]);
    let activations = activations.row(0);

    let mut w = vec![0.0; x.len()];
    decode(format, row, &mut w).expect("whole blocks");
    let x = dequantised(activations);
    let exact: f64 = w
        .iter()
        .zip(&x)
        .map(|(w, x)| f64::from(*w) * f64::from(*x))
        .sum();
    let length = format.block_values();
    let most: f64 = x
        .chunks(length)
        .zip(caps(format, row, &w))
        .map(|(x, cap)| cap * x.iter().map(|x| f64::from(x.abs())).sum::<f64>())
        .sum();
    let additions = x.len() / length.max(32) + 32;
    let unit = most * 2f64.powi(-24) + f64::from(f32::MIN_POSITIVE);

    let scalar = Dots::SCALAR.dot(format, row, activations);
    // The activations' products d · q round once each when they are dequantised, so does the sum.
    prop_assert!(
        (f64::from(scalar) - exact).abs() <= 4.0 * unit,
        "{format}: scalar {scalar}, decoded {exact}"
    );
    for simd in Simd::ALL {
        let Some(dots) = Dots::of(simd) else { continue };
        let got = dots.dot(format, row, activations);
        prop_assert!(
            (f64::from(got) - f64::from(scalar)).abs() <= additions as f64 * unit,
            "{format}, {} values: {simd:?} {got}, scalar {scalar}, unit {unit}",
            x.len()
        );
    }
    Ok(())
}

/// Rows of 1 to 9 super-blocks' worth of bytes and activations; formats of single values get odd
/// lengths.
fn case() -> impl Strategy<Value = (usize, Vec<u8>, Vec<f32>)> {
    let values = prop_oneof![
        4 => -1.0f32..1.0,
        1 => -100.0f32..100.0,
        1 => Just(0.0f32),
        1 => prop::sample::select(vec![1e-30f32, -1e-20, 1e6, -1e6]),
    ];
    (1usize..=9, 0usize..300).prop_flat_map(move |(blocks, odd)| {
        let bytes = prop::collection::vec(any::<u8>(), blocks * 256 * 4);
        let x = prop::collection::vec(values.clone(), blocks * 256);
        (Just(odd), bytes, x)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn all_levels_agree_on_random_rows((odd, bytes, x) in case()) {
        for format in weights() {
            let length = format.block_values();
            // Not whole super-blocks where the format allows it.
            let count = match length {
                1 => x.len() - odd.min(x.len() - 1),
                32 => x.len() - (odd % 8) * 32,
                _ => x.len(),
            };
            let size = count / length * format.block_bytes();
            let row = tame(format, bytes[..size].to_vec());
            check(format, &row, &x[..count])?;
        }
    }

    #[test]
    fn all_levels_agree_on_encoded_rows((_, _, x) in case()) {
        for format in weights() {
            let mut row = Vec::new();
            let w: Vec<f32> = x.iter().rev().map(|x| x.clamp(-100.0, 100.0)).collect();
            encode(format, &w, &mut row).expect("whole blocks");
            check(format, &row, &x)?;
        }
    }
}

#[test]
fn extreme_codes_do_not_saturate() {
    // All bits set: the largest codes, scales and minima; and 0x80, the most negative byte.
    for byte in [0x00, 0xff, 0x80, 0x7f] {
        for format in weights() {
            let size = 512 / format.block_values() * format.block_bytes();
            let mut row = vec![byte; size];
            for block in row.chunks_exact_mut(format.block_bytes()) {
                for &place in f16_places(format) {
                    block[place..place + 2].copy_from_slice(&[0x00, 0x3c]);
                }
            }
            let row = tame(format, row);
            for value in [127.0, -127.0, 1.0] {
                check(format, &row, &[value; 512]).unwrap();
                let alternating: Vec<f32> = (0..512)
                    .map(|i| if i % 2 == 0 { value } else { -value })
                    .collect();
                check(format, &row, &alternating).unwrap();
            }
        }
    }
}

#[test]
fn small_whole_numbers_come_out_exactly() {
    // One block of Q8_0: codes 0 to 31 with scale 1, activations 127 where the code is 5, else 1.
    let block = Q8_0 {
        d: F16::from_f32(1.0),
        qs: std::array::from_fn(|i| i as i8),
    };
    let mut row = vec![0];
    row.splice(.., [0x00, 0x3c]);
    row.extend(block.qs.map(|q| q as u8));
    let mut x = [1.0; 32];
    x[5] = 127.0;
    let mut activations = Activations::default();
    activations.fill(Partner::Q8, 32, x.chunks(32));
    let expected = (0..32).sum::<i32>() + 126 * 5;
    for simd in Simd::ALL {
        if let Some(dots) = Dots::of(simd) {
            assert_eq!(
                dots.dot(Format::Q8_0, &row, activations.row(0)),
                expected as f32
            );
        }
    }
}

#[test]
fn what_is_not_finite_shows() {
    for format in weights() {
        let mut row = Vec::new();
        encode(format, &[0.5; 512], &mut row).unwrap();
        for value in [f32::NAN, f32::INFINITY] {
            let mut x = [1.0; 512];
            x[300] = value;
            let mut activations = Activations::default();
            activations.fill(Partner::of(format).unwrap(), 512, x.chunks(512));
            for simd in Simd::ALL {
                if let Some(dots) = Dots::of(simd) {
                    let got = dots.dot(format, &row, activations.row(0));
                    assert!(!got.is_finite(), "{format}, {simd:?}, {value}: {got}");
                }
            }
        }
    }
}

#[test]
fn rows_of_activations_are_kept_apart() {
    let x: Vec<f32> = (0..1024).map(|i| i as f32).collect();
    let mut activations = Activations::default();
    for (partner, format) in [
        (Partner::F32, Format::F32),
        (Partner::Q8, Format::Q8_0),
        (Partner::Q8K, Format::Q2K),
    ] {
        activations.fill(partner, 256, x.chunks(256));
        assert_eq!(Partner::of(format), Some(partner));
        for row in 0..4 {
            let got = dequantised(activations.row(row));
            assert_eq!(got.len(), 256);
            for (got, x) in got.iter().zip(&x[256 * row..]) {
                assert!(
                    (got - x).abs() <= 1023.0 / 127.0,
                    "{partner:?}: {x} became {got}"
                );
            }
        }
    }
}

#[test]
fn the_fastest_level_is_chosen() {
    let best = Simd::ALL
        .into_iter()
        .rev()
        .find(|simd| simd.is_supported())
        .unwrap();
    assert_eq!(Dots::detect().simd(), best);
    // Whoever sets up a machine for its level (an emulator, say) says which one that is, so that
    // its absence is noticed; else it would be passed over like those of other machines.
    if let Ok(level) = std::env::var("DS4_EXPECT_SIMD") {
        assert_eq!(format!("{best:?}"), level);
    }
}

#[test]
#[should_panic(expected = "Q2_K has no dot product with Q8")]
fn the_wrong_partner_is_refused() {
    let mut activations = Activations::default();
    activations.fill(Partner::Q8, 256, [&[1.0; 256][..]]);
    Dots::SCALAR.dot(Format::Q2K, &[0; 84], activations.row(0));
}

#[test]
#[should_panic(expected = "differ in length")]
fn another_length_is_refused() {
    let mut activations = Activations::default();
    activations.fill(Partner::Q8, 64, [&[1.0; 64][..]]);
    let row = [0; size_of::<Mxfp4>() * 3];
    Dots::SCALAR.dot(Format::Mxfp4, &row, activations.row(0));
}
