//! `ds4 pull`: the published weight files, downloaded with care.

pub(crate) mod catalogue;
mod fetch;
pub(crate) mod fits;
pub(crate) mod places;
mod remote;
mod spans;
pub(crate) mod state;
mod verify;

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, IsTerminal};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ds4_gguf::Gguf;
use indicatif::{ProgressBar, ProgressStyle};

use self::catalogue::{REPOSITORY, Size, Variant};
use self::fetch::{End, Manner};
use self::places::{Files, FolderArgs};
use self::remote::{Found, Place, Problem, Remote};
use self::spans::Spans;
use self::state::State;
use crate::hardware;
use crate::interrupts::{self, Interrupted, Interrupts};
use crate::manners::{self, Hinted};
use crate::units::Bytes;

/// Download a published weight file.
///
/// Prints the file's path to stdout, so that `ds4 run -m "$(ds4 pull q2-imatrix)"` works. What was
/// interrupted goes on where it was. A file that the Hugging Face cache holds is used from there.
/// Without a name the best variant that this machine holds is proposed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Which file: a name of --list, or OWNER/REPOSITORY/FILE for any other.
    #[arg(value_name = "VARIANT")]
    variant: Option<String>,
    /// Show the published files and what fits this machine; download nothing.
    #[arg(long, conflicts_with = "variant")]
    list: bool,
    #[command(flatten)]
    folder: FolderArgs,
    /// Do not ask before the proposed variant is downloaded.
    #[arg(short, long)]
    yes: bool,
    /// Ranges downloaded at once.
    #[arg(long, value_name = "N", default_value_t = 8, env = "DS4_PULL_CONNECTIONS",
        value_parser = clap::value_parser!(u16).range(1..=64))]
    connections: u16,
    /// Failures in a row, without a byte in between, after which to give up.
    #[arg(long, value_name = "N", default_value_t = 8)]
    patience: u32,
    /// Seconds without a byte after which a connection is given up.
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    idle: u64,
    /// The revision of the repository: a branch, tag or commit.
    #[arg(long, value_name = "NAME", default_value = "main")]
    revision: String,
    /// Accept a file that is not the one this program knows by this name.
    #[arg(long)]
    newer: bool,
}

const EXAMPLES: &str = "\
Environment: HF_TOKEN is sent to the endpoint and nobody else; HF_ENDPOINT is another hub;
HTTPS_PROXY, ALL_PROXY and NO_PROXY are honoured; HF_HOME and HF_HUB_CACHE say where the cache is.

Examples:
  ds4 pull --list            what there is, and what fits
  ds4 pull                   what fits best, after a question
  ds4 pull q2-imatrix
  ds4 ls                     what is here
  ds4 rm q2-imatrix          gone again";

/// What is to be downloaded.
struct Wanted {
    place: Place,
    /// What is known of it.
    known: Option<&'static Variant>,
    name: String,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.list {
        return manners::print(&list()?);
    }
    let wanted = match &args.variant {
        Some(name) => args.wanted(name)?,
        None => args.propose()?,
    };
    let folder = args.folder.path()?;
    let files = Files::of(&folder, local_name(&wanted.place.file));
    let interrupts = interrupts::catch()?;
    if files.pulled().is_some() {
        manners::say(&format!("{}: already here", wanted.name));
    } else if let Some(path) = from_cache(&wanted) {
        manners::say(&format!("{}: in the Hugging Face cache", wanted.name));
        return manners::print(&format!("{path}\n"));
    } else {
        download(args, &wanted, &files, &interrupts)?;
    }
    manners::print(&format!("{}\n", files.whole.display()))
}

