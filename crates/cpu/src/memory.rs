//! The CPU as a holder of sessions: plans, page tables, frontiers.

use std::ops::Range;

use ds4_model::{Backend, KvGeometry, Misuse, Plan, RopeTable, RowSet};

use crate::share::Shared;
use crate::{Buffer, Cpu, Error, Picks, compress};

/// Bytes of a page that one worker copies: the first time a page is written, the system finding
/// memory for it takes several times as long as the copy, and workers share that.
const PART: usize = 1 << 17;

impl Backend for Cpu {
    fn geometry(&self) -> &KvGeometry {
        &self.memory.geometry
    }

    fn slots(&self) -> usize {
        self.memory.slots.len()
    }

    fn pages(&self) -> usize {
        self.memory.capacity()
    }

    fn begin(&mut self, plan: &Plan) -> Result<(), Error> {
        let limits = (self.options.max_rows, self.options.max_outputs);
        Misuse::plan(plan, limits, self.shape.vocab, |slot| {
            let slot = Misuse::slot(slot, self.memory.slots.len())?;
            Ok(self.memory.slots[slot].pages.len())
        })?;
        let pairs = self.shape.rotary / 2;
        for table in [RopeTable::Window, RopeTable::Compressed] {
            let angles = self.angles[table as usize].chunks_exact_mut(pairs);
            for (row, angles) in plan.rows().iter().zip(angles) {
                self.frequencies.angles(table, row.pos, angles);
            }
        }
        self.plan.clone_from(plan);
        Ok(())
    }

    fn read<'a>(&'a mut self, buffer: &'a Buffer) -> Result<&'a [f32], Error> {
        let rows = match buffer.rows {
            RowSet::All => self.plan.len(),
            RowSet::Outputs => self.plan.outputs().len(),
        };
        Ok(&buffer.data[..rows * buffer.width])
    }

    fn read_picks(&mut self, picks: &Picks, row: usize) -> Result<Vec<(u32, f32)>, Error> {
        let pairs = picks.ids(row).iter().zip(picks.weights(row));
        Ok(pairs.map(|(id, weight)| (*id, *weight)).collect())
    }

    fn clear_slot(&mut self, slot: u32) -> Result<(), Error> {
        let index = self.slot(slot)?;
        self.memory.slots[index].pages.clear();
        self.memory.slots[index].draft = 0..0;
        let range = self.memory.pool_range(slot);
        let pool = &mut self.memory.pools[range];
        let g = &self.memory.geometry;
        for (layer, at) in g.layers.iter().enumerate() {
            let end = g
                .layers
                .get(layer + 1)
                .map_or(g.pool_floats, |next| next.pool);
            compress::clear(&mut pool[at.pool..at.index_pool], g.head_width);
            compress::clear(&mut pool[at.index_pool..end], g.index_width);
        }
        Ok(())
    }

    fn set_pages(&mut self, slot: u32, pages: &[u32]) -> Result<(), Error> {
        let index = self.slot(slot)?;
        for &page in pages {
            self.page(page)?;
        }
        let table = &mut self.memory.slots[index].pages;
        table.clear();
        table.extend_from_slice(pages);
        Ok(())
    }

    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), Error> {
        let (from, to) = (self.page(from)?, self.page(to)?);
        self.memory.arena.copy_within(from, to.start);
        Ok(())
    }

    fn save_page(&mut self, page: u32, out: &mut [u8]) -> Result<(), Error> {
        let range = self.page(page)?;
        Misuse::size("page", out.len(), range.len())?;
        out.copy_from_slice(&self.memory.arena[range]);
        Ok(())
    }

    fn load_page(&mut self, page: u32, bytes: &[u8]) -> Result<(), Error> {
        let range = self.page(page)?;
        Misuse::size("page", bytes.len(), range.len())?;
        let page = Shared::new(&mut self.memory.arena[range]);
        self.pool.run(bytes.len().div_ceil(PART), |_, task| {
            let begin = task * PART;
            let part = begin..bytes.len().min(begin + PART);
            // SAFETY: every task has a part of its own.
            unsafe { page.part(part.clone()) }.copy_from_slice(&bytes[part]);
        });
        Ok(())
    }

    fn save_frontier(&mut self, slot: u32, tokens: u32, out: &mut Vec<u8>) -> Result<(), Error> {
        let index = self.slot(slot)?;
        let drafted = self.memory.slots[index].draft.clone();
        out.extend_from_slice(&drafted.start.to_le_bytes());
        out.extend_from_slice(&drafted.end.to_le_bytes());
        for layer in 0..self.memory.geometry.layers.len() {
            for pos in self.memory.geometry.window_before(tokens) {
                let range = self.memory.ring_range(slot, layer, pos);
                out.extend_from_slice(&self.memory.rings[range]);
            }
        }
        for value in &self.memory.pools[self.memory.pool_range(slot)] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        Ok(())
    }

    fn load_frontier(&mut self, slot: u32, tokens: u32, bytes: &[u8]) -> Result<(), Error> {
        let index = self.slot(slot)?;
        let g = &self.memory.geometry;
        let (layers, row) = (g.layers.len(), g.latent_bytes);
        let window = self.memory.geometry.window_before(tokens);
        Misuse::size("frontier", bytes.len(), g.frontier_bytes(tokens as usize))?;
        let word = |at: usize| {
            u32::from_le_bytes(
                bytes[at..at + 4]
                    .try_into()
                    .expect("four bytes are four bytes"),
            )
        };
        self.memory.slots[index].draft = word(0)..word(4);
        let (rows, sums) = bytes[8..].split_at(layers * window.len() * row);
        let places = (0..layers).flat_map(|layer| window.clone().map(move |pos| (layer, pos)));
        for ((layer, pos), bytes) in places.zip(rows.chunks_exact(row)) {
            let range = self.memory.ring_range(slot, layer, pos);
            self.memory.rings[range].copy_from_slice(bytes);
        }
        let range = self.memory.pool_range(slot);
        for (value, bits) in self.memory.pools[range]
            .iter_mut()
            .zip(sums.as_chunks::<4>().0)
        {
            *value = f32::from_le_bytes(*bits);
        }
        Ok(())
    }
}

impl Cpu {
    fn slot(&self, slot: u32) -> Result<usize, Error> {
        Ok(Misuse::slot(slot, self.memory.slots.len())?)
    }

    fn page(&self, page: u32) -> Result<Range<usize>, Error> {
        Misuse::page(page, self.memory.capacity())?;
        Ok(self.memory.page_range(page))
    }
}
