//! `ds4 ls`: which models are here.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;

use crate::manners;
use crate::pull::catalogue::{self, REPOSITORY};
use crate::pull::places::{self, Files, FolderArgs};
use crate::pull::state::State;
use crate::units::Bytes;

/// List the models that are here: pulled, half pulled, put into the folder, and in the Hugging Face
/// cache.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    folder: FolderArgs,
    /// Write JSON.
    #[arg(long)]
    json: bool,
}

/// A file.
struct Here {
    path: PathBuf,
    variant: Option<&'static str>,
    bytes: u64,
    /// Bytes it will have.
    size: u64,
    origin: Origin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Pulled,
    Pulling,
    /// Somebody put it there.
    Own,
    Cache,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = args.folder.path()?;
    let mut all = in_folder(&folder);
    all.extend(in_cache());
    if args.json {
        let all: Vec<_> = all.iter().map(Here::json).collect();
        return manners::print(&format!("{:#}\n", json!(all)));
    }
    if all.is_empty() {
        manners::say(&format!(
            "no models in {}; ds4 pull gets one",
            folder.display()
        ));
    }
    manners::print(&all.iter().map(Here::line).collect::<String>())
}

fn in_folder(folder: &Path) -> Vec<Here> {
    let here = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.to_owned();
        let meta = std::fs::metadata(&path)
            .ok()
            .filter(std::fs::Metadata::is_file)?;
        let whole = name.strip_suffix(".part").unwrap_or(&name);
        let is_part = whole.len() < name.len();
        let files = Files::of(folder, whole);
        let variant = catalogue::of_file(whole).map(|variant| variant.name);
        if is_part {
            let state = State::load(&files.state).ok()??;
            return Some(Here {
                variant,
                bytes: state.have.bytes(),
                size: state.size,
                origin: Origin::Pulling,
                path,
            });
        }
        let pulled = files.pulled().is_some();
        (pulled || name.ends_with(".gguf")).then_some(Here {
            variant,
            bytes: meta.len(),
            size: meta.len(),
            origin: if pulled { Origin::Pulled } else { Origin::Own },
            path,
        })
    };
    places::entries(folder)
        .into_iter()
        .filter_map(here)
        .collect()
}

fn in_cache() -> Vec<Here> {
    let cached = places::cached(REPOSITORY).into_iter();
    cached
        .filter(|(name, _)| name.ends_with(".gguf"))
        .map(|(name, cached)| Here {
            variant: catalogue::of_file(&name).map(|variant| variant.name),
            bytes: cached.bytes,
            size: cached.bytes,
            origin: Origin::Cache,
            path: cached.path,
        })
        .collect()
}

impl Here {
    fn state(&self) -> String {
        match self.origin {
            Origin::Pulled => "pulled".to_owned(),
            Origin::Pulling => {
                let percent = self.bytes.saturating_mul(100) / self.size.max(1);
                format!("{percent} % pulled")
            }
            Origin::Own => "not pulled".to_owned(),
            Origin::Cache => "Hugging Face".to_owned(),
        }
    }

    fn line(&self) -> String {
        let path = self.path.display().to_string();
        let path = manners::shown(&path, &std::io::stdout()).into_owned();
        format!(
            "{:<22} {:>8}  {:<12}  {path}\n",
            self.variant.unwrap_or("-"),
            Bytes(self.size),
            self.state()
        )
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "path": self.path.display().to_string(),
            "variant": self.variant,
            "bytes": self.bytes,
            "size": self.size,
            "complete": self.origin != Origin::Pulling,
            "origin": match self.origin {
                Origin::Pulled | Origin::Pulling => "pull",
                Origin::Own => "folder",
                Origin::Cache => "hugging-face-cache",
            },
        })
    }
}