impl Args {
    fn wanted(&self, name: &str) -> Result<Wanted> {
        let place = |repository: &str, file: &str| Place {
            repository: repository.to_owned(),
            file: file.to_owned(),
            revision: self.revision.clone(),
        };
        if let Some(known) = catalogue::named(name) {
            return Ok(Wanted {
                place: place(REPOSITORY, known.file),
                known: Some(known),
                name: name.to_owned(),
            });
        }
        let parts: Vec<&str> = name.splitn(3, '/').collect();
        let [owner, repository, file] = parts[..] else {
            return Err(Hinted::senseless(
                format!("there is no variant {name}"),
                "ds4 pull --list names them; OWNER/REPOSITORY/FILE is any other file of the hub",
            ));
        };
        let plain = |part: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            !part.is_empty() && part.chars().all(allowed) && !part.chars().all(|c| c == '.')
        };
        let parts = [owner, repository].into_iter().chain(file.split('/'));
        if let Some(odd) = parts.into_iter().find(|part| !plain(part)) {
            return Err(Hinted::senseless(
                format!("{odd:?} in {name} is no name on a hub"),
                "names have letters, digits, dots, dashes and underscores",
            ));
        }
        Ok(Wanted {
            place: place(&format!("{owner}/{repository}"), file),
            known: None,
            name: name.to_owned(),
        })
    }

    /// The variant that fits this machine, once the user agrees.
    fn propose(&self) -> Result<Wanted> {
        let memory = hardware::memory().context("cannot tell how much memory there is")?;
        let choice = fits::choose(memory.total, &hardware::gpus()).ok_or_else(|| {
            Hinted::failure(
                format!("no published file fits {} of memory", Bytes(memory.total)),
                "ds4 pull --list shows them all; a name downloads one for another machine",
            )
        })?;
        manners::say(&choice.why);
        let name = choice.variant.name;
        if !self.yes && !agrees(&format!("download {}?", Bytes(choice.variant.size.bytes())))? {
            return Err(Hinted::failure(
                "nothing was downloaded",
                format!("ds4 pull {name} downloads it, or ds4 pull --yes"),
            ));
        }
        self.wanted(name)
    }

    fn manner(&self) -> Manner {
        Manner {
            connections: self.connections.into(),
            patience: self.patience,
        }
    }
}

/// Asks on the terminal; no without one.
pub(crate) fn agrees(question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(false);
    }
    manners::say(&format!("{question} [y/N]"));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The last part of a path in a repository.
fn local_name(file: &str) -> &str {
    file.rsplit_once('/').map_or(file, |parts| parts.1)
}

/// The file in the Hugging Face cache, if it is there and the right one.
fn from_cache(wanted: &Wanted) -> Option<String> {
    let files = places::cached(&wanted.place.repository);
    let is_it = |(name, cached): &&(String, places::Cached)| {
        let right_size = match wanted.known.map(|known| known.size) {
            Some(Size::Exact(bytes)) => cached.bytes == bytes,
            _ => true,
        };
        let known = wanted.known.and_then(|known| known.sha256);
        let right_hash = match (known, cached.sha256.as_deref()) {
            (Some(known), Some(hash)) => known == hash,
            _ => true,
        };
        *name == wanted.place.file && right_size && right_hash
    };
    let found = files.iter().find(is_it)?;
    Some(found.1.path.display().to_string())
}

/// Everything from asking where the file is to giving it its name.
fn download(args: &Args, wanted: &Wanted, files: &Files, interrupts: &Interrupts) -> Result<()> {
    if files.whole.exists() {
        return Err(Hinted::failure(
            format!(
                "{} exists, and ds4 pull did not make it",
                files.whole.display()
            ),
            "move it away, or pull to another --folder",
        ));
    }
    let folder = files.whole.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let remote = Remote::new(Duration::from_secs(args.idle))?;
    let earlier = earlier(wanted, files);
    let (place, found) = find(&remote, wanted, earlier.as_ref(), args.patience, interrupts)?;
    check_known(args, wanted, &found)?;
    let mut state = resumed(earlier, &place, &found);
    let missing = found.size - state.have.bytes();
    let free = places::free_bytes(folder)?;
    if missing > free {
        return Err(Hinted::failure(
            format!(
                "{} needs {} more in {}; {} is free",
                wanted.name,
                Bytes(missing),
                folder.display(),
                Bytes(free)
            ),
            "free some space, or pull to another --folder (DS4_MODELS)",
        ));
    }
    let part = open_part(files, &state)?;
    let bar = bar(&wanted.name, &state);
    let end = fetch::run(
        remote,
        (place, found.clone()),
        part,
        (&mut state, &files.state),
        args.manner(),
        |have| {
            bar.set_position(have);
            interrupts.is_pressed()
        },
    );
    bar.finish_and_clear();
    match end? {
        End::Complete => finish(wanted, &found, &state, files),
        End::Stopped => {
            let (have, size) = (Bytes(state.have.bytes()), Bytes(state.size));
            manners::say(&format!(
                "{have} of {size} are kept; the same command goes on from there"
            ));
            Err(Interrupted.into())
        }
        End::Changed(why) => {
            discard(files)?;
            Err(Hinted::failure(
                format!(
                    "{} was replaced while it was downloaded: {why}",
                    wanted.name
                ),
                "what was there of the old one is removed; the same command gets the new one",
            ))
        }
    }
}

