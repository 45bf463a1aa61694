//! The download: several ranges at once into one file, and a state that says which bytes are there.
//!
//! Workers take pieces off a list. A piece that breaks off goes on where it broke, as often as bytes
//! keep coming. The state is written only after the bytes it names are on the disk, so whatever
//! happens in between costs a few seconds of work.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow};

use super::remote::{Found, Place, Problem, Remote};
use super::spans::Spans;
use super::state::State;

/// Bytes of a piece: large enough that asking costs nothing, small enough that all workers end
/// together.
const PIECE: u64 = 32 << 20;
/// Bytes read at once.
const GULP: usize = 256 << 10;
/// How often the state is written.
const SAVING: Duration = Duration::from_secs(5);
/// How often is looked at what happens.
const LOOKING: Duration = Duration::from_millis(100);
/// How long workers may take to notice that they shall stop.
const PARTING: Duration = Duration::from_secs(1);
/// The first pause after a failure; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How it is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Ranges at once.
    pub(super) connections: usize,
    /// Failures in a row, without a byte in between, after which a piece is given up.
    pub(super) patience: u32,
}

/// How a download ended.
#[derive(Debug)]
pub(super) enum End {
    /// Every byte is there.
    Complete,
    /// It was stopped; the state knows what is there.
    Stopped,
    /// The file at the other end is another one now.
    Changed(String),
}

/// What workers share.
struct Shared {
    remote: Remote,
    place: Place,
    found: Mutex<Arc<Found>>,
    file: File,
    pieces: Mutex<Vec<Range<u64>>>,
    have: Mutex<Spans>,
    at_work: AtomicUsize,
    stop: AtomicBool,
    /// The first thing that ended it all.
    verdict: Mutex<Option<Verdict>>,
    patience: u32,
}

enum Verdict {
    Changed(String),
    Failed(Error),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Downloads what `state` lacks into `file`, and keeps it true on the disk at `path`. `look` is told
/// the bytes at hand and says whether to stop.
pub(super) fn run(
    remote: Remote,
    (place, found): (Place, Found),
    file: File,
    (state, path): (&mut State, &Path),
    manner: Manner,
    mut look: impl FnMut(u64) -> bool,
) -> Result<End> {
    let most = if found.has_ranges { PIECE } else { u64::MAX };
    let mut pieces = state.have.missing(state.size, most);
    // Workers take from the end; the beginning is wanted first.
    pieces.reverse();
    let workers = match found.has_ranges {
        true => manner.connections.min(pieces.len()),
        false => 1,
    };
    let shared = Arc::new(Shared {
        remote,
        place,
        found: Mutex::new(Arc::new(found)),
        file,
        pieces: Mutex::new(pieces),
        have: Mutex::new(state.have.clone()),
        at_work: AtomicUsize::new(workers),
        stop: AtomicBool::new(false),
        verdict: Mutex::new(None),
        patience: manner.patience,
    });
    for _ in 0..workers {
        let shared = Arc::clone(&shared);
        let worker = thread::Builder::new().name("ds4-pull".into());
        let worker = worker.spawn(move || shared.work());
        worker.context("cannot start a thread")?;
    }
    let mut saved = Instant::now();
    let mut stopped = None;
    while shared.at_work.load(Ordering::Acquire) > 0 {
        thread::sleep(LOOKING);
        if saved.elapsed() >= SAVING {
            shared.save(state, path)?;
            saved = Instant::now();
        }
        let have = lock(&shared.have).bytes();
        if stopped.is_none() && (look(have) || lock(&shared.verdict).is_some()) {
            shared.stop.store(true, Ordering::Release);
            stopped = Some(Instant::now());
        }
        // A worker may be waiting for bytes that never come; it holds nothing that is needed.
        if stopped.is_some_and(|since: Instant| since.elapsed() > PARTING) {
            break;
        }
    }
    shared.save(state, path)?;
    match lock(&shared.verdict).take() {
        Some(Verdict::Changed(why)) => return Ok(End::Changed(why)),
        Some(Verdict::Failed(error)) => return Err(error),
        None => {}
    }
    match state.have.bytes() == state.size {
        true => Ok(End::Complete),
        false => Ok(End::Stopped),
    }
}

impl Shared {
    /// First the bytes, then the state that names them.
    fn save(&self, state: &mut State, path: &Path) -> Result<()> {
        let have = lock(&self.have).clone();
        self.file
            .sync_data()
            .context("cannot bring the download to the disk")?;
        state.have = have;
        state.save(path)
    }

