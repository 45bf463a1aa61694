//! The card as a holder of sessions: plans, page tables, frontiers.

use std::ops::Range;
use std::sync::Arc;

use ds4_model::kv::SUM_FLOATS;
use ds4_model::{
    Backend, HostBlock, HostMemory, KvGeometry, Misuse, Plan, Ratio, Rounding, RowFormat, RowSet,
    Run, Shape,
};

use crate::device::{Device, Mem, Pinned};
use crate::kernels::SOME;
use crate::{Buffer, Cuda, Error, Options, Picks, layout};

/// What the host keeps of a session.
#[derive(Clone, Debug, Default)]
struct Slot {
    /// Pages in its table.
    pages: usize,
    /// Positions whose rows the ring of the draft block holds; its window may have begun later than
    /// the model's.
    draft: Range<u32>,
}

/// Pages of all sessions and the slots that point at them.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) geometry: KvGeometry,
    slots: Vec<Slot>,
    pages: usize,
    arena: Mem,
    rings: Mem,
    pools: Mem,
    fresh: Mem,
    tables: Mem,
    args: layout::Memory,
    /// A pool of empty windows.
    empty: Vec<f32>,
}

/// Bytes that a slot takes besides its pages.
pub(crate) fn slot_bytes(geometry: &KvGeometry, options: &Options) -> usize {
    geometry.ring_bytes() + 4 * geometry.pool_floats + 4 * options.pages
}

impl Memory {
    pub(crate) fn new(
        device: &Arc<Device>,
        geometry: KvGeometry,
        shape: &Shape,
        options: &Options,
    ) -> Result<Self, Error> {
        let (slots, pages) = (options.slots, options.pages);
        let g = &geometry;
        let arena = Mem::new(device, "pages", pages.saturating_mul(g.page_bytes))?;
        let rings = Mem::new(device, "windows", slots * g.ring_bytes())?;
        let pools = Mem::of::<f32>(device, "running sums", slots * g.pool_floats)?;
        let fresh = Mem::new(device, "windows", options.max_rows * g.latent_bytes)?;
        let tables = Mem::of::<u32>(device, "page tables", slots * pages)?;
        let args = layout::Memory {
            arena: arena.ptr(),
            rings: rings.ptr(),
            fresh: crate::device::Ptr::NULL,
            pools: pools.ptr(),
            tables: tables.ptr(),
            page_bytes: g.page_bytes as u64,
            ring_bytes: g.ring_bytes() as u64,
            table_width: pages as u32,
            ring_rows: g.ring_rows as u32,
            latent_bytes: g.latent_bytes as u32,
            index_bytes: g.index_bytes as u32,
            pool_floats: g.pool_floats as u32,
            window: shape.window as u32,
            packed: u32::from(g.format == RowFormat::Packed),
            rounded: u32::from(options.rounding == Rounding::Model),
        };
        Ok(Self {
            empty: empty_pool(g),
            slots: vec![Slot::default(); slots],
            geometry,
            pages,
            arena,
            rings,
            pools,
            fresh,
            tables,
            args,
        })
    }

    /// As kernels take it.
    pub(crate) fn args(&self) -> layout::Memory {
        layout::Memory {
            fresh: self.fresh.ptr(),
            ..self.args
        }
    }

    /// Where the running sums of all slots lie.
    pub(crate) fn pools(&self) -> crate::device::Ptr {
        self.pools.ptr()
    }

    /// Where a layer's rows lie.
    pub(crate) fn place(&self, layer: usize) -> layout::Place {
        let g = &self.geometry;
        let at = &g.layers[layer];
        layout::Place {
            ring: (layer * g.ring_rows * g.latent_bytes) as u64,
            latent: at.latent as u64,
            index: at.index as u64,
            rows: at.rows.max(1) as u32,
            ratio: at.ratio.tokens() as u32,
            pool: at.pool as u32,
            index_pool: at.index_pool as u32,
        }
    }

    /// The draft window of a run's slot once the run has joined it.
    fn drafted(&self, run: &Run) -> Range<u32> {
        let held = &self.slots[run.slot as usize].draft;
        if held.start <= run.first && run.first <= held.end {
            held.start..run.end()
        } else {
            run.first..run.end()
        }
    }

    /// Keeps track of which positions the draft block's ring holds.
    pub(crate) fn note_draft(&mut self, plan: &Plan) {
        for run in plan.runs() {
            self.slots[run.slot as usize].draft = self.drafted(run);
        }
    }

