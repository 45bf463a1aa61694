//! What encoding may cost, format by format, and that no input makes it fail.
//!
//! The bounds follow from the formats where a proof is short; each is stated where it stands.

use ds4_gguf::Format;
use ds4_gguf::block::{BlockError, Q8K, decode, encode};
use proptest::prelude::*;

fn weights() -> impl Iterator<Item = Format> {
    Format::all().filter(|format| format.is_weight())
}

/// The formats that share scales, where the odd cases are.
fn scaled() -> impl Iterator<Item = Format> {
    weights().filter(|format| format.block_values() > 1)
}

fn encoded(format: Format, values: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(format, values, &mut bytes).expect("whole blocks of a weight format");
    bytes
}

fn decoded(format: Format, bytes: &[u8]) -> Vec<f32> {
    let mut values = vec![f32::NAN; bytes.len() / format.block_bytes() * format.block_values()];
    decode(format, bytes, &mut values).expect("whole blocks of a weight format");
    values
}

fn there_and_back(format: Format, values: &[f32]) -> Vec<f32> {
    decoded(format, &encoded(format, values))
}

/// The root mean square error allowed for a block, as a share of its largest magnitude (of its
/// range from the lowest value or zero to the highest, for the formats with minima).
fn allowed(format: Format, block: &[f32]) -> f64 {
    let high = block.iter().fold(0.0f32, |m, x| m.max(*x));
    let low = block.iter().fold(0.0f32, |m, x| m.min(*x));
    let largest = f64::from(high.max(-low));
    let range = f64::from(high) - f64::from(low);
    // What float16 scales may be off by, and where they end.
    let f16 = 1.0 / 1024.0;
    match format {
        Format::F32 => 0.0,
        Format::F16 => largest / 2048.0 + 2f64.powi(-25),
        Format::BF16 => largest / 256.0,
        // Half a step, and the rounding of the scale.
        Format::Q8_0 => largest * (0.5 / 127.0 + f16) + 127.0 * 2f64.powi(-25),
        // Half a step of a sub-block as wide as the block, and half a step of its scale and of its
        // minimum.
        Format::Q2K => range * (1.0 / 6.0 + 1.0 / 30.0 + 1.0 / 30.0 + f16) + 90.0 * 2f64.powi(-25),
        Format::Q4K => {
            range * (1.0 / 30.0 + 1.0 / 126.0 + 1.0 / 126.0 + f16) + 1890.0 * 2f64.powi(-25)
        }
        // Without the search: half the widest step, 2, where the largest value is above 3.
        Format::Mxfp4 => largest / 3.0,
        // No proof: 0.37 was the worst of 40,000 blocks. There is no zero, and a run may have to
        // flip a sign.
        Format::Iq2Xxs => largest * 0.45 + 2f64.powi(-20),
        other => panic!("{other} is not encoded"),
    }
}

fn check_error(format: Format, values: &[f32]) -> Result<(), TestCaseError> {
    let back = there_and_back(format, values);
    let length = format.block_values();
    for (block, back) in values.chunks(length).zip(back.chunks(length)) {
        let off = |(x, y): (&f32, &f32)| (f64::from(*x) - f64::from(*y)).powi(2);
        let square: f64 = block.iter().zip(back).map(off).sum();
        let error = (square / length as f64).sqrt();
        let allowed = allowed(format, block);
        prop_assert!(
            error <= allowed,
            "{format}: {error} > {allowed} for {block:?}"
        );
    }
    Ok(())
}

