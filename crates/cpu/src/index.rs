//! Indexer queries as integers: they are E2M1 values, twice which is a small integer.

use ds4_gguf::scalar::{E2M1, shared};

use crate::dot::Q8;

/// The blocks of a query after its rounding, exactly, in the order of columns that panels of index
/// rows have: of eight columns those with even numbers first.
pub(crate) fn codes(q: &[f32], out: &mut Vec<Q8>) {
    out.clear();
    out.extend(
        q.as_chunks::<{ shared::E2M1_BLOCK }>()
            .0
            .iter()
            .map(|block| {
                let mut nibbles = [0; shared::E2M1_BLOCK / 2];
                let scale = shared::encode_e2m1(block, &mut nibbles);
                let twice = |nibble: u8| (2.0 * E2M1::from_bits(nibble).to_f32()) as i8;
                let mut qs = [0; 32];
                for (qs, nibbles) in qs
                    .as_chunks_mut::<8>()
                    .0
                    .iter_mut()
                    .zip(nibbles.as_chunks::<4>().0)
                {
                    let (even, odd) = qs.split_at_mut(4);
                    for ((even, odd), nibble) in even.iter_mut().zip(odd).zip(nibbles) {
                        (*even, *odd) = (twice(*nibble), twice(nibble >> 4));
                    }
                }
                Q8 {
                    d: 0.5 * scale.to_f32(),
                    excess: -128 * qs.iter().map(|q| i32::from(*q)).sum::<i32>(),
                    qs,
                }
            }),
    );
}