    fn slot(&self, slot: u32) -> Result<usize, Error> {
        Ok(Misuse::slot(slot, self.slots.len())?)
    }

    /// Where a page begins.
    fn page(&self, page: u32) -> Result<usize, Error> {
        Ok(Misuse::page(page, self.pages)? * self.geometry.page_bytes)
    }

    /// Where the row of position `pos` lies in a slot's rings, which begin at byte 0.
    fn ring_row(&self, layer: usize, pos: u32) -> usize {
        let g = &self.geometry;
        (layer * g.ring_rows + pos as usize % g.ring_rows) * g.latent_bytes
    }
}

/// The running sums of empty windows: maxima of minus infinity, sums of zero.
fn empty_pool(g: &KvGeometry) -> Vec<f32> {
    let mut pool = vec![0.0; g.pool_floats];
    for (layer, at) in g.layers.iter().enumerate() {
        let next = g.layers.get(layer + 1);
        let end = next.map_or(g.pool_floats, |next| next.pool);
        for (range, d) in [
            (at.pool..at.index_pool, g.head_width),
            (at.index_pool..end, g.index_width),
        ] {
            for lane in pool[range].chunks_exact_mut(SUM_FLOATS * d) {
                lane[..d].fill(f32::NEG_INFINITY);
            }
        }
    }
    pool
}

impl Backend for Cuda {
    fn geometry(&self) -> &KvGeometry {
        &self.memory.geometry
    }

    fn slots(&self) -> usize {
        self.memory.slots.len()
    }

    fn pages(&self) -> usize {
        self.memory.pages
    }

    fn begin(&mut self, plan: &Plan) -> Result<(), Error> {
        let limits = (self.options.max_rows, self.options.max_outputs);
        Misuse::plan(plan, limits, self.shape.vocab, |slot| {
            let slot = Misuse::slot(slot, self.memory.slots.len())?;
            Ok(self.memory.slots[slot].pages)
        })?;
        let mut rows = Vec::with_capacity(plan.len());
        let mut runs = Vec::with_capacity(plan.runs().len());
        let mut windows = [Vec::new(), Vec::new()];
        for (number, run) in (0..).zip(plan.runs()) {
            let draft_first = self.memory.drafted(run).start;
            runs.push(layout::Run {
                slot: run.slot,
                pos: run.first,
                row: run.rows.start as u32,
                rows: run.rows.len() as u32,
            });
            rows.extend(plan.rows()[run.rows.clone()].iter().map(|row| layout::Row {
                slot: row.slot,
                pos: row.pos,
                token: row.token,
                run_pos: run.first,
                run_row: run.rows.start as u32,
                run_end: run.rows.end as u32,
                draft_first,
                run: number,
            }));
            for (windows, ratio) in windows.iter_mut().zip([Ratio::Four, Ratio::OneTwentyEight]) {
                let tokens = ratio.tokens() as u32;
                let touched = run.first / tokens..=(run.end() - 1) / tokens;
                windows.extend(touched.map(|at| layout::Window {
                    run: number,
                    number: at,
                }));
            }
        }
        self.work.rows.write(0, &rows)?;
        self.work.runs.write(0, &runs)?;
        self.work.outputs.write(0, plan.outputs())?;
        for (mem, windows) in self.work.windows.iter().zip(&windows) {
            mem.write(0, windows)?;
        }
        if let Some(expanded) = &mut self.expanded {
            expanded.begin(plan)?;
        }
        self.windows = windows.map(|windows| windows.len());
        self.plan.clone_from(plan);
        // In larger steps the host's time does not matter.
        self.device.defer(plan.len() <= SOME)?;
        let n = plan.len() as u32;
        self.device.launch(
            self.kernels.angles,
            [(n * self.shape.rotary as u32).div_ceil(128), 1, 1],
            [128, 1],
            0,
            &[
                &self.work.angles.ptr(),
                &self.work.rows.ptr(),
                &n,
                &self.work.frequencies.ptr(),
            ],
        )
    }

    fn read<'a>(&'a mut self, buffer: &'a Buffer) -> Result<&'a [f32], Error> {
        let rows = match buffer.rows {
            RowSet::All => self.plan.len(),
            RowSet::Outputs => self.plan.outputs().len(),
        };
        self.floats(buffer)?;
        let host = Pinned::with_room(&mut self.host, &self.device, 4 * rows * buffer.width)?;
        let values = host.floats(rows * buffer.width);
        buffer.mem.read(0, values)?;
        Ok(values)
    }

