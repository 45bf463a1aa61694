//! What is remembered of a download, beside its file: while it is under way (`FILE.part.state`) and
//! after it (`FILE.pulled`).
//!
//! Lines of a word and its value, ended by a BLAKE3 hash of what is before it:
//!
//! ```text
//! ds4-pull 1
//! repository antirez/deepseek-v4-gguf
//! file DeepSeek-V4-Flash-….gguf
//! commit 0123… or -
//! identity sha256:ca22… or etag:"…"
//! size 86720111488
//! have 0-33554432 67108864-100663296
//! blake3 …
//! ```

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::spans::Spans;

const HEAD: &str = "ds4-pull 1";
/// No state is longer than this: pieces of 32 MiB of the largest file make 20,000 ranges.
const LONGEST: u64 = 4 << 20;

/// A download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) repository: String,
    pub(crate) file: String,
    /// The revision it is read from, so that all of it is of one.
    pub(crate) commit: Option<String>,
    /// What tells one version of the file from another.
    pub(crate) identity: String,
    pub(crate) size: u64,
    pub(crate) have: Spans,
}

impl State {
    /// Reads one; none if there is none.
    ///
    /// # Errors
    /// If there is something that is not a state, or damaged.
    pub(crate) fn load(path: &Path) -> Result<Option<Self>> {
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
        };
        let mut text = String::new();
        let read = file.take(LONGEST).read_to_string(&mut text);
        read.with_context(|| format!("cannot read {}", path.display()))?;
        let state = Self::parse(&text);
        Ok(Some(state.with_context(|| {
            format!("{} is not a download's state", path.display())
        })?))
    }

    /// Writes it aside and puts it in its place.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let cannot = || format!("cannot write {}", path.display());
        let folder = path.parent().with_context(cannot)?;
        // Made with mode 0600.
        let mut aside = tempfile::NamedTempFile::new_in(folder).with_context(cannot)?;
        aside
            .write_all(self.text().as_bytes())
            .with_context(cannot)?;
        aside.as_file().sync_all().with_context(cannot)?;
        aside.persist(path).with_context(cannot)?;
        Ok(())
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{HEAD}\nrepository {}\nfile {}\ncommit {}\nidentity {}\nsize {}\nhave",
            self.repository,
            self.file,
            self.commit.as_deref().unwrap_or("-"),
            self.identity,
            self.size
        );
        for span in self.have.iter() {
            let _ = write!(text, " {}-{}", span.start, span.end);
        }
        text.push('\n');
        let hash = blake3::hash(text.as_bytes());
        let _ = writeln!(text, "blake3 {hash}");
        text
    }

    fn parse(text: &str) -> Result<Self> {
        let end = text
            .find("blake3 ")
            .context("it has no checksum: cut off?")?;
        let (body, checksum) = text.split_at(end);
        let mut lines = body.lines();
        let head = lines.next().unwrap_or_default();
        ensure!(
            head == HEAD,
            "it begins with {head:?}; this program reads {HEAD:?}"
        );
        let expected = format!("blake3 {}\n", blake3::hash(body.as_bytes()));
        ensure!(checksum == expected, "its checksum does not match: damaged");
        let mut field = |name: &str| {
            let line = lines.next().unwrap_or_default();
            let value = line.strip_prefix(name);
            let value = value.with_context(|| format!("{line:?} stands where {name} should"))?;
            Ok::<_, anyhow::Error>(value.trim_start().to_owned())
        };
        let (repository, file) = (field("repository")?, field("file")?);
        let commit = Some(field("commit")?).filter(|commit| commit != "-");
        let (identity, size) = (field("identity")?, field("size")?.parse()?);
        let mut have = Spans::default();
        for span in field("have")?.split_whitespace() {
            let (start, end) = span.split_once('-').context("a range without an end")?;
            let (start, end): (u64, u64) = (start.parse()?, end.parse()?);
            if start >= end || end > size {
                bail!("the range {span} of a file of {size} bytes");
            }
            have.add(start..end);
        }
        Ok(Self {
            repository,
            file,
            commit,
            identity,
            size,
            have,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let mut have = Spans::default();
        have.add(0..100);
        have.add(200..1000);
        State {
            repository: "owner/name".into(),
            file: "a file.gguf".into(),
            commit: None,
            identity: "etag:\"x y\"".into(),
            size: 1000,
            have,
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        assert_eq!(State::load(&path).expect("nothing there"), None);
        for commit in [None, Some("abc".to_owned())] {
            let state = State { commit, ..state() };
            state.save(&path).expect("written");
            assert_eq!(State::load(&path).expect("ours"), Some(state));
        }
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn no_damage_goes_unnoticed() {
        let text = state().text();
        assert!(State::parse(&text).is_ok());
        for end in 0..text.len() {
            assert!(State::parse(&text[..end]).is_err(), "cut at {end}");
        }
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).expect("ASCII stays ASCII");
            assert!(State::parse(&changed).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn forged_ranges_are_refused() {
        for have in ["5-3", "0-1001", "x-3", "7", "-1-5"] {
            let body = format!(
                "{HEAD}\nrepository a/b\nfile f\ncommit -\nidentity i\nsize 1000\nhave {have}\n"
            );
            let text = format!("{body}blake3 {}\n", blake3::hash(body.as_bytes()));
            assert!(State::parse(&text).is_err(), "{have}");
        }
    }
}
