//! Lines typed by a person: editing, history, several lines, completion of commands.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use etcetera::BaseStrategy;
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Helper};

use super::commands;
use super::transcript::private_folder;
use crate::{manners, settings};

/// Lines of history to keep.
const MOST_LINES: usize = 1000;

const PROMPT: &str = "ds4> ";

/// What was typed.
pub(super) enum Line {
    /// A line, or several.
    Text(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D.
    End,
}

pub(super) struct Editor {
    inner: rustyline::Editor<Guide, FileHistory>,
    history: Option<PathBuf>,
}

impl Editor {
    /// An editor on the terminal, with the history of earlier chats if it may keep one.
    pub(super) fn new(keeps_history: bool) -> Result<Self> {
        let config = Config::builder()
            .max_history_size(MOST_LINES)
            .and_then(|config| config.history_ignore_dups(true))
            .context("cannot set up the line editor")?
            .build();
        let mut inner =
            rustyline::Editor::with_config(config).context("cannot use this terminal")?;
        inner.set_helper(Some(Guide(FilenameCompleter::new())));
        let history = match keeps_history.then(place).transpose() {
            Ok(history) => history,
            Err(error) => {
                manners::say(&format!("no history is kept: {error:#}"));
                None
            }
        };
        if let Some(path) = &history {
            // The first chat has none.
            let _ = inner.load_history(path);
        }
        Ok(Self { inner, history })
    }

    /// The next line.
    pub(super) fn read(&mut self) -> Result<Line> {
        match self.inner.readline(PROMPT) {
            Ok(text) => {
                self.remember(&text);
                Ok(Line::Text(joined(&text)))
            }
            Err(ReadlineError::Interrupted) => Ok(Line::Interrupt),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(error) => Err(error).context("cannot read from the terminal"),
        }
    }

    /// Keeps the line for the next chat, at once: who is killed loses nothing.
    fn remember(&mut self, text: &str) {
        if text.trim().is_empty() || !self.inner.add_history_entry(text).unwrap_or(false) {
            return;
        }
        if let Some(path) = &self.history
            && let Err(error) = self.inner.append_history(path)
        {
            manners::say(&format!(
                "cannot keep the history in {}: {error}",
                path.display()
            ));
            self.history = None;
        }
    }
}

/// The file of the history, in a folder of its own.
fn place() -> Result<PathBuf> {
    let folders = settings::folders()?;
    let state = folders.state_dir().unwrap_or_else(|| folders.data_dir());
    let folder = state.join("ds4");
    private_folder(&folder)?;
    Ok(folder.join("history"))
}

/// Whether more lines follow: after a backslash, or inside a fence of three backticks.
fn continues(text: &str) -> bool {
    let fences = text
        .lines()
        .filter(|line| line.trim_start().starts_with("```"));
    text.ends_with('\\') || fences.count() % 2 == 1
}

/// The text that was meant: a backslash at the end of a line only carried on.
fn joined(text: &str) -> String {
    text.replace("\\\n", "\n").trim().to_owned()
}

/// What helps while typing.
struct Guide(FilenameCompleter);

impl Helper for Guide {}
impl Highlighter for Guide {}

impl Hinter for Guide {
    type Hint = String;
}

impl Validator for Guide {
    fn validate(&self, typed: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match continues(typed.input()) {
            true => ValidationResult::Incomplete,
            false => ValidationResult::Valid(None),
        })
    }
}

impl Completer for Guide {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = &line[..at];
        if !typed.starts_with('/') {
            return Ok((at, Vec::new()));
        }
        if typed.contains(' ') {
            return self.0.complete(line, at, context);
        }
        let names = commands::NAMES.iter().map(|(name, ..)| *name);
        let fitting = names.filter(|name| name.starts_with(typed));
        let pairs = fitting.map(|name| Pair {
            display: name.to_owned(),
            replacement: name.to_owned(),
        });
        Ok((0, pairs.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::{continues, joined};

    #[test]
    fn lines_go_on_after_a_backslash_and_inside_a_fence() {
        for (text, more) in [
            ("hello", false),
            ("hello \\", true),
            ("hello \\\nworld", false),
            ("```", true),
            ("look:\n```rust\nfn main() {}", true),
            ("look:\n```rust\nfn main() {}\n```", false),
            ("", false),
        ] {
            assert_eq!(continues(text), more, "{text:?}");
        }
        assert_eq!(joined("one \\\ntwo\n"), "one \ntwo");
    }
}