    fn read_picks(&mut self, picks: &Picks, row: usize) -> Result<Vec<(u32, f32)>, Error> {
        let (ids, weights) = picks.row(row)?;
        Ok(ids.into_iter().zip(weights).collect())
    }

    fn clear_slot(&mut self, slot: u32) -> Result<(), Error> {
        let index = self.memory.slot(slot)?;
        let memory = &mut self.memory;
        memory.slots[index] = Slot::default();
        memory
            .pools
            .write(4 * index * memory.empty.len(), &memory.empty)
    }

    fn set_pages(&mut self, slot: u32, pages: &[u32]) -> Result<(), Error> {
        let memory = &mut self.memory;
        let index = memory.slot(slot)?;
        for &page in pages {
            memory.page(page)?;
        }
        if pages.len() > memory.pages {
            return Err(Error::Misuse(Misuse::Page {
                page: pages.len() as u32,
                pages: memory.pages,
            }));
        }
        memory.slots[index].pages = pages.len();
        memory.tables.write(4 * index * memory.pages, pages)
    }

    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), Error> {
        let (from, to) = (self.memory.page(from)?, self.memory.page(to)?);
        let bytes = self.memory.geometry.page_bytes;
        if from == to {
            return Ok(());
        }
        self.memory.arena.copy_within(from, to, bytes)
    }

    fn save_page(&mut self, page: u32, out: &mut [u8]) -> Result<(), Error> {
        let at = self.memory.page(page)?;
        Misuse::size("page", out.len(), self.memory.geometry.page_bytes)?;
        self.memory.arena.read(at, out)
    }

    fn host_memory(&self) -> Option<HostMemory> {
        let device = Arc::clone(&self.device);
        Some(Arc::new(move |bytes| {
            let pinned = Pinned::new(&device, bytes).ok()?;
            Some(Box::new(pinned) as HostBlock)
        }))
    }

    fn load_page(&mut self, page: u32, bytes: &[u8]) -> Result<(), Error> {
        let at = self.memory.page(page)?;
        Misuse::size("page", bytes.len(), self.memory.geometry.page_bytes)?;
        self.memory.arena.write(at, bytes)?;
        // The bytes may be pinned, and are somebody else's when this returns.
        self.device.wait()
    }

    fn save_frontier(&mut self, slot: u32, tokens: u32, out: &mut Vec<u8>) -> Result<(), Error> {
        let memory = &self.memory;
        let (index, g) = (memory.slot(slot)?, &memory.geometry);
        let draft = &memory.slots[index].draft;
        out.extend_from_slice(&draft.start.to_le_bytes());
        out.extend_from_slice(&draft.end.to_le_bytes());
        let mut rings = vec![0u8; g.ring_bytes()];
        memory.rings.read(index * rings.len(), &mut rings)?;
        for layer in 0..g.layers.len() {
            for pos in memory.geometry.window_before(tokens) {
                let at = memory.ring_row(layer, pos);
                out.extend_from_slice(&rings[at..at + g.latent_bytes]);
            }
        }
        let start = out.len();
        out.resize(start + 4 * g.pool_floats, 0);
        memory
            .pools
            .read(4 * index * g.pool_floats, &mut out[start..])
    }

    fn load_frontier(&mut self, slot: u32, tokens: u32, bytes: &[u8]) -> Result<(), Error> {
        let memory = &mut self.memory;
        let index = memory.slot(slot)?;
        let g = &memory.geometry;
        Misuse::size("frontier", bytes.len(), g.frontier_bytes(tokens as usize))?;
        let (row, window) = (g.latent_bytes, memory.geometry.window_before(tokens));
        let (draft, rest) = bytes.split_at(8);
        let (rows, sums) = rest.split_at(g.layers.len() * window.len() * row);
        let mut rings = vec![0u8; g.ring_bytes()];
        let places =
            (0..g.layers.len()).flat_map(|layer| window.clone().map(move |pos| (layer, pos)));
        for ((layer, pos), bytes) in places.zip(rows.chunks_exact(row)) {
            let at = memory.ring_row(layer, pos);
            rings[at..at + row].copy_from_slice(bytes);
        }
        memory.rings.write(index * rings.len(), &rings)?;
        memory.pools.write(4 * index * g.pool_floats, sums)?;
        let word = |at: usize| {
            let bytes = draft[at..at + 4].try_into();
            u32::from_le_bytes(bytes.expect("four bytes are four bytes"))
        };
        memory.slots[index].draft = word(0)..word(4);
        Ok(())
    }
}
