//! Rows of floats, and picks: what flows between operations.

use ds4_model::RowSet;

/// Rows of `width` floats, one for each row of the plan or for each that wants logits.
#[derive(Clone, Debug)]
pub struct Buffer {
    pub(crate) rows: RowSet,
    pub(crate) width: usize,
    pub(crate) data: Vec<f32>,
}

impl Buffer {
    pub(crate) fn new(rows: RowSet, width: usize, capacity: usize) -> Self {
        Self {
            rows,
            width,
            data: vec![0.0; width * capacity],
        }
    }

    /// The values of row `row`.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.width..][..self.width]
    }

    /// Sets the first rows; tests begin in the middle of the model with it.
    pub fn fill(&mut self, rows: &[f32]) {
        self.data[..rows.len()].copy_from_slice(rows);
    }
}

/// Up to `width` (id, weight) pairs a row.
#[derive(Clone, Debug)]
pub struct Picks {
    pub(crate) width: usize,
    pub(crate) counts: Vec<u32>,
    pub(crate) ids: Vec<u32>,
    pub(crate) weights: Vec<f32>,
}

impl Picks {
    pub(crate) fn new(width: usize, capacity: usize) -> Self {
        Self {
            width,
            counts: vec![0; capacity],
            ids: vec![0; width * capacity],
            weights: vec![0.0; width * capacity],
        }
    }

    /// Sets the picks of a row; tests force a choice with it.
    pub fn set(&mut self, row: usize, ids: &[u32], weights: &[f32]) {
        self.counts[row] = ids.len() as u32;
        self.ids[row * self.width..][..ids.len()].copy_from_slice(ids);
        self.weights[row * self.width..][..weights.len()].copy_from_slice(weights);
    }

    /// The ids picked for row `row`.
    pub fn ids(&self, row: usize) -> &[u32] {
        &self.ids[row * self.width..][..self.counts[row] as usize]
    }

    /// Their weights; meaningless for selected rows.
    pub fn weights(&self, row: usize) -> &[f32] {
        &self.weights[row * self.width..][..self.counts[row] as usize]
    }
}
