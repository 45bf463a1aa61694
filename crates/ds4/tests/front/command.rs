//! A folder with a model, and the program in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

/// Models of noise, made once.
static MODELS: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    for line in ["mini --recipe q2 -o mini.gguf", "mini -o endless.gguf"] {
        let words = line.split(' ');
        let made = program(folder.path())
            .arg("synth")
            .args(words)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", text(&made.stderr));
    }
    folder
});

/// The path of a model.
pub(crate) fn model() -> String {
    MODELS.path().join("mini.gguf").display().to_string()
}

/// The path of one whose likeliest tokens go round in circles: no answer ends by itself.
pub(crate) fn endless_model() -> String {
    MODELS.path().join("endless.gguf").display().to_string()
}

/// A home of its own.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where a file of this home is.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes the settings file.
    pub(crate) fn set(&self, settings: &str) {
        let folder = self.file("config/ds4");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.toml"), settings).unwrap();
    }

    /// The program, with nothing of whoever runs the tests.
    pub(crate) fn program(&self) -> Command {
        program(self.path())
    }

    /// Runs a line of words.
    pub(crate) fn run(&self, line: &str) -> Ran {
        self.run_words(&line.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn run_words(&self, words: &[&str]) -> Ran {
        ran(self.program().args(words))
    }
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn ran(command: &mut Command) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    Ran {
        code: status.code().unwrap(),
        out: text(&stdout),
        err: text(&stderr),
    }
}

fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ds4"));
    command
        .env_clear()
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home.join("config"))
        .env("XDG_STATE_HOME", home.join("state"))
        .env("XDG_DATA_HOME", home.join("data"))
        .current_dir(home)
        .stdin(Stdio::null());
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