    fn work(&self) {
        while !self.is_stopped() {
            let Some(piece) = lock(&self.pieces).pop() else {
                break;
            };
            if let Err(verdict) = self.fetch(piece) {
                lock(&self.verdict).get_or_insert(verdict);
                break;
            }
        }
        self.at_work.fetch_sub(1, Ordering::Release);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Brings one piece, whatever it takes.
    fn fetch(&self, mut piece: Range<u64>) -> Result<(), Verdict> {
        let mut failures = 0;
        while !piece.is_empty() && !self.is_stopped() {
            let found = Arc::clone(&lock(&self.found));
            let before = piece.start;
            let problem = match self.stream(&found, &mut piece) {
                Ok(()) => continue,
                Err(problem) => problem,
            };
            // As long as bytes come, nothing is wrong that trying again does not mend.
            failures = if piece.start > before {
                1
            } else {
                failures + 1
            };
            let (why, pause) = match problem {
                Problem::Final(error) => return Err(Verdict::Failed(error)),
                Problem::Passing(why, pause) => (why, pause),
                Problem::Expired(why) => {
                    self.renew(&found)?;
                    (why, Some(Duration::ZERO))
                }
            };
            if failures > self.patience {
                let file = &self.place.file;
                return Err(Verdict::Failed(
                    anyhow!("{why}").context(format!("{file}: {failures} failures in a row")),
                ));
            }
            self.rest(pause.unwrap_or_else(|| PAUSE * 2u32.pow((failures - 1).min(7))));
        }
        Ok(())
    }

    /// Reads on until the piece is there or the stream ends.
    fn stream(&self, found: &Found, piece: &mut Range<u64>) -> Result<(), Problem> {
        let (mut at, mut bytes) = self.remote.open(&self.place, found, piece)?;
        let mut buffer = vec![0; GULP];
        while !piece.is_empty() && !self.is_stopped() {
            // What comes before the piece has to be read past.
            let wanted = (piece.end - at).min(GULP as u64) as usize;
            let count = bytes.read(&mut buffer[..wanted]);
            let count =
                count.map_err(|error| Problem::Passing(format!("broke off: {error}"), None))?;
            if count == 0 {
                let missing = piece.end - at;
                return Err(Problem::Passing(
                    format!("ended {missing} bytes early"),
                    None,
                ));
            }
            let end = at + count as u64;
            if end > piece.start {
                let fresh = &buffer[(piece.start - at) as usize..count];
                self.file
                    .write_all_at(fresh, piece.start)
                    .map_err(|error| {
                        Problem::Final(Error::new(error).context("cannot write the download"))
                    })?;
                lock(&self.have).add(piece.start..end);
                piece.start = end;
            }
            at = end;
        }
        Ok(())
    }

    /// Asks for a new address, if nobody has done so since `stale`.
    fn renew(&self, stale: &Arc<Found>) -> Result<(), Verdict> {
        let mut found = lock(&self.found);
        if !Arc::ptr_eq(&found, stale) {
            return Ok(());
        }
        match self.remote.find(&self.place) {
            Ok(new) if new.identity != stale.identity || new.size != stale.size => {
                let (was, is) = (&stale.identity, &new.identity);
                let sizes = (stale.size, new.size);
                Err(Verdict::Changed(format!(
                    "it was {was} with {} bytes and is {is} with {} bytes",
                    sizes.0, sizes.1
                )))
            }
            Ok(new) => {
                *found = Arc::new(new);
                Ok(())
            }
            // The old address fails again, which counts.
            Err(Problem::Passing(..) | Problem::Expired(_)) => Ok(()),
            Err(Problem::Final(error)) => Err(Verdict::Failed(error)),
        }
    }

    /// Waits, unless told to stop.
    fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause.min(LONGEST_PAUSE);
        while !self.is_stopped() && Instant::now() < until {
            thread::sleep(LOOKING.min(until.saturating_duration_since(Instant::now())));
        }
    }
}
