//! What sessions remember, in host memory: an arena of pages, and per slot a page table, rings and pools.

use std::ops::Range;

use ds4_model::{KvGeometry, Stream};
use memmap2::{MmapMut, MmapOptions};

use crate::Error;

/// One session's memory: its page table. Rings and pools of all slots lie together in [`Memory`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    /// Page numbers, one for each `PAGE_TOKENS` tokens.
    pub(crate) pages: Vec<u32>,
    /// Positions whose rows the ring of the draft block holds; its window may have begun later than the model's.
    pub(crate) draft: Range<u32>,
}

impl Slot {
    /// An empty slot whose table never has to grow.
    fn new(pages: usize) -> Self {
        Self {
            pages: Vec::with_capacity(pages),
            draft: 0..0,
        }
    }
}

/// Pages of all sessions and the slots that point at them.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) geometry: KvGeometry,
    pub(crate) slots: Vec<Slot>,
    /// Rings of latent rows, slot after slot, layer after layer; position p lies at row p mod `ring_rows`.
    pub(crate) rings: Vec<u8>,
    /// Running sums of the compressors, slot after slot.
    pub(crate) pools: Vec<f32>,
    /// Reserved address space; the system gives it memory when a page is first written.
    pub(crate) arena: MmapMut,
    capacity: usize,
}

impl Memory {
    /// Room for `pages` pages and `slots` slots. Nothing is resident before it is used.
    pub(crate) fn new(geometry: KvGeometry, slots: usize, pages: usize) -> Result<Self, Error> {
        let bytes = pages.checked_mul(geometry.page_bytes).ok_or(Error::Arena {
            bytes: usize::MAX,
            source: None,
        })?;
        let arena = MmapOptions::new()
            .len(bytes.max(1))
            .no_reserve_swap()
            .map_anon()
            .map_err(|source| Error::Arena {
                bytes,
                source: Some(source),
            })?;
        Ok(Self {
            slots: (0..slots).map(|_| Slot::new(pages)).collect(),
            rings: vec![0; slots * geometry.ring_bytes()],
            pools: vec![0.0; slots * geometry.pool_floats],
            geometry,
            arena,
            capacity: pages,
        })
    }

    /// Pages the arena holds.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes of a page in the arena.
    pub(crate) fn page_range(&self, page: u32) -> Range<usize> {
        let start = page as usize * self.geometry.page_bytes;
        start..start + self.geometry.page_bytes
    }

    /// Where compressed row `row` of `stream` of a layer lies in the arena.
    pub(crate) fn row_range(
        &self,
        slot: u32,
        layer: usize,
        stream: Stream,
        row: usize,
    ) -> Range<usize> {
        let at = &self.geometry.layers[layer];
        let page = self.slots[slot as usize].pages[row / at.rows];
        let (base, bytes) = match stream {
            Stream::Latent => (at.latent, self.geometry.latent_bytes),
            Stream::Index => (at.index, self.geometry.index_bytes),
        };
        let start = self.page_range(page).start + base + row % at.rows * bytes;
        start..start + bytes
    }

    /// Where the row of position `pos` lies in the rings.
    pub(crate) fn ring_range(&self, slot: u32, layer: usize, pos: u32) -> Range<usize> {
        let g = &self.geometry;
        let start = slot as usize * g.ring_bytes()
            + (layer * g.ring_rows + pos as usize % g.ring_rows) * g.latent_bytes;
        start..start + g.latent_bytes
    }

    /// A slot's running sums.
    pub(crate) fn pool_range(&self, slot: u32) -> Range<usize> {
        let start = slot as usize * self.geometry.pool_floats;
        start..start + self.geometry.pool_floats
    }
}
