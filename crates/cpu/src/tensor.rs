//! A weight as the CPU reads it: in place, from the mapped file.

use std::sync::{Arc, OnceLock};

use ds4_gguf::{Format, Payload, block};

/// A stack of `slabs` matrices of `rows` rows of `cols` values; vectors are one row.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub(crate) format: Format,
    pub(crate) cols: usize,
    pub(crate) rows: usize,
    row_bytes: usize,
    payload: Payload,
    floats: Arc<OnceLock<Vec<f32>>>,
}

impl Tensor {
    /// Slabs of `rows` rows of `cols` values each, stored one after the other in `payload`.
    ///
    /// # Panics
    /// If a row is not whole blocks or the payload not whole slabs.
    pub fn new(format: Format, cols: usize, rows: usize, payload: Payload) -> Self {
        let row_bytes = format.bytes_of(cols as u64).expect("a row is whole blocks") as usize;
        assert!(
            payload.len().is_multiple_of(row_bytes * rows),
            "a payload is whole slabs"
        );
        Self {
            format,
            cols,
            rows,
            row_bytes,
            payload,
            floats: Arc::default(),
        }
    }

    /// A bound tensor, read where it lies.
    pub fn bound(tensor: &ds4_model::Tensor) -> Self {
        Self::new(
            tensor.format,
            tensor.columns,
            tensor.rows,
            tensor.payload().clone(),
        )
    }

    /// The bytes of row `row`, counted over all slabs.
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        &self.payload[row * self.row_bytes..][..self.row_bytes]
    }

    /// Writes the values of row `row`.
    pub(crate) fn decode_row(&self, row: usize, out: &mut [f32]) {
        block::decode(self.format, self.row(row), &mut out[..self.cols])
            .expect("binding checked format and size");
    }

    /// All values, decoded at first use: norms, biases, position tables.
    pub(crate) fn floats(&self) -> &[f32] {
        self.floats.get_or_init(|| {
            let count = self.payload.len() / self.row_bytes * self.cols;
            let mut out = vec![0.0; count];
            block::decode(self.format, &self.payload, &mut out)
                .expect("binding checked format and size");
            out
        })
    }

    /// Row `row` of a table of integers.
    pub(crate) fn ids(&self, row: usize) -> impl Iterator<Item = u32> {
        self.row(row)
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| u32::from_le_bytes(*bytes))
    }
}