/// 256 values of one magnitude between 2^-10 and 2^10: even, with spikes, of one sign, or of few
/// distinct values.
fn blocks() -> impl Strategy<Value = Vec<f32>> {
    let shape = prop_oneof![
        prop::collection::vec(-1.0f32..1.0, 256),
        prop::collection::vec(0.2f32..1.0, 256),
        prop::collection::vec(-1.0f32..-0.9, 256),
        prop::collection::vec(prop_oneof![9 => -0.01f32..0.01, 1 => -1.0f32..1.0], 256),
        prop::collection::vec(prop::sample::select(vec![-1.0f32, 0.0, 1.0]), 256),
        (-1.0f32..1.0).prop_map(|x| vec![x; 256]),
    ];
    (shape, -10..10).prop_map(|(shape, exponent)| {
        let factor = 2f32.powi(exponent);
        shape.into_iter().map(|x| x * factor).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn errors_stay_within_their_bounds(values in blocks()) {
        for format in weights() {
            check_error(format, &values)?;
            // Decoded values are ordinary values: the same holds for them.
            check_error(format, &there_and_back(format, &values))?;
        }
    }

    #[test]
    fn what_mxfp4_and_the_floats_can_say_they_say_exactly(values in blocks()) {
        for format in [Format::F32, Format::F16, Format::BF16, Format::Mxfp4] {
            let once = there_and_back(format, &values);
            let twice = there_and_back(format, &once);
            prop_assert_eq!(&once, &twice, "{}", format);
        }
    }

    #[test]
    fn any_mxfp4_block_with_finite_values_comes_back(
        e in 1u8..=252,
        qs in prop::array::uniform16(any::<u8>()),
    ) {
        let mut bytes = vec![e];
        bytes.extend(qs);
        let values = decoded(Format::Mxfp4, &bytes);
        prop_assert_eq!(there_and_back(Format::Mxfp4, &values), values);
    }

    #[test]
    fn any_bits_encode_and_decode_to_finite_values(
        bits in prop::collection::vec(any::<u32>(), 256),
    ) {
        let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        for format in scaled() {
            let back = there_and_back(format, &values);
            prop_assert!(back.iter().all(|x| x.is_finite()), "{format}: {values:?}");
        }
    }

    #[test]
    fn any_bytes_decode(bytes in prop::collection::vec(any::<u8>(), 144)) {
        for format in weights() {
            let whole = bytes.len() / format.block_bytes() * format.block_bytes();
            decoded(format, &bytes[..whole]);
        }
    }

    #[test]
    fn q8_k_is_within_half_a_step_and_its_sums_add_up(values in blocks()) {
        let values: &[f32; 256] = values.as_slice().try_into().unwrap();
        let block = Q8K::quantise(values);
        let mut back = [0.0; 256];
        block.decode(&mut back);
        for (x, y) in values.iter().zip(back) {
            // Scale, reciprocal and both products are rounded: each may move a code of up to 127 by
            // 127 * 2^-24 steps.
            prop_assert!((x - y).abs() <= block.d * 0.50004, "{x} became {y}");
        }
        for (sum, codes) in block.sums.iter().zip(block.qs.chunks(16)) {
            prop_assert_eq!(i32::from(*sum), codes.iter().map(|q| i32::from(*q)).sum::<i32>());
        }
    }
}

#[test]
fn normally_distributed_values_lose_no_more_than_they_did() {
    // Root mean square error over root mean square. A rise means that an encoder got worse.
    let expected = [
        (Format::Q8_0, 0.0054),
        (Format::Q2K, 0.270),
        (Format::Q4K, 0.072),
        (Format::Iq2Xxs, 0.348),
        (Format::Mxfp4, 0.112),
    ];
    let mut state = 1u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f64 / (1u64 << 24) as f64
    };
    // Sums of twelve uniform values are close enough to normal.
    let values: Vec<f32> = (0..1 << 16)
        .map(|_| ((0..12).map(|_| uniform()).sum::<f64>() - 6.0) as f32)
        .collect();
    let square = |x: f32| f64::from(x) * f64::from(x);
    let total: f64 = values.iter().map(|x| square(*x)).sum();
    for (format, limit) in expected {
        let back = there_and_back(format, &values);
        let off: f64 = values.iter().zip(&back).map(|(x, y)| square(x - y)).sum();
        let error = (off / total).sqrt();
        assert!(
            error < limit && error > 0.9 * limit,
            "{format}: {error}, expected {limit}"
        );
    }
}

#[test]
fn zeros_stay_zero() {
    for format in weights() {
        let back = there_and_back(format, &[0.0; 256]);
        assert!(back.iter().all(|x| *x == 0.0), "{format}");
        let back = there_and_back(format, &[-0.0; 256]);
        assert!(back.iter().all(|x| *x == 0.0), "{format}, negative zeros");
    }
    assert_eq!(
        Q8K::quantise(&[0.0; 256]),
        Q8K {
            d: 0.0,
            qs: [0; 256],
            sums: [0; 16]
        }
    );
}

#[test]
fn values_below_every_scale_become_zero_or_stay_small() {
    for value in [1e-12, -1e-20, f32::MIN_POSITIVE, f32::from_bits(1)] {
        for format in scaled() {
            for back in there_and_back(format, &[value; 256]) {
                assert!(
                    back.abs() <= value.abs() * 1.5,
                    "{format}: {value} became {back}"
                );
            }
        }
    }
}

#[test]
fn values_above_every_scale_saturate() {
    for format in scaled() {
        for sign in [1.0, -1.0] {
            let back = there_and_back(format, &[sign * f32::MAX; 256]);
            let infinite = there_and_back(format, &[sign * f32::INFINITY; 256]);
            assert_eq!(back, infinite, "{format}");
            // The smallest of the greatest values is that of Q2_K's minima, 65504 · 15.
            assert!(
                back.iter().all(|x| x * sign >= 65504.0 * 14.9),
                "{format}: {:?}",
                &back[..8]
            );
        }
    }
}

#[test]
fn a_nan_counts_as_zero() {
    for format in scaled() {
        let mut values: Vec<f32> = (0..256).map(|i| (i as f32 * 0.7).sin()).collect();
        values[17] = 0.0;
        let with_zero = encoded(format, &values);
        values[17] = f32::NAN;
        assert_eq!(encoded(format, &values), with_zero, "{format}");
    }
}

#[test]
fn q8_k_shows_what_is_not_finite() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = [1.0; 256];
        values[200] = value;
        assert!(Q8K::quantise(&values).d.is_nan(), "{value}");
    }
}

#[test]
fn wrong_lengths_and_formats_are_refused_by_name() {
    let mut out = [0.0; 256];
    let error = decode(Format::Q2K, &[0; 85], &mut out).unwrap_err();
    assert_eq!(
        error,
        BlockError::PartialBlock {
            format: Format::Q2K,
            bytes: 85
        }
    );
    assert_eq!(
        error.to_string(),
        "85 bytes are not whole Q2_K blocks of 84 bytes"
    );

    let error = decode(Format::Q2K, &[0; 168], &mut out).unwrap_err();
    assert_eq!(
        error.to_string(),
        "168 bytes of Q2_K hold 512 values, but the output has room for 256"
    );

    let mut bytes = vec![7];
    let error = encode(Format::Mxfp4, &out[..33], &mut bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "33 values are not whole MXFP4 blocks of 32 values"
    );
    assert_eq!(bytes, [7], "nothing is appended on error");

    for format in Format::all().filter(|format| !format.is_weight()) {
        let wanted = BlockError::NotWeights(format);
        assert_eq!(decode(format, &[], &mut []).unwrap_err(), wanted);
        assert_eq!(encode(format, &[], &mut bytes).unwrap_err(), wanted);
    }
    for format in weights() {
        decode(format, &[], &mut []).expect("no blocks are whole blocks");
    }
}
