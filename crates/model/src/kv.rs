//! What a session remembers, byte by byte: rows, pages, rings, pools.
//!
//! Per token of context the model keeps a latent row in every layer's window, one compressed row per 4 or 128 tokens,
//! and an index row per 4 tokens. It was trained with those rows rounded, so a row is stored in the very bits it was
//! trained with and nothing is lost.
//!
//! | part | what | lives |
//! |---|---|---|
//! | page | compressed and index rows of [`PAGE_TOKENS`] tokens, over all layers | shared between sessions once full |
//! | ring | the last latent rows of every layer | one a slot |
//! | pool | the compressors' open windows as running sums | one a slot |
//!
//! A page of layers, in order: a ratio-4 layer has its latent rows, then its index rows; a ratio-128 layer its latent
//! rows; a window layer nothing.

use std::ops::Range;

use crate::shape::{Ratio, Shape};

/// Tokens of a page; a multiple of every compression ratio.
pub const PAGE_TOKENS: usize = 512;

/// Rows a ring holds beyond the window, so that drafts may be taken back.
pub const RING_SLACK: usize = 16;

/// How a row is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// The trained bits: E4M3 and BF16 for latent rows, E2M1 for index rows.
    Packed,
    /// Plain f32, for tests against the oracle, whose exact mode rounds nothing.
    F32,
}

/// Whether the model's own roundings are applied to rows. They are part of the trained model; without them the engine
/// computes what the exact goldens hold. Switched off by tests only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// As trained.
    Model,
    /// None, which needs [`RowFormat::F32`].
    None,
}

/// Where the rows of one layer lie in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerPage {
    /// The layer's ratio.
    pub ratio: Ratio,
    /// Rows of this layer in a full page, latent and index alike.
    pub rows: usize,
    /// Byte offset of the first latent row.
    pub latent: usize,
    /// Byte offset of the first index row (ratio 4).
    pub index: usize,
    /// Float offset of the layer's compressor sums in a slot's pool.
    pub pool: usize,
    /// Float offset of the indexer's compressor sums.
    pub index_pool: usize,
}

/// Sizes and places of everything a session remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvGeometry {
    /// How rows are stored.
    pub format: RowFormat,
    /// Head width D.
    pub head_width: usize,
    /// Rotary channels R.
    pub rotary: usize,
    /// Indexer width DI.
    pub index_width: usize,
    /// Sliding window W.
    pub window: usize,
    /// Rows of a ring: the window and some slack.
    pub ring_rows: usize,
    /// Bytes of a latent row.
    pub latent_bytes: usize,
    /// Bytes of an index row.
    pub index_bytes: usize,
    /// Places by layer; the draft block, when there is one, is the last.
    pub layers: Vec<LayerPage>,
    /// Bytes of a page.
    pub page_bytes: usize,
    /// Floats of a slot's pool.
    pub pool_floats: usize,
}

/// Floats of one running softmax sum: largest score, sum of exponentials, weighted sum.
pub const SUM_FLOATS: usize = 3;

/// Lanes of running sums a compressor of this ratio carries: half A of the last complete window, open A, open B for
/// ratio 4; the open window for ratio 128.
pub fn pool_lanes(ratio: Ratio) -> usize {
    match ratio {
        Ratio::None => 0,
        Ratio::Four => 3,
        Ratio::OneTwentyEight => 1,
    }
}

impl KvGeometry {
    /// The geometry of `shape`, with one more layer when a draft block is loaded.
    pub fn new(shape: &Shape, format: RowFormat, draft: bool) -> Self {
        let latent_bytes = latent_row_bytes(format, shape.head_width, shape.rotary);
        let index_bytes = index_row_bytes(format, shape.index_width);
        let mut layers = Vec::with_capacity(shape.layers() + usize::from(draft));
        let (mut page_bytes, mut pool_floats) = (0, 0);
        for ratio in shape
            .ratios
            .iter()
            .copied()
            .chain(draft.then_some(Ratio::None))
        {
            let rows = ratio.rows(PAGE_TOKENS);
            let latent = page_bytes;
            let index = latent + rows * latent_bytes;
            page_bytes = index
                + if ratio == Ratio::Four {
                    rows * index_bytes
                } else {
                    0
                };
            let lane = pool_lanes(ratio) * SUM_FLOATS;
            let pool = pool_floats;
            let index_pool = pool + lane * shape.head_width;
            pool_floats = index_pool
                + if ratio == Ratio::Four {
                    lane * shape.index_width
                } else {
                    0
                };
            layers.push(LayerPage {
                ratio,
                rows,
                latent,
                index,
                pool,
                index_pool,
            });
        }
        Self {
            format,
            head_width: shape.head_width,
            rotary: shape.rotary,
            index_width: shape.index_width,
            window: shape.window,
            ring_rows: shape.window + RING_SLACK,
            latent_bytes,
            index_bytes,
            layers,
            page_bytes,
            pool_floats,
        }
    }

