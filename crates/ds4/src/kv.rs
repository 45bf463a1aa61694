//! `ds4 kv`: what conversations leave on disk, looked at and looked after; and the flags that say
//! where it goes.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use ds4_engine::{PAGE_TOKENS, Store};
use ds4_prompt::TokenId;
use ds4_store::directory::Item;
use ds4_store::disk::Options;
use ds4_store::files::System;
use ds4_store::{Directory, Disk, Head, Kind, Name, ReadError, Shelf, care};

use crate::interrupts::Interrupted;
use crate::manners::{self, Hinted};
use crate::units::{Bytes, grouped};
use crate::{loading, progress};

/// Bytes of the medium that are left free.
const FREE: u64 = 1_000_000_000;

/// The folder of a server's turns in that of conversations.
const TURNS: &str = "turns";

/// Where conversations are kept.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct KvArgs {
    /// Keep what was computed of conversations in this folder, so that one that goes on, in this
    /// process or another, starts where it ended. `ds4 kv` looks after it.
    #[arg(long, value_name = "DIR", env = "DS4_KV_DISK_DIR")]
    kv_disk_dir: Option<PathBuf>,
    /// Most megabytes in that folder; what saves the least goes first.
    #[arg(long, value_name = "MB", default_value_t = 8192, env = "DS4_KV_DISK_SPACE_MB",
        value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    kv_disk_space_mb: u64,
}

/// Where conversations are kept while others are at work, and after that.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TierArgs {
    #[command(flatten)]
    disk: KvArgs,
    /// Most megabytes of memory for what an NVIDIA card has no room for: it comes back faster than
    /// from disk. On the CPU the context itself is kept in memory.
    #[arg(long, value_name = "MB", default_value_t = 4096, env = "DS4_KV_HOST_MB",
        value_parser = clap::value_parser!(u64).range(0..=1 << 30))]
    kv_host_mb: u64,
}

impl TierArgs {
    /// The folder, if one was named.
    pub(crate) fn store(&self) -> Option<Store> {
        self.disk.store()
    }

    /// What is kept of what was said, if a folder was named.
    pub(crate) fn turns(&self) -> Option<(PathBuf, u64)> {
        self.disk.turns()
    }

    /// Bytes of memory.
    pub(crate) fn host_bytes(&self) -> u64 {
        self.kv_host_mb * 1_000_000
    }
}

impl KvArgs {
    /// What the engine is told of it.
    pub(crate) fn store(&self) -> Option<Store> {
        let dir = self.kv_disk_dir.clone()?;
        let bytes = self.bytes();
        let free = FREE;
        Some(Store { dir, bytes, free })
    }

    /// Where a server keeps what was said, and how many bytes of it.
    pub(crate) fn turns(&self) -> Option<(PathBuf, u64)> {
        let dir = self.kv_disk_dir.as_ref()?;
        Some((dir.join(TURNS), self.bytes() / 16))
    }

    fn bytes(&self) -> u64 {
        self.kv_disk_space_mb * 1_000_000
    }

    /// The folder, which has to be there.
    fn directory(&self) -> Result<Directory> {
        let Some(dir) = &self.kv_disk_dir else {
            return Err(Hinted::senseless(
                "no folder was named",
                "name the one that was given to ds4 with --kv-disk-dir DIR",
            ));
        };
        if !dir.join("frontiers").is_dir() {
            let error = format!("{} holds no conversations", dir.display());
            return Err(Hinted::senseless(
                error,
                "it is made by ds4 with --kv-disk-dir DIR",
            ));
        }
        Ok(Directory::at(dir))
    }
}

