//! A tensor found, checked and typed: what a backend uploads or reads in place.

use ds4_gguf::{Format, Payload, block};

/// A tensor of a mapped file (or of memory), seen as slabs of rows.
///
/// A vector is one row. A matrix `[out, in]` has `out` rows of `in` columns. Stacked experts are as
/// many slabs, each a matrix of its own. A row never shares a block with another, so rows and slabs
/// are byte ranges.
#[derive(Clone)]
pub struct Tensor {
    /// Its name in the file.
    pub name: String,
    /// How its values are stored.
    pub format: Format,
    /// Values in a row.
    pub columns: usize,
    /// Rows in a slab.
    pub rows: usize,
    /// Matrices stacked in this tensor.
    pub slabs: usize,
    payload: Payload,
}

impl Tensor {
    /// A tensor over `payload`, which holds exactly its blocks; `dims` are in GGUF order.
    ///
    /// # Panics
    /// If the payload's length is not that of the dimensions.
    pub fn new(name: &str, format: Format, dims: &[u64], payload: Payload) -> Self {
        let dim = |axis: usize| dims.get(axis).map_or(1, |&dim| dim as usize);
        let tensor = Self {
            name: name.to_owned(),
            format,
            columns: dim(0),
            rows: dim(1),
            slabs: dim(2),
            payload,
        };
        let bytes = tensor.row_bytes() * tensor.rows * tensor.slabs;
        assert_eq!(tensor.payload.len(), bytes, "payload of {name}");
        tensor
    }

    /// The bytes of the whole tensor.
    pub fn bytes(&self) -> &[u8] {
        &self.payload
    }

    /// The payload, to keep the bytes alive without copying them.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.columns / self.format.block_values() * self.format.block_bytes()
    }

    /// The bytes of slab `slab`: one expert's matrix.
    pub fn slab(&self, slab: usize) -> &[u8] {
        let bytes = self.row_bytes() * self.rows;
        &self.payload[slab * bytes..][..bytes]
    }

    /// The bytes of row `row` of slab `slab`.
    pub fn row(&self, slab: usize, row: usize) -> &[u8] {
        assert!(
            row < self.rows,
            "row {row} of {}, which has {}",
            self.name,
            self.rows
        );
        &self.slab(slab)[row * self.row_bytes()..][..self.row_bytes()]
    }

    /// Decodes row `row` of slab `slab` into `out`, one value a column.
    ///
    /// # Panics
    /// If `out` has another length, or the tensor is a table of integers.
    pub fn decode_row(&self, slab: usize, row: usize, out: &mut [f32]) {
        block::decode(self.format, self.row(slab, row), out).expect("a row of a weight format");
    }

    /// Every value, slab by slab and row by row. For small tensors: a row at a time is kinder to
    /// memory.
    ///
    /// # Panics
    /// If the tensor is a table of integers.
    pub fn decode(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.columns * self.rows * self.slabs];
        block::decode(self.format, &self.payload, &mut out).expect("rows of a weight format");
        out
    }

    /// The integers of an I32 table.
    ///
    /// # Panics
    /// If the tensor holds anything else.
    pub fn integers(&self) -> impl ExactSizeIterator<Item = i32> + '_ {
        assert_eq!(self.format, Format::I32, "integers of {}", self.name);
        let (words, _) = self.payload.as_chunks::<4>();
        words.iter().map(|&word| i32::from_le_bytes(word))
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            format,
            columns,
            rows,
            slabs,
            ..
        } = self;
        write!(f, "{name}: {slabs} x {rows} x {columns} {format}")
    }
}
