//! Rows as bytes: what a latent row and an index row look like in memory, on every device and on disk.
//!
//! | packed latent row, 584 B | | packed index row, 68 B | |
//! |---|---|---|---|
//! | 0 | 448 E4M3 codes, blocks of 64 | 0 | 64 bytes, two E2M1 codes each, low nibble first, blocks of 32 |
//! | 448 | 7 E8M0 scales | 64 | 4 E8M0 scales |
//! | 455 | a zero | | |
//! | 456 | 64 BF16 rotary channels | | |
//!
//! The trained roundings *are* the storage format, so packing loses nothing but what the model was trained to lose; the
//! rotary channels take one BF16 rounding, as the released code gives them.

use ds4_gguf::scalar::{E8M0, shared};

use crate::hadamard::hadamard;
use crate::kv::{KvGeometry, Rounding, RowFormat, latent_scales_end};

/// Packs and unpacks the rows of one model.
#[derive(Clone, Copy, Debug)]
pub struct RowCodec {
    format: RowFormat,
    rounding: Rounding,
    plain: usize,
    rotary_at: usize,
    index_width: usize,
}

impl RowCodec {
    /// The codec of `geometry`. Packed rows always round: that is their format.
    ///
    /// # Panics
    /// If roundings are to be left out of packed rows.
    pub fn new(geometry: &KvGeometry, rounding: Rounding) -> Self {
        assert!(
            rounding == Rounding::Model || geometry.format == RowFormat::F32,
            "packed rows are rounded by their format"
        );
        let plain = geometry.head_width - geometry.rotary;
        Self {
            format: geometry.format,
            rounding,
            plain,
            rotary_at: latent_scales_end(plain),
            index_width: geometry.index_width,
        }
    }

    /// Stores a latent row (after norm and rope).
    pub fn write_latent(&self, values: &[f32], row: &mut [u8]) {
        let (plain, rotary) = values.split_at(self.plain);
        match self.format {
            RowFormat::Packed => {
                let (codes, rest) = row.split_at_mut(self.plain);
                let (scales, out) = rest.split_at_mut(self.rotary_at - self.plain);
                scales.fill(0);
                let blocks = plain.chunks(shared::E4M3_BLOCK);
                let codes = codes.chunks_mut(shared::E4M3_BLOCK);
                for ((block, codes), scale) in blocks.zip(codes).zip(scales) {
                    *scale = shared::encode_e4m3(block, codes).0;
                }
                for (value, out) in rotary.iter().zip(out.as_chunks_mut::<2>().0) {
                    *out = bf16(*value).to_le_bytes();
                }
            }
            RowFormat::F32 => {
                let (out, rest) = row.split_at_mut(4 * self.plain);
                store(rotary, rest);
                store(plain, out);
                if self.rounding == Rounding::Model {
                    let mut rounded = plain.to_vec();
                    shared::round_e4m3(&mut rounded);
                    store(&rounded, out);
                }
            }
        }
    }

    /// Reads a latent row.
    pub fn read_latent(&self, row: &[u8], values: &mut [f32]) {
        match self.format {
            RowFormat::Packed => {
                let (plain, rotary) = values.split_at_mut(self.plain);
                let scales = &row[self.plain..self.rotary_at];
                let blocks = plain.chunks_mut(shared::E4M3_BLOCK);
                let codes = row[..self.plain].chunks(shared::E4M3_BLOCK);
                for ((block, codes), scale) in blocks.zip(codes).zip(scales) {
                    shared::decode_e4m3(E8M0(*scale), codes, block);
                }
                let stored = row[self.rotary_at..].as_chunks::<2>().0;
                for (value, bits) in rotary.iter_mut().zip(stored) {
                    *value = f32::from_bits(u32::from(u16::from_le_bytes(*bits)) << 16);
                }
            }
            RowFormat::F32 => load(row, values),
        }
    }

    /// Brings an indexer query or key (after rope) into the space where scores are taken.
    pub fn round_index(&self, values: &mut [f32]) {
        if self.rounding == Rounding::Model {
            hadamard(values);
            shared::round_e2m1(values);
        }
    }