/// Look at and look after what conversations left in the folder of --kv-disk-dir.
///
/// There are frontiers, places a conversation can go on from, and pages, which they share. Removing
/// any of them costs a prefill, nothing else; a running ds4 may use the folder meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to do.
    #[arg(value_enum, value_name = "WHAT")]
    act: Act,
    /// The beginning of the name of the frontier to show.
    #[arg(required_if_eq("act", "show"))]
    name: Option<String>,
    /// Show the text as well, read with this model's tokenizer.
    #[arg(short, long, value_name = "FILE")]
    model: Option<PathBuf>,
    #[command(flatten)]
    kv: KvArgs,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Act {
    /// List the frontiers, last used first.
    Ls,
    /// Show one: what it is and what it needs.
    Show,
    /// Read and check everything; fails if something is damaged, and names it.
    Verify,
    /// Check everything and remove what is damaged, of no use, or beyond --kv-disk-space-mb.
    Gc,
    /// Remove everything.
    Clear,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let directory = args.kv.directory()?;
    let survey = || {
        let dir = directory.path().display();
        care::survey(&directory, PAGE_TOKENS).with_context(|| format!("cannot read {dir}"))
    };
    match args.act {
        Act::Ls => manners::print(&list(survey()?)),
        Act::Show => {
            let name = args.name.as_deref().unwrap_or_default();
            show(&survey()?, name, args.model.as_deref())
        }
        Act::Verify => verify(&directory, &survey()?),
        Act::Gc => gc(&args.kv, &survey()?),
        Act::Clear => {
            let cleared = care::clear(&directory, &System);
            let dir = directory.path().display();
            let (files, bytes) = cleared.with_context(|| format!("cannot clear {dir}"))?;
            let turns = ds4_server::forget(&directory.path().join(TURNS));
            let turns = turns.with_context(|| format!("cannot clear the turns in {dir}"))?;
            let (files, bytes) = (files + turns.0, bytes + turns.1);
            manners::say(&format!("{files} files removed, {}", Bytes(bytes)));
            Ok(())
        }
    }
}

