//! Rows of small floats under shared power-of-two scales: how KV rows and index rows are rounded
//! and stored.
//!
//! A latent row keeps its 448 non-rotary channels as E4M3 in blocks of 64, an index row its 128
//! channels as E2M1 in blocks of 32; each block has one E8M0 scale. The model was trained with this
//! rounding, so storing the codes loses nothing: decoding gives exactly what [`round_e4m3`] and
//! [`round_e2m1`] leave in place.
//!
//! The scale is the smallest power of two with which no value exceeds the format, except that it
//! never goes below what a floor on the largest magnitude gives. A block with a NaN gets the NaN
//! scale, so all of it decodes as NaN: a broken row shows itself. Infinities saturate like every
//! value that is too large.

use super::{E2M1, E4M3, E8M0};

/// Values of a latent row under one scale.
pub const E4M3_BLOCK: usize = 64;
/// Values of an index row under one scale.
pub const E2M1_BLOCK: usize = 32;

/// Magnitudes below this do not shrink an E4M3 scale further.
const E4M3_FLOOR: f32 = 1e-4;
/// Magnitudes below this do not shrink an E2M1 scale further: it makes the scale 2^-126.
const E2M1_FLOOR: f32 = 6.0 * f32::MIN_POSITIVE;

/// The largest magnitude, or NaN if there is one.
#[inline]
fn largest_magnitude(values: &[f32]) -> f32 {
    // Compared as integers: magnitudes order alike, and NaN lies above infinity instead of being
    // skipped.
    let bits = values
        .iter()
        .map(|v| (v.to_bits() & 0x7fff_ffff) as i32)
        .fold(0, i32::max);
    f32::from_bits(bits as u32)
}

/// The scale for values of at most `largest`, in a format whose greatest value is `greatest`.
#[inline]
fn scale_for(largest: f32, floor: f32, greatest: f32) -> E8M0 {
    // Not f32::max, which would drop a NaN.
    let largest = if largest < floor { floor } else { largest };
    E8M0::ceil(largest * (1.0 / greatest))
}

/// Encodes a block of any length as E4M3: one code a byte.
///
/// # Panics
/// If `codes` and `values` differ in length.
pub fn encode_e4m3(values: &[f32], codes: &mut [u8]) -> E8M0 {
    assert_eq!(values.len(), codes.len(), "one byte a value");
    let scale = scale_for(largest_magnitude(values), E4M3_FLOOR, E4M3::MAX);
    let divisor = scale.to_f32();
    for (code, value) in codes.iter_mut().zip(values) {
        *code = E4M3::from_f32(value / divisor).0;
    }
    scale
}

/// The values of a block of E4M3 codes.
///
/// # Panics
/// If `codes` and `values` differ in length.
pub fn decode_e4m3(scale: E8M0, codes: &[u8], values: &mut [f32]) {
    assert_eq!(values.len(), codes.len(), "one byte a value");
    let scale = scale.to_f32();
    for (value, code) in values.iter_mut().zip(codes) {
        *value = E4M3(*code).to_f32() * scale;
    }
}

/// Rounds a row through E4M3 in blocks of [`E4M3_BLOCK`], in place: `round_kv` of the model.
///
/// # Panics
/// If the row is not whole blocks.
pub fn round_e4m3(row: &mut [f32]) {
    let (blocks, rest) = row.as_chunks_mut::<E4M3_BLOCK>();
    assert!(
        rest.is_empty(),
        "a latent row is whole blocks of {E4M3_BLOCK}"
    );
    for block in blocks {
        let mut codes = [0; E4M3_BLOCK];
        let scale = encode_e4m3(block, &mut codes);
        decode_e4m3(scale, &codes, block);
    }
}

/// Encodes a block of any even length as E2M1: value 2j in the low nibble of byte j, value 2j + 1
/// in the high one.
///
/// # Panics
/// If `codes` is not half as long as `values`.
pub fn encode_e2m1(values: &[f32], codes: &mut [u8]) -> E8M0 {
    assert_eq!(values.len(), 2 * codes.len(), "two values a byte");
    let scale = scale_for(largest_magnitude(values), E2M1_FLOOR, E2M1::MAX);
    let divisor = scale.to_f32();
    for (code, [low, high]) in codes.iter_mut().zip(values.as_chunks().0) {
        let nibble = |value: &f32| E2M1::from_f32(value / divisor).to_bits();
        *code = nibble(low) | nibble(high) << 4;
    }
    scale
}

/// The values of a block of E2M1 codes.
///
/// # Panics
/// If `codes` is not half as long as `values`.
pub fn decode_e2m1(scale: E8M0, codes: &[u8], values: &mut [f32]) {
    assert_eq!(values.len(), 2 * codes.len(), "two values a byte");
    let scale = scale.to_f32();
    for ([low, high], code) in values.as_chunks_mut().0.iter_mut().zip(codes) {
        *low = E2M1::from_bits(*code).to_f32() * scale;
        *high = E2M1::from_bits(*code >> 4).to_f32() * scale;
    }
}

/// Rounds a row through E2M1 in blocks of [`E2M1_BLOCK`], in place: `round_ix` of the model, after
/// its Hadamard transform.
///
/// # Panics
/// If the row is not whole blocks.
pub fn round_e2m1(row: &mut [f32]) {
    let (blocks, rest) = row.as_chunks_mut::<E2M1_BLOCK>();
    assert!(
        rest.is_empty(),
        "an index row is whole blocks of {E2M1_BLOCK}"
    );
    for block in blocks {
        let mut codes = [0; E2M1_BLOCK / 2];
        let scale = encode_e2m1(block, &mut codes);
        decode_e2m1(scale, &codes, block);
    }
}
