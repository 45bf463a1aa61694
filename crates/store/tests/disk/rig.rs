//! Conversations of made up bytes, and file systems that misbehave.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use ds4_store::disk::Options;
use ds4_store::files::{Files, System};
use ds4_store::{Chain, Disk, Head, Kind, Name, Pool, Put, ReadError, Scope, Shelf, Tenant};

pub(crate) const PAGE: usize = 4;
pub(crate) const PAGE_BYTES: usize = 3000;
pub(crate) const STATE_BYTES: usize = 1000;
pub(crate) const IDENTITY: [u8; 32] = [7; 32];

pub(crate) fn scope() -> Scope {
    Scope::new(&IDENTITY, Tenant::default())
}

pub(crate) fn options(dir: &Path) -> Options {
    Options {
        dir: dir.join("kv"),
        bytes: 1 << 30,
        free: 0,
        page_tokens: PAGE,
        queue: 8,
    }
}

pub(crate) fn open(dir: &Path) -> Disk {
    open_with(options(dir), System)
}

pub(crate) fn open_with(options: Options, files: impl Files + 'static) -> Disk {
    Disk::open(options, Box::new(files), || {}).unwrap()
}

/// What a record of this name holds.
pub(crate) fn contents(name: Name, bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new()
        .update(&name.0)
        .finalize_xof()
        .fill(&mut out);
    out
}

/// The records of a frontier at the end of `tokens`: its pages, then itself.
pub(crate) fn records(scope: &Scope, tokens: &[u32], kind: Kind) -> Vec<Put> {
    let mut chain = Chain::new(*scope, PAGE);
    let names = chain.names(tokens).to_vec();
    let befores = [&[scope.root()], &names[..]].concat();
    let mut records = Vec::new();
    for (at, (name, tokens)) in names.iter().zip(tokens.chunks_exact(PAGE)).enumerate() {
        let state = contents(*name, PAGE_BYTES);
        records.push(record(
            scope,
            None,
            befores[at],
            *name,
            (at + 1) * PAGE,
            tokens,
            state,
            vec![],
        ));
    }
    let tail = &tokens[names.len() * PAGE..];
    let name = scope.next(befores[names.len()], tail);
    let state = contents(name, STATE_BYTES);
    let open = contents(name, 100 * tail.len());
    let last = befores[names.len()];
    records.push(record(
        scope,
        Some(kind),
        last,
        name,
        tokens.len(),
        tail,
        state,
        open,
    ));
    records
}

fn record(
    scope: &Scope,
    kind: Option<Kind>,
    before: Name,
    name: Name,
    at: usize,
    tokens: &[u32],
    state: Vec<u8>,
    open: Vec<u8>,
) -> Put {
    let head = Head {
        kind,
        identity: IDENTITY,
        root: scope.root(),
        before,
        name,
        at: at as u32,
        tokens: tokens.into(),
        state: state.len() as u64,
        open: open.len() as u64,
    };
    let (state, open) = (state.into(), open.into());
    Put { head, state, open }
}

/// Hands over everything that is not there yet, waiting as often as needed.
pub(crate) fn write(disk: &Disk, tokens: &[u32], kind: Kind) {
    for put in records(&scope(), tokens, kind) {
        if disk.has(Shelf::of(&put.head), put.head.name) {
            continue;
        }
        let mut put = Box::new(put);
        while let Err(back) = disk.put(put) {
            disk.flush();
            put = back;
        }
    }
}

