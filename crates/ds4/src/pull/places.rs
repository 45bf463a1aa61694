//! Folders: where models are kept, and where the Hugging Face cache is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use etcetera::BaseStrategy;

use crate::settings;

use super::state::State;

/// Which folder models are kept in.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FolderArgs {
    /// Where models are kept [default: ds4/models in the user's data folder].
    #[arg(long, value_name = "FOLDER", env = "DS4_MODELS")]
    folder: Option<PathBuf>,
}

impl FolderArgs {
    /// The folder; it need not exist.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        match &self.folder {
            Some(folder) => Ok(folder.clone()),
            None => Ok(settings::folders()?.data_dir().join("ds4").join("models")),
        }
    }
}

/// The files of one download.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// What is wanted.
    pub(crate) whole: PathBuf,
    /// What is there of it so far.
    pub(crate) part: PathBuf,
    /// Which bytes that are.
    pub(crate) state: PathBuf,
    /// Says that `whole` was made by us, and from what.
    pub(crate) receipt: PathBuf,
}

impl Files {
    /// Those of `name` in `folder`.
    pub(crate) fn of(folder: &Path, name: &str) -> Self {
        let with = |ending: &str| folder.join(format!("{name}{ending}"));
        Self {
            whole: with(""),
            part: with(".part"),
            state: with(".part.state"),
            receipt: with(".pulled"),
        }
    }

    /// The receipt, if there is a sound one of a file that is still there.
    pub(crate) fn pulled(&self) -> Option<State> {
        let state = State::load(&self.receipt).ok()??;
        let size = std::fs::metadata(&self.whole).ok()?.len();
        (size == state.size).then_some(state)
    }
}

/// A file in the Hugging Face cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cached {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// SHA-256 that the cache keeps it under, if it does.
    pub(crate) sha256: Option<String>,
}

/// All files of a repository in the cache, newest revisions not told apart from older ones.
pub(crate) fn cached(repository: &str) -> Vec<(String, Cached)> {
    let Some(hub) = cache_folder(|name| std::env::var_os(name)) else {
        return Vec::new();
    };
    cached_in(&hub, repository)
}

fn cached_in(hub: &Path, repository: &str) -> Vec<(String, Cached)> {
    let snapshots = hub
        .join(format!("models--{}", repository.replace('/', "--")))
        .join("snapshots");
    let mut files: Vec<(String, Cached)> = Vec::new();
    for revision in entries(&snapshots) {
        for path in entries(&revision) {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            // Follows the link to the blob; a link to one that is not complete leads nowhere.
            let Some(meta) = std::fs::metadata(&path)
                .ok()
                .filter(std::fs::Metadata::is_file)
            else {
                continue;
            };
            let blob = std::fs::canonicalize(&path).ok();
            let blob = blob.and_then(|blob| Some(blob.file_name()?.to_str()?.to_owned()));
            let cached = Cached {
                bytes: meta.len(),
                sha256: blob.filter(|blob| super::remote::is_sha256(blob)),
                path: path.clone(),
            };
            files.push((name.to_owned(), cached));
        }
    }
    files.sort_by(|a, b| (&a.0, &a.1.path).cmp(&(&b.0, &b.1.path)));
    files
}

/// Where the cache is, by the rules of the Hugging Face tools.
fn cache_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    folder("HF_HUB_CACHE")
        .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| Some(folder("HF_HOME")?.join("hub")))
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("huggingface/hub")))
        .or_else(|| Some(folder("HOME")?.join(".cache/huggingface/hub")))
}

/// What is in a folder; nothing if it cannot be read.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Bytes free where `folder` is, or where its nearest parent is.
pub(crate) fn free_bytes(folder: &Path) -> Result<u64> {
    let there = folder.ancestors().find(|folder| folder.exists());
    let there = there.filter(|there| !there.as_os_str().is_empty());
    let there = there.unwrap_or(Path::new("."));
    let stat = rustix::fs::statvfs(there)
        .with_context(|| format!("cannot ask for free space in {}", there.display()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_its_own_tools_look() {
        let with = |set: &[(&str, &str)]| {
            let find = |name: &str| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            cache_folder(find).map(|path| path.display().to_string())
        };
        assert_eq!(with(&[]), None);
        let home = ("HOME", "/h");
        assert_eq!(with(&[home]).as_deref(), Some("/h/.cache/huggingface/hub"));
        let xdg = ("XDG_CACHE_HOME", "/x");
        assert_eq!(with(&[home, xdg]).as_deref(), Some("/x/huggingface/hub"));
        let own = ("HF_HOME", "/f");
        assert_eq!(with(&[home, xdg, own]).as_deref(), Some("/f/hub"));
        let hub = ("HF_HUB_CACHE", "/c");
        assert_eq!(with(&[home, xdg, own, hub]).as_deref(), Some("/c"));
    }

    #[test]
    fn only_whole_files_of_the_cache_count() {
        let hub = tempfile::tempdir().expect("a folder");
        let repository = hub.path().join("models--owner--name");
        let (blobs, snapshot) = (repository.join("blobs"), repository.join("snapshots/abc"));
        std::fs::create_dir_all(&blobs).expect("made");
        std::fs::create_dir_all(&snapshot).expect("made");
        let hash = "ab".repeat(32);
        std::fs::write(blobs.join(&hash), "weights").expect("written");
        let link = |to: &str, name: &str| {
            let to = format!("../../blobs/{to}");
            std::os::unix::fs::symlink(to, snapshot.join(name)).expect("linked");
        };
        link(&hash, "a.gguf");
        link("missing.incomplete", "b.gguf");
        let files = cached_in(hub.path(), "owner/name");
        assert_eq!(files.len(), 1);
        assert_eq!((files[0].0.as_str(), files[0].1.bytes), ("a.gguf", 7));
        assert_eq!(files[0].1.sha256, Some(hash));
        assert_eq!(cached_in(hub.path(), "owner/other"), []);
    }
}
