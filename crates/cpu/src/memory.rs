//! The CPU as a holder of sessions: plans, page tables, frontiers.

use std::ops::Range;

use ds4_model::kv::{KvGeometry, PAGE_TOKENS};
use ds4_model::{Backend, Plan, RopeTable, RowSet};

use crate::{Buffer, Cpu, Error, compress};

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
        let (max_rows, max_outputs) = (self.options.max_rows, self.options.max_outputs);
        let (rows, outputs) = (plan.len(), plan.outputs().len());
        if rows > max_rows || outputs > max_outputs {
            return Err(Error::PlanTooLarge {
                rows,
                outputs,
                max_rows,
                max_outputs,
            });
        }
        for run in plan.runs() {
            let slot = self.slot(run.slot)?;
            let have = self.memory.slots[slot].pages.len() * PAGE_TOKENS;
            let need = run.end() as usize;
            if need > have {
                return Err(Error::NoPages {
                    slot: run.slot,
                    have,
                    need,
                });
            }
        }
        let vocab = self.shape.vocab;
        if let Some(row) = plan.rows().iter().find(|row| row.token as usize >= vocab) {
            return Err(Error::Token {
                token: row.token,
                vocab,
            });
        }
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

    fn save_page(&mut self, page: u32, out: &mut Vec<u8>) -> Result<(), Error> {
        let range = self.page(page)?;
        out.extend_from_slice(&self.memory.arena[range]);
        Ok(())
    }

    fn load_page(&mut self, page: u32, bytes: &[u8]) -> Result<(), Error> {
        let range = self.page(page)?;
        check_size("page", bytes.len(), range.len())?;
        self.memory.arena[range].copy_from_slice(bytes);
        Ok(())
    }

    fn save_frontier(&mut self, slot: u32, tokens: u32, out: &mut Vec<u8>) -> Result<(), Error> {
        let index = self.slot(slot)?;
        let drafted = self.memory.slots[index].draft.clone();
        out.extend_from_slice(&drafted.start.to_le_bytes());
        out.extend_from_slice(&drafted.end.to_le_bytes());
        for layer in 0..self.memory.geometry.layers.len() {
            for pos in self.window_before(tokens) {
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
        let window = self.window_before(tokens);
        check_size("frontier", bytes.len(), g.frontier_bytes(tokens as usize))?;
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
    /// Positions whose window rows the token after `tokens` tokens sees, besides its own.
    fn window_before(&self, tokens: u32) -> Range<u32> {
        tokens.saturating_sub(self.shape.window as u32 - 1)..tokens
    }

    fn slot(&self, slot: u32) -> Result<usize, Error> {
        let slots = self.memory.slots.len();
        if (slot as usize) < slots {
            Ok(slot as usize)
        } else {
            Err(Error::Slot { slot, slots })
        }
    }

    fn page(&self, page: u32) -> Result<Range<usize>, Error> {
        let pages = self.memory.capacity();
        if (page as usize) < pages {
            Ok(self.memory.page_range(page))
        } else {
            Err(Error::Page { page, pages })
        }
    }
}

fn check_size(what: &'static str, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected {
        Ok(())
    } else {
        Err(Error::Size {
            what,
            found,
            expected,
        })
    }
}