    /// Stores an index row (after rope).
    pub fn write_index(&self, values: &mut [f32], row: &mut [u8]) {
        match self.format {
            RowFormat::Packed => {
                hadamard(values);
                let (codes, scales) = row.split_at_mut(self.index_width / 2);
                let blocks = values.chunks(shared::E2M1_BLOCK);
                let codes = codes.chunks_mut(shared::E2M1_BLOCK / 2);
                for ((block, codes), scale) in blocks.zip(codes).zip(scales) {
                    *scale = shared::encode_e2m1(block, codes).0;
                }
            }
            RowFormat::F32 => {
                self.round_index(values);
                store(values, row);
            }
        }
    }

    /// Reads an index row.
    pub fn read_index(&self, row: &[u8], values: &mut [f32]) {
        match self.format {
            RowFormat::Packed => {
                let (codes, scales) = row.split_at(self.index_width / 2);
                let blocks = values.chunks_mut(shared::E2M1_BLOCK);
                let codes = codes.chunks(shared::E2M1_BLOCK / 2);
                for ((block, codes), scale) in blocks.zip(codes).zip(scales) {
                    shared::decode_e2m1(E8M0(*scale), codes, block);
                }
            }
            RowFormat::F32 => load(row, values),
        }
    }
}

/// Nearest BF16, ties to even; rows hold no NaN worth keeping apart from infinity.
fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

fn store(values: &[f32], row: &mut [u8]) {
    for (value, out) in values.iter().zip(row.as_chunks_mut::<4>().0) {
        *out = value.to_le_bytes();
    }
}

fn load(row: &[u8], values: &mut [f32]) {
    for (value, bits) in values.iter_mut().zip(row.as_chunks::<4>().0) {
        *value = f32::from_le_bytes(*bits);
    }
}

#[cfg(test)]
mod tests {
    use super::{RowCodec, bf16};
    use crate::kv::{KvGeometry, Rounding, RowFormat};
    use crate::synthetic::mini;

    fn codecs() -> [(KvGeometry, RowCodec); 2] {
        [RowFormat::Packed, RowFormat::F32].map(|format| {
            let geometry = KvGeometry::new(&mini(), format, false);
            let codec = RowCodec::new(&geometry, Rounding::Model);
            (geometry, codec)
        })
    }

    fn noise(seed: u32, len: usize) -> Vec<f32> {
        let next = |state: &mut u32| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some((*state >> 8) as f32 / (1 << 20) as f32 - 8.0)
        };
        let mut state = seed;
        std::iter::from_fn(|| next(&mut state)).take(len).collect()
    }

    #[test]
    fn packed_rows_hold_exactly_what_the_roundings_leave() {
        for seed in 0..200 {
            let [(packed, pack), (plain, keep)] = codecs();
            let values = noise(seed, 512);
            let (mut row, mut full) =
                (vec![0xaa; packed.latent_bytes], vec![0; plain.latent_bytes]);
            pack.write_latent(&values, &mut row);
            keep.write_latent(&values, &mut full);
            let (mut from_packed, mut expected) = (vec![0.0; 512], vec![0.0; 512]);
            pack.read_latent(&row, &mut from_packed);
            keep.read_latent(&full, &mut expected);
            for rotary in &mut expected[448..] {
                *rotary = f32::from_bits(u32::from(bf16(*rotary)) << 16);
            }
            assert_eq!(from_packed, expected);
            assert_eq!(
                row[455], 0,
                "padding is always zero, or pages would not hash alike"
            );
        }
    }

    #[test]
    fn packed_index_rows_hold_exactly_what_the_roundings_leave() {
        for seed in 0..200 {
            let [(packed, pack), (plain, keep)] = codecs();
            let mut values = noise(seed, 128);
            let (mut row, mut full) = (vec![0; packed.index_bytes], vec![0; plain.index_bytes]);
            pack.write_index(&mut values.clone(), &mut row);
            keep.write_index(&mut values, &mut full);
            let (mut from_packed, mut expected) = ([0.0; 128], [0.0; 128]);
            pack.read_index(&row, &mut from_packed);
            keep.read_index(&full, &mut expected);
            assert_eq!(from_packed, expected);
        }
    }

    #[test]
    fn a_flash_session_is_as_small_as_its_rows() {
        let [(packed, _), _] = codecs();
        assert_eq!((packed.latent_bytes, packed.index_bytes), (584, 68));
    }
}