/// What an earlier download left, if it can be used.
fn earlier(wanted: &Wanted, files: &Files) -> Option<State> {
    let state = State::load(&files.state);
    let part = std::fs::metadata(&files.part);
    let unusable = match (state, part) {
        (Ok(Some(state)), Ok(part)) => {
            let Place {
                repository, file, ..
            } = &wanted.place;
            if state.repository != *repository || state.file != *file {
                format!("it is of {}/{}", state.repository, state.file)
            } else if part.len() != state.size {
                format!("it has {} bytes instead of {}", part.len(), state.size)
            } else {
                return Some(state);
            }
        }
        (Err(error), _) => format!("{error:#}"),
        (Ok(None), Ok(_)) => "nothing says which bytes are there".to_owned(),
        (Ok(_), Err(_)) => return None,
    };
    let part = files.part.display();
    manners::say(&format!(
        "{part} cannot be gone on with: {unusable}; starting over"
    ));
    None
}

/// Where the file is: at the revision of the earlier download, so that all of it is of one.
fn find(
    remote: &Remote,
    wanted: &Wanted,
    earlier: Option<&State>,
    patience: u32,
    interrupts: &Interrupts,
) -> Result<(Place, Found)> {
    let mut place = wanted.place.clone();
    if let Some(commit) = earlier.and_then(|state| state.commit.as_ref()) {
        place.revision.clone_from(commit);
    }
    let mut failures = 0;
    let found = loop {
        let (why, pause) = match remote.find(&place) {
            Ok(found) => break found,
            Err(Problem::Final(error)) => return Err(error),
            Err(Problem::Passing(why, pause)) => (why, pause),
            Err(Problem::Expired(why)) => (why, None),
        };
        failures += 1;
        if failures > patience {
            bail!("cannot find {}: {why}", wanted.name);
        }
        manners::say(&format!("{why}; trying again"));
        let pause = pause.unwrap_or(Duration::from_millis(250) * 2u32.pow(failures.min(7)));
        let mut left = pause;
        while !left.is_zero() {
            if interrupts.is_pressed() {
                return Err(Interrupted.into());
            }
            let step = left.min(Duration::from_millis(100));
            std::thread::sleep(step);
            left -= step;
        }
    };
    if let Some(commit) = &found.commit {
        place.revision.clone_from(commit);
    }
    Ok((place, found))
}

/// Refuses a file that is not the one known by this name.
fn check_known(args: &Args, wanted: &Wanted, found: &Found) -> Result<()> {
    let Some(known) = wanted.known.filter(|_| !args.newer) else {
        return Ok(());
    };
    let other = match (known.size, known.sha256, found.sha256.as_deref()) {
        (Size::Exact(size), ..) if size != found.size => {
            format!("{} bytes; the known one has {size}", found.size)
        }
        (_, Some(hash), Some(other)) if !hash.eq_ignore_ascii_case(other) => {
            format!("SHA-256 {other}; the known one has {hash}")
        }
        _ => return Ok(()),
    };
    Err(Hinted::failure(
        format!("{} at {} has {other}", wanted.name, wanted.place.repository),
        "it was replaced, or the server is not what it seems; --newer takes what is there",
    ))
}

/// The earlier state, if it is of this version of the file; else an empty one.
fn resumed(earlier: Option<State>, place: &Place, found: &Found) -> State {
    let same = |state: &State| {
        let known = found.identity != "none";
        known && (&state.identity, state.size) == (&found.identity, found.size)
    };
    if earlier.as_ref().is_some_and(|state| !same(state)) {
        manners::say("the file is another one than when the download began: starting over");
    }
    earlier.filter(same).unwrap_or_else(|| State {
        repository: place.repository.clone(),
        file: place.file.clone(),
        commit: found.commit.clone(),
        identity: found.identity.clone(),
        size: found.size,
        have: Spans::default(),
    })
}

