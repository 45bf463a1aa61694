//! A session without a prefill: random rows where a long prompt would have left its own.
//!
//! How long a token takes at a million tokens of context does not depend on what was said before
//! it, and a prefill of a million tokens takes hours on some machines. So measurements may begin
//! with rows that no text has made. They are valid: each was stored by the codec that stores real
//! ones, with values as a norm leaves them. What the model writes after them means nothing.

use ds4_model::{KvGeometry, Rounding, RowCodec, kv::SUM_FLOATS};

use crate::sampling::Draws;

/// Different rows of a kind. Many more are wanted, and encoding is slow beside copying; an indexer
/// still has thousands of different scores to choose from.
const ROWS: usize = 4096;

/// Makes pages and frontiers of one model.
pub(crate) struct Filler {
    geometry: KvGeometry,
    draws: Draws,
    latents: Vec<u8>,
    indexes: Vec<u8>,
}

impl Filler {
    /// Everything it makes follows from `seed`.
    pub(crate) fn new(geometry: &KvGeometry, seed: u64) -> Self {
        let codec = RowCodec::new(geometry, Rounding::Model);
        let mut draws = Draws::new(seed);
        let mut latents = vec![0; ROWS * geometry.latent_bytes];
        let mut values = vec![0.0; geometry.head_width];
        for row in latents.chunks_exact_mut(geometry.latent_bytes) {
            values.fill_with(|| normal(&mut draws));
            codec.write_latent(&values, row);
        }
        let mut indexes = vec![0; ROWS * geometry.index_bytes];
        let mut values = vec![0.0; geometry.index_width];
        for row in indexes.chunks_exact_mut(geometry.index_bytes) {
            values.fill_with(|| normal(&mut draws));
            codec.write_index(&mut values, row);
        }
        Self {
            geometry: geometry.clone(),
            draws,
            latents,
            indexes,
        }
    }

    /// Bytes of a page.
    pub(crate) fn page_bytes(&self) -> usize {
        self.geometry.page_bytes
    }

    /// Fills a page.
    pub(crate) fn page(&mut self, page: &mut [u8]) {
        let ends = self.geometry.layers[1..].iter().map(|layer| layer.latent);
        let ends = ends.chain([self.geometry.page_bytes]);
        for (layer, end) in self.geometry.layers.iter().zip(ends) {
            let (latents, indexes) =
                page[layer.latent..end].split_at_mut(layer.index - layer.latent);
            copy_rows(
                &mut self.draws,
                &self.latents,
                self.geometry.latent_bytes,
                latents,
            );
            copy_rows(
                &mut self.draws,
                &self.indexes,
                self.geometry.index_bytes,
                indexes,
            );
        }
    }

    /// The rest of what a session of `tokens` tokens remembers: as [`ds4_model::Backend`] saves it.
    pub(crate) fn frontier(&mut self, tokens: u32) -> Vec<u8> {
        let geometry = &self.geometry;
        let mut out = vec![0; geometry.frontier_bytes(tokens as usize)];
        // The draft block's window is empty.
        let sums = out.len() - 4 * geometry.pool_floats;
        copy_rows(
            &mut self.draws,
            &self.latents,
            geometry.latent_bytes,
            &mut out[8..sums],
        );
        let layers = &geometry.layers;
        let ends = layers[1..].iter().map(|layer| layer.pool);
        let ends = ends.chain([geometry.pool_floats]);
        let (pools, _) = out[sums..].as_chunks_mut::<4>();
        for (layer, end) in layers.iter().zip(ends) {
            let (own, index) = pools[layer.pool..end].split_at_mut(layer.index_pool - layer.pool);
            open_windows(&mut self.draws, geometry.head_width, own);
            open_windows(&mut self.draws, geometry.index_width, index);
        }
        out
    }
}

/// Any of the rows `from`, as often as `to` has room for.
fn copy_rows(draws: &mut Draws, from: &[u8], bytes: usize, to: &mut [u8]) {
    for row in to.chunks_exact_mut(bytes) {
        let at = (draws.bits() % ROWS as u64) as usize * bytes;
        row.copy_from_slice(&from[at..at + bytes]);
    }
}

/// Running sums of compressors of `width` channels that have seen one token: its score, one, its
/// value.
fn open_windows(draws: &mut Draws, width: usize, pool: &mut [[u8; 4]]) {
    for lane in pool.chunks_exact_mut(SUM_FLOATS * width) {
        let (scores, rest) = lane.split_at_mut(width);
        let (counts, values) = rest.split_at_mut(width);
        scores.fill_with(|| normal(draws).to_le_bytes());
        counts.fill(1f32.to_le_bytes());
        values.fill_with(|| normal(draws).to_le_bytes());
    }
}

/// Nearly normal, mean 0, standard deviation 1: four uniform numbers of 16 bits added.
fn normal(draws: &mut Draws) -> f32 {
    let bits = draws.bits();
    let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xffff).sum();
    (sum as f32 / 65536.0 - 2.0) * 3f32.sqrt()
}