/// Reads everything of the deepest frontier on a path and compares it; where that is. 0 if there
/// is nothing, or what is there is refused.
pub(crate) fn restore(disk: &Disk, tokens: &[u32]) -> Result<usize, ReadError> {
    let Some(found) = disk.find(&scope(), tokens) else {
        return Ok(0);
    };
    let pool = Pool::new(PAGE_BYTES, 1);
    for &page in &found.pages {
        let (_, body) = disk.read(Shelf::Pages, page, &IDENTITY, &scope(), &pool)?;
        assert_eq!(body.state[..], contents(page, PAGE_BYTES));
    }
    let name = found.frontier;
    let (head, body) = disk.read(Shelf::Frontiers, name, &IDENTITY, &scope(), &pool)?;
    assert_eq!(head.at as usize, found.at);
    assert_eq!(found.at / PAGE, found.pages.len());
    assert_eq!(body.state[..], contents(name, STATE_BYTES));
    assert_eq!(body.open[..], contents(name, 100 * (found.at % PAGE)));
    Ok(found.at)
}

/// Bytes of everything below a directory.
pub(crate) fn size(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.path().is_dir() {
        true => size(&entry.path()),
        // Others may remove it between the two questions.
        false => entry.metadata().map_or(0, |metadata| metadata.len()),
    });
    sizes.sum()
}

/// What a file system does wrong, and what was done with it.
#[derive(Default)]
pub(crate) struct Fate {
    /// Operations until the process dies. The last one is done by half.
    pub(crate) dies_after: Option<u64>,
    /// Bytes the medium has room for.
    pub(crate) room: Option<u64>,
    /// Whether the system says how much is free.
    pub(crate) is_honest: bool,
    pub(crate) operations: AtomicU64,
    /// How often each record was written.
    pub(crate) writes: Mutex<HashMap<PathBuf, u32>>,
    /// The most that there ever was, if somebody counts.
    pub(crate) most: Mutex<Option<(PathBuf, u64)>>,
}

#[derive(Clone)]
pub(crate) struct Faulty(pub(crate) Arc<Fate>);

/// How an operation goes.
enum Luck {
    Well,
    /// It is the last thing the process does.
    Half,
    /// There is no process any more.
    Dead,
}

impl Faulty {
    pub(crate) fn new(fate: Fate) -> Self {
        Self(Arc::new(fate))
    }

    fn luck(&self) -> Luck {
        let done = self.0.operations.fetch_add(1, SeqCst);
        match self.0.dies_after {
            Some(last) if done == last => Luck::Half,
            Some(last) if done > last => Luck::Dead,
            _ => Luck::Well,
        }
    }

    fn act(&self, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match self.luck() {
            Luck::Well => act(),
            // An operation of the directory is done or not: half the time it is.
            Luck::Half if self.0.operations.load(SeqCst).is_multiple_of(2) => act(),
            Luck::Half | Luck::Dead => Err(io::Error::other("killed")),
        }
    }

    fn count(&self) {
        let mut most = self.0.most.lock().unwrap();
        if let Some((dir, most)) = &mut *most {
            *most = (*most).max(size(dir));
        }
    }
}

impl Files for Faulty {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        System.make_dir(path)
    }

    fn write(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let all = parts.concat();
        let name = path.file_name().unwrap().into();
        *self.0.writes.lock().unwrap().entry(name).or_default() += 1;
        let fits = match self.0.room {
            Some(room) => {
                let used = size(path.parent().unwrap().parent().unwrap());
                room.saturating_sub(used).min(all.len() as u64) as usize
            }
            None => all.len(),
        };
        let written = match self.luck() {
            Luck::Dead => return Err(io::Error::other("killed")),
            Luck::Half => System.write(path, &[&all[..all.len() / 2]]),
            Luck::Well if fits < all.len() => {
                System.write(path, &[&all[..fits]])?;
                Err(io::ErrorKind::StorageFull.into())
            }
            Luck::Well => System.write(path, parts),
        };
        self.count();
        written
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.act(|| System.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.act(|| System.remove(path))
    }

    fn touch(&self, path: &Path) -> io::Result<()> {
        self.act(|| System.touch(path))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        match self.0.room {
            Some(room) if self.0.is_honest => Ok(room.saturating_sub(size(path))),
            _ => Ok(u64::MAX),
        }
    }
}