/// The file that bytes go to, as long as the whole and ours alone.
fn open_part(files: &Files, state: &State) -> Result<File> {
    let cannot = || format!("cannot write {}", files.part.display());
    let mut options = OpenOptions::new();
    let part = options
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&files.part);
    let part = part.with_context(cannot)?;
    if part.try_lock().is_err() {
        bail!(
            "{} is being downloaded by another process",
            files.part.display()
        );
    }
    if state.have.bytes() == 0 {
        part.set_len(0).with_context(cannot)?;
    }
    part.set_len(state.size).with_context(cannot)?;
    state.save(&files.state)?;
    Ok(part)
}

fn bar(name: &str, state: &State) -> ProgressBar {
    let bar = match manners::is_quiet() {
        true => ProgressBar::hidden(),
        false => ProgressBar::new(state.size),
    };
    let style = "{msg} {wide_bar} {decimal_bytes} of {decimal_total_bytes}, \
                 {decimal_bytes_per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
    bar.set_message(name.to_owned());
    bar.set_position(state.have.bytes());
    // What was there before says nothing about the rate.
    bar.reset_eta();
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Checks the whole file and gives it its name.
fn finish(wanted: &Wanted, found: &Found, state: &State, files: &Files) -> Result<()> {
    let name = &wanted.name;
    let announced = found
        .sha256
        .as_deref()
        .or(wanted.known.and_then(|known| known.sha256));
    match announced {
        Some(announced) => {
            manners::say(&format!("{name}: checking SHA-256"));
            let hash = verify::sha256(&files.part)?;
            if !hash.eq_ignore_ascii_case(announced) {
                discard(files)?;
                return Err(Hinted::failure(
                    format!("{name} arrived damaged: SHA-256 {hash} instead of {announced}"),
                    "what arrived is removed; the same command starts over",
                ));
            }
        }
        None => manners::say(&format!(
            "{name}: no SHA-256 is published; only its size was checked"
        )),
    }
    if announced.is_none() && wanted.place.file.ends_with(".gguf") {
        let opened = Gguf::open(&files.part).map(drop);
        if let Err(error) = opened {
            discard(files)?;
            return Err(error).with_context(|| format!("{name} is no weight file"));
        }
    }
    let cannot = || format!("cannot keep {}", files.whole.display());
    File::open(&files.part)
        .and_then(|part| part.sync_all())
        .with_context(cannot)?;
    // The receipt comes first: a file without one would not be ours to remove.
    state.save(&files.receipt)?;
    std::fs::rename(&files.part, &files.whole).with_context(cannot)?;
    std::fs::remove_file(&files.state).with_context(cannot)?;
    let folder = files.whole.parent().unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(cannot)?;
    manners::say(&format!("{name}: {} downloaded", Bytes(state.size)));
    Ok(())
}

/// Removes what is there of a download.
pub(crate) fn discard(files: &Files) -> Result<()> {
    for path in [&files.state, &files.part] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The published files.
fn list() -> Result<String> {
    let memory = hardware::memory().map(|memory| memory.total);
    let gpus = hardware::gpus();
    let room = gpus.iter().map(|gpu| gpu.memory).chain(memory).max();
    let mut text = format!("{REPOSITORY}\n\n");
    for variant in catalogue::VARIANTS {
        let size = match variant.size {
            Size::Exact(bytes) => Bytes(bytes).to_string(),
            Size::About(bytes) => format!("~{}", Bytes(bytes)),
        };
        let hash = variant
            .sha256
            .map_or("no SHA-256 known", |hash| &hash[..16]);
        let fits = match (variant.kind, room) {
            (catalogue::Kind::Model, Some(room)) => {
                match fits::needed(variant.size.bytes()) <= room {
                    true => "fits",
                    false => "too large here",
                }
            }
            _ => "",
        };
        let (name, note) = (variant.name, variant.note);
        text += &format!("{name:<23} {size:>8}  {hash:<16}  {fits:<14}  {note}\n");
    }
    text += "\nSizes with ~ are about right. Where no SHA-256 is known, the server's is checked.\n";
    if let Some(choice) = memory.and_then(|memory| fits::choose(memory, &gpus)) {
        text += &format!("For this machine: {}\n", choice.why);
    }
    Ok(text)
}