fn list(mut items: Vec<Item>) -> String {
    items.sort_by(|a, b| b.used.total_cmp(&a.used).then(a.name.cmp(&b.name)));
    let mut text = String::new();
    let mut sums = BTreeMap::<Shelf, (usize, u64)>::new();
    for item in &items {
        let (count, bytes) = sums.entry(item.shelf).or_default();
        *count += 1;
        *bytes += item.bytes;
        let row = match &item.head {
            Ok(head) if item.shelf == Shelf::Frontiers => format!(
                "{}  {:>9}  {:<8}  {:>8}  {:>8}  {}",
                short(&item.name),
                grouped(head.at.into()),
                why(head),
                Bytes(item.bytes),
                ago(item.used),
                hex(&head.identity[..4])
            ),
            Ok(_) => continue,
            Err(error) => format!("{}  refused: {error}", short(&item.name)),
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{row}");
    }
    if !text.is_empty() {
        let head = format!(
            "{:<12}  {:>9}  {:<8}  {:>8}  {:>8}  {}\n",
            "name", "tokens", "kept at", "size", "used", "model"
        );
        text.insert_str(0, &head);
    }
    let sum = |shelf| sums.get(&shelf).copied().unwrap_or_default();
    let (frontiers, pages) = (sum(Shelf::Frontiers), sum(Shelf::Pages));
    let _ = writeln!(
        text,
        "{} frontiers, {}; {} pages, {}",
        frontiers.0,
        Bytes(frontiers.1),
        pages.0,
        Bytes(pages.1)
    );
    text
}

fn show(items: &[Item], name: &str, model: Option<&Path>) -> Result<()> {
    let frontiers = items.iter().filter(|item| item.shelf == Shelf::Frontiers);
    let mut found = frontiers.filter(|item| item.name.to_string().starts_with(name));
    let (Some(item), None) = (found.next(), found.next()) else {
        return Err(Hinted::senseless(
            format!("there is not one frontier whose name begins with {name}"),
            "ds4 kv ls lists them",
        ));
    };
    let head = match &item.head {
        Ok(head) => head,
        Err(error) => bail!("{} is refused: {error}", item.name),
    };
    let heads = items.iter().filter_map(|item| item.head.as_ref().ok());
    let pages: HashMap<Name, &Head> = heads
        .filter(|head| head.kind.is_none())
        .map(|head| (head.name, head))
        .collect();
    let (mut path, mut at) = (vec![head], head.before);
    while let Some(page) = pages.get(&at) {
        path.push(page);
        at = page.before;
    }
    let is_whole = at == head.root;
    let bytes: u64 = path.iter().map(|head| head.record_bytes()).sum();
    let mut text = format!(
        "name     {}\ntokens   {}\nkept at  {}\nused     {}\nmodel    {}\nneeds    {} pages, {} in \
         all{}\n",
        item.name,
        grouped(head.at.into()),
        why(head),
        ago(item.used),
        hex(&head.identity),
        head.at as usize / PAGE_TOKENS,
        Bytes(bytes),
        if is_whole { "" } else { "; some are missing" }
    );
    if let Some(model) = model {
        let file = loading::open(Some(model))?;
        let tokenizer = loading::tokenizer(&file)?;
        let tokens = path.iter().rev().flat_map(|head| head.tokens.iter());
        let bytes: Vec<u8> = tokens
            .flat_map(|&token| tokenizer.token_bytes(TokenId(token)))
            .copied()
            .collect();
        let _ = write!(text, "\n{}\n", String::from_utf8_lossy(&bytes));
    }
    manners::print(&text)
}

fn verify(directory: &Directory, items: &[Item]) -> Result<()> {
    let (mut damaged, mut done) = (0, 0);
    let all = items.iter().map(|item| item.bytes).sum();
    let (interrupted, _) = progress::bytes(|progress| {
        items.iter().any(|item| {
            if let Err(refused) = check(directory, item) {
                damaged += 1;
                let path = directory.file(item.shelf, item.name);
                manners::say(&format!("{}: {refused}", path.display()));
            }
            done += item.bytes;
            progress(done, all).is_break()
        })
    })?;
    if interrupted {
        return Err(Interrupted.into());
    }
    if damaged > 0 {
        return Err(Hinted::failure(
            format!("{damaged} of {} files are damaged", items.len()),
            "each is refused when it is met, and costs a prefill; ds4 kv gc removes them",
        ));
    }
    manners::say(&format!("{} files sound, {}", items.len(), Bytes(all)));
    Ok(())
}

fn check(directory: &Directory, item: &Item) -> Result<(), String> {
    match &item.head {
        Err(error) => Err(error.to_string()),
        Ok(_) => match care::verify(directory, item, PAGE_TOKENS) {
            // Somebody removed it meanwhile.
            Err(ReadError::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(()),
            verified => verified.map_err(|error| error.to_string()),
        },
    }
}

fn gc(kv: &KvArgs, before: &[Item]) -> Result<()> {
    let Some(store) = kv.store() else {
        return Ok(());
    };
    let disk = Disk::open(
        Options {
            dir: store.dir,
            bytes: store.bytes,
            free: store.free,
            page_tokens: PAGE_TOKENS,
            queue: 1,
        },
        Box::new(System),
        || {},
    )?;
    let bytes: u64 = before.iter().map(|item| item.bytes).sum();
    let (mut damaged, mut done) = (0, 0);
    let (interrupted, _) = progress::bytes(|progress| {
        before.iter().any(|item| {
            damaged += usize::from(!care::repair(&disk, item));
            done += item.bytes;
            progress(done, bytes).is_break()
        })
    })?;
    if interrupted {
        return Err(Interrupted.into());
    }
    disk.tidy();
    let report = disk.report();
    manners::say(&format!(
        "{damaged} files were damaged; {} removed; {} frontiers and {} pages stay, {}",
        Bytes(bytes.saturating_sub(report.used)),
        report.frontiers,
        report.pages,
        Bytes(report.used)
    ));
    match report.trouble {
        Some(trouble) => bail!(trouble),
        None => Ok(()),
    }
}

fn why(head: &Head) -> &'static str {
    match head.kind {
        None => "page",
        Some(Kind::Distance) => "distance",
        Some(Kind::Turn) => "answer",
        Some(Kind::Cut) => "cut",
    }
}

fn short(name: &Name) -> String {
    hex(&name.0[..6])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How long ago a moment was.
fn ago(used: f64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0.0, |now| (now.as_secs_f64() - used).max(0.0)) as u64;
    let units = [(86400, "d"), (3600, "h"), (60, "min")];
    match units.into_iter().find(|&(unit, _)| seconds >= unit) {
        Some((unit, name)) => format!("{} {name}", seconds / unit),
        None => format!("{seconds} s"),
    }
}
