//! How every verb speaks and ends: data on stdout, talk on stderr, error lines with causes and a
//! hint, exit codes, a closed pipe.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Error, Result};
use ds4_gguf::Error as FileError;
use ds4_model::BindError;
use ds4_model::synthetic::SynthError;

use crate::interrupts::{self, Interrupted};

/// Exit code of a command line, or a settings file, that makes no sense.
const SENSELESS: u8 = 2;

/// Dim text on a terminal, and the end of it. Only for `anstream`, which leaves it out where it
/// does not belong.
pub(crate) const DIM: &str = "\x1b[2m";
/// Ends [`DIM`].
pub(crate) const PLAIN: &str = "\x1b[0m";

/// Whether only errors are said.
static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on nothing but errors is said.
pub(crate) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether nothing but errors is said.
pub(crate) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// The exit code of a verb; an error is explained on stderr.
pub(crate) fn end(done: Result<()>) -> ExitCode {
    let Err(error) = done else {
        return ExitCode::SUCCESS;
    };
    if is_closed_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    if !error.is::<Interrupted>() {
        explain(&error, &mut anstream::stderr().lock());
    }
    if error.is::<Interrupted>() || interrupts::were_pressed() {
        return ExitCode::from(interrupts::EXIT_CODE);
    }
    let code = error
        .downcast_ref()
        .map_or(1, |hinted: &Hinted| hinted.code);
    ExitCode::from(code)
}

/// Says what went wrong, why, and the cure where it is known.
pub(crate) fn explain(error: &Error, out: &mut impl Write) {
    // Nothing is left to do where stderr cannot be written.
    let _ = writeln!(out, "\x1b[1;31merror:\x1b[0m {error}");
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // An error that prints its source already has said this.
        if !said.contains(&cause) {
            let _ = writeln!(out, "  because: {cause}");
            said = cause;
        }
    }
    if let Some(hint) = hint(error) {
        let _ = writeln!(out, "\x1b[36mhint:\x1b[0m {hint}");
    }
}

/// A failure whose cure only the verb knows.
#[derive(Debug)]
pub(crate) struct Hinted {
    message: String,
    hint: Cow<'static, str>,
    code: u8,
}

impl Hinted {
    /// Something failed.
    pub(crate) fn failure(message: impl Into<String>, hint: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Self {
            message: message.into(),
            hint: hint.into(),
            code: 1,
        })
    }

    /// What was asked makes no sense, as a command line that does not parse.
    pub(crate) fn senseless(
        message: impl Into<String>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Error {
        Error::new(Self {
            message: message.into(),
            hint: hint.into(),
            code: SENSELESS,
        })
    }
}

impl std::error::Error for Hinted {}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The cure, where it is known.
fn hint(error: &Error) -> Option<&str> {
    if let Some(hinted) = error.downcast_ref::<Hinted>() {
        return Some(&hinted.hint);
    }
    error.chain().find_map(|cause| {
        // A transparent error hides its inside from the chain.
        let file = match cause.downcast_ref() {
            Some(SynthError::File(file)) => Some(file),
            _ => cause.downcast_ref(),
        };
        match (file, cause.downcast_ref()) {
            (Some(FileError::NoSpace { .. }), _) => Some(
                "free some space, write elsewhere, or store fewer layers: --share 1, --layers 4",
            ),
            (_, Some(BindError::Architecture { .. })) => {
                Some("ds4 runs DeepSeek V4 only: files whose general.architecture is deepseek4")
            }
            (_, Some(BindError::Mismatch { .. })) => {
                Some("the file is damaged, unfinished or made for another program: fetch it again")
            }
            _ => None,
        }
    })
}

fn is_closed_pipe(error: &Error) -> bool {
    let io = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes a verb's data to stdout.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes a line of talk to stderr.
pub(crate) fn say(line: &str) {
    if !is_quiet() {
        let _ = writeln!(anstream::stderr(), "{line}");
    }
}

/// Text from a model or a file as it may be shown where `stream` leads: on a terminal control
/// characters are made visible, since a terminal obeys them; elsewhere the text is data and stays
/// as it is.
pub(crate) fn shown<'t>(text: &'t str, stream: &impl IsTerminal) -> Cow<'t, str> {
    let obeyed = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !stream.is_terminal() || !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let visible = |c: char| match u32::from(c) {
        _ if !obeyed(c) => c,
        code @ 0..0x20 => char::from_u32(0x2400 + code).unwrap_or(char::REPLACEMENT_CHARACTER),
        _ => char::REPLACEMENT_CHARACTER,
    };
    Cow::Owned(text.chars().map(visible).collect())
}
