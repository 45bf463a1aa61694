//! `ds4 rm`: what `ds4 pull` made, removed.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::manners::{self, Hinted};
use crate::pull;
use crate::pull::catalogue;
use crate::pull::places::{Files, FolderArgs};
use crate::units::Bytes;

/// Remove what `ds4 pull` made: a model, or what is there of one.
///
/// Nothing else is touched, neither other files in the folder nor the Hugging Face cache.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names of variants, or of files as `ds4 ls` shows them.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    folder: FolderArgs,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = args.folder.path()?;
    // All names are looked up before anything is removed.
    let found: Vec<(Files, u64)> = args
        .names
        .iter()
        .map(|name| {
            let file = catalogue::named(name).map_or(name.as_str(), |variant| variant.file);
            let file = file.rsplit_once('/').map_or(file, |parts| parts.1);
            let file = file.strip_suffix(".part").unwrap_or(file);
            let files = Files::of(&folder, file);
            let bytes = of_ours(&files).ok_or_else(|| {
                let hint = match files.whole.exists() {
                    true => "the file is there, but ds4 pull did not make it: remove it yourself",
                    false => "ds4 ls shows what is here",
                };
                let shown = folder.display();
                Hinted::failure(format!("ds4 pull made no {name} in {shown}"), hint)
            })?;
            Ok((files, bytes))
        })
        .collect::<Result<_>>()?;
    for (files, bytes) in found {
        let whole = files.whole.display();
        let question = format!("remove {whole}, {}?", Bytes(bytes));
        if !args.yes && !pull::agrees(&question)? {
            return Err(Hinted::failure(
                format!("{whole} was not removed"),
                "answer y, or use --yes",
            ));
        }
        remove(&files)?;
        manners::say(&format!("removed {whole}"));
    }
    Ok(())
}

/// Bytes of what pull made; none if it made nothing of that name.
fn of_ours(files: &Files) -> Option<u64> {
    if let Some(state) = files.pulled() {
        return Some(state.size);
    }
    let is_ours = files.state.exists() && files.part.exists();
    is_ours.then(|| {
        use std::os::unix::fs::MetadataExt;
        // What it takes, rather than how long it will be.
        std::fs::metadata(&files.part).map_or(0, |part| part.blocks() * 512)
    })
}

fn remove(files: &Files) -> Result<()> {
    pull::discard(files)?;
    if files.pulled().is_some() {
        // The receipt last: what is left after a crash can still be removed.
        for path in [&files.whole, &files.receipt] {
            let path: &PathBuf = path;
            std::fs::remove_file(path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}
