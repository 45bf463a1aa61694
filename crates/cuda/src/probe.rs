//! What a card's memory delivers, measured: what decoding is held against.

use std::sync::Arc;

use crate::Error;
use crate::device::{Device, Mem};

/// Most bytes to read; many times what the card's caches hold.
const MOST: usize = 4 << 30;
/// Passes; the fastest counts, since nothing but a disturbance makes one slower.
const PASSES: usize = 5;
const BLOCKS: u32 = 2048;
const THREADS: u32 = 512;
/// Bytes that a thread loads at once.
const WORD: usize = 16;

impl Device {
    /// Bytes a second that the card reads from its memory.
    ///
    /// # Errors
    /// If the card has no memory free, or fails.
    pub fn bandwidth(self: &Arc<Self>) -> Result<f64, Error> {
        let (free, _) = self.memory()?;
        let bytes = MOST.min(free / 2) / WORD * WORD;
        let words = Mem::new(self, "probed bytes", bytes)?;
        let sums = Mem::of::<u32>(self, "sums", (BLOCKS * THREADS) as usize)?;
        let count = (bytes / WORD) as u64;
        let (grid, block) = ([BLOCKS, 1, 1], [THREADS, 1]);
        let write = self.kernel("probe_write")?;
        self.launch(write, grid, block, 0, &[&words.ptr(), &count])?;
        let read = self.kernel("probe_read")?;
        let mut fastest = f64::INFINITY;
        for _ in 0..PASSES {
            self.measure()?;
            self.launch(read, grid, block, 0, &[&sums.ptr(), &words.ptr(), &count])?;
            let spent: f64 = self.measured()?.iter().map(|spent| spent.seconds).sum();
            fastest = fastest.min(spent);
        }
        Ok(bytes as f64 / fastest.max(1e-9))
    }
}