    /// Bytes of all rings of one slot.
    pub fn ring_bytes(&self) -> usize {
        self.layers.len() * self.ring_rows * self.latent_bytes
    }

    /// Bytes of a saved frontier of `tokens` tokens: the draft window's two positions, the window rows of every layer
    /// that the next token sees, and the running sums.
    pub fn frontier_bytes(&self, tokens: usize) -> usize {
        let rows = tokens.min(self.window - 1);
        8 + self.layers.len() * rows * self.latent_bytes + 4 * self.pool_floats
    }

    /// Positions whose window rows the token after `tokens` tokens sees, besides its own.
    pub fn window_before(&self, tokens: u32) -> Range<u32> {
        tokens.saturating_sub(self.window as u32 - 1)..tokens
    }

    /// Pages that `tokens` tokens touch.
    pub fn pages(&self, tokens: usize) -> usize {
        tokens.div_ceil(PAGE_TOKENS)
    }

    /// Bytes of a session of `tokens` tokens: rings, pool and the pages it touches.
    pub fn session_bytes(&self, tokens: usize) -> usize {
        self.ring_bytes() + self.pool_floats * 4 + self.pages(tokens) * self.page_bytes
    }
}

/// Bytes of a latent row: E4M3 channels, one E8M0 scale per 64 of them, padding to 8, BF16 rotary channels.
pub fn latent_row_bytes(format: RowFormat, head_width: usize, rotary: usize) -> usize {
    match format {
        RowFormat::F32 => 4 * head_width,
        RowFormat::Packed => latent_scales_end(head_width - rotary) + 2 * rotary,
    }
}

/// Bytes before the rotary channels of a packed latent row.
pub(crate) fn latent_scales_end(plain: usize) -> usize {
    (plain + plain.div_ceil(64)).next_multiple_of(8)
}

/// Bytes of an index row: two E2M1 codes a byte and one E8M0 scale per 32.
pub fn index_row_bytes(format: RowFormat, index_width: usize) -> usize {
    match format {
        RowFormat::F32 => 4 * index_width,
        RowFormat::Packed => index_width / 2 + index_width / 32,
    }
}

const _: () = {
    use crate::shape::family::{HEAD_WIDTH, INDEX_WIDTH, ROTARY};
    let plain = HEAD_WIDTH - ROTARY;
    assert!((plain + plain / 64).next_multiple_of(8) + 2 * ROTARY == 584);
    assert!(INDEX_WIDTH / 2 + INDEX_WIDTH / 32 == 68);
    assert!(PAGE_TOKENS.is_multiple_of(128) && PAGE_TOKENS.is_multiple_of(4));
};

#[cfg(test)]
mod tests {
    use super::{KvGeometry, RowFormat};
    use crate::shape::Shape;

    #[test]
    fn a_million_tokens_of_flash_fit_in_four_gigabytes() {
        let geometry = KvGeometry::new(&Shape::flash(), RowFormat::Packed, false);
        assert_eq!((geometry.latent_bytes, geometry.index_bytes), (584, 68));
        // 21 layers of 128 + 128 rows, 20 of 4.
        assert_eq!(geometry.page_bytes, 21 * 128 * (584 + 68) + 20 * 4 * 584);
        let million = geometry.session_bytes(1 << 20);
        assert!(
            (3_680_000_000..3_700_000_000).contains(&million),
            "{million}"
        );
        assert!(
            geometry.session_bytes(0) < 5_000_000,
            "nothing is set aside for later tokens"
        );
    }
}
