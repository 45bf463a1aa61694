//! The threads that read pieces and send them.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, available_parallelism};

use super::pieces::Piece;
use crate::Error;
use crate::device::{Device, Mark, Mem, Pinned};

/// Bytes of a piece, at most; a stage has room for one.
pub(super) const STAGE_BYTES: usize = 8 * 1024 * 1024;

/// Threads that read. One copies some 8 GB/s out of memory, the link takes 55.
const READERS: usize = 8;

/// Stages of a thread: it fills one while the other is copied.
const STAGES: usize = 2;

/// Bytes of all stages.
pub(super) const IN_FLIGHT: usize = READERS * STAGES * STAGE_BYTES;

/// Pieces that the system is told of before they are read, for each thread.
const AHEAD: usize = 4;

/// Sends all pieces; `progress` is told bytes sent and bytes in all, and may end it. The card is done
/// with all that was sent when this returns, be it an error.
pub(super) fn send(
    device: &Arc<Device>,
    pieces: &[Piece],
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(), Error> {
    let all = pieces.iter().map(|piece| piece.bytes.len() as u64).sum();
    let largest = pieces.iter().map(|piece| piece.bytes.len()).max();
    let cores = available_parallelism().map_or(1, usize::from);
    let work = Work {
        device,
        pieces,
        largest: largest.unwrap_or(0),
        readers: cores.min(READERS).min(pieces.len().div_ceil(STAGES)),
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
    };
    let sent = thread::scope(|scope| {
        let (report, reports) = channel();
        let start = |_: &usize| {
            let (work, report) = (&work, report.clone());
            let thread = thread::Builder::new().name("ds4-read".into());
            let started = thread.spawn_scoped(scope, move || work.read(&report));
            started.is_ok()
        };
        // Where the system refuses threads, and for a piece or two, this one reads.
        if work.readers <= 1 || (0..work.readers).filter(start).count() == 0 {
            work.read(&report);
        }
        drop(report);
        let (mut sent, mut outcome) = (0, Ok(()));
        for report in reports {
            match report {
                Ok(bytes) => sent += bytes,
                Err(error) if outcome.is_ok() => outcome = Err(error),
                Err(_) => {}
            }
            if outcome.is_ok() && progress(sent, all).is_break() {
                outcome = Err(Error::Interrupted);
            }
            if outcome.is_err() {
                work.stop.store(true, Ordering::Relaxed);
            }
        }
        outcome
    });
    // After an error too: what is under way still writes to memory that goes away with it.
    sent.and(device.wait())
}

/// What the threads share.
struct Work<'a> {
    device: &'a Arc<Device>,
    pieces: &'a [Piece],
    /// Bytes of the largest piece.
    largest: usize,
    readers: usize,
    /// The next piece that nobody reads yet.
    next: AtomicUsize,
    stop: AtomicBool,
}

/// Where a piece lies on its way.
struct Stage {
    pinned: Pinned,
    mem: Mem,
    /// Behind the last piece that lay here.
    mark: Mark,
}

impl Work<'_> {
    /// Reads and sends pieces until none is left, and tells the bytes of each, or what went wrong.
    fn read(&self, report: &Sender<Result<u64, Error>>) {
        if let Err(error) = self.read_all(report) {
            self.stop.store(true, Ordering::Relaxed);
            // The receiver stays until all senders are gone.
            let _ = report.send(Err(error));
        }
    }

    fn read_all(&self, report: &Sender<Result<u64, Error>>) -> Result<(), Error> {
        let mut stages = Vec::with_capacity(STAGES);
        for turn in 0.. {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(piece) = self.pieces.get(at) else {
                break;
            };
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            if let Some(later) = self.pieces.get(at + AHEAD * self.readers) {
                // It is read anyway, if not in time.
                let _ = later.bytes.will_need();
            }
            if turn < STAGES {
                stages.push(Stage {
                    pinned: Pinned::new(self.device, self.largest)?,
                    mem: Mem::new(self.device, "staging", self.largest)?,
                    mark: Mark::new(self.device)?,
                });
            }
            let stage = &mut stages[turn % STAGES];
            stage.mark.wait()?;
            stage.pinned[..piece.bytes.len()].copy_from_slice(&piece.bytes);
            piece.give(self.device, &stage.pinned, &stage.mem)?;
            stage.mark.set()?;
            let _ = report.send(Ok(piece.bytes.len() as u64));
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Its memory must outlive the copy; a failure is reported by whoever waits for everything.
        let _ = self.mark.wait();
    }
}
