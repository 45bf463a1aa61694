//! How every verb ends: exit codes, error lines with causes and a hint, a closed pipe, Ctrl-C.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Error, Result};
use ds4_gguf::Error as FileError;
use ds4_model::BindError;
use ds4_model::synthetic::SynthError;

/// The exit code of a verb; an error is explained on stderr.
pub(crate) fn end(done: Result<()>) -> ExitCode {
    let Err(error) = done else {
        return ExitCode::SUCCESS;
    };
    if is_closed_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    explain(&error, &mut io::stderr().lock());
    ExitCode::FAILURE
}

fn explain(error: &Error, out: &mut impl Write) {
    // Nothing is left to do where stderr cannot be written.
    let _ = writeln!(out, "error: {error}");
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // An error that prints its source already has said this.
        if !said.contains(&cause) {
            let _ = writeln!(out, "  because: {cause}");
            said = cause;
        }
    }
    if let Some(hint) = hint(error) {
        let _ = writeln!(out, "hint: {hint}");
    }
}

/// A failure whose cure only the verb knows.
#[derive(Debug)]
pub(crate) struct Hinted {
    pub(crate) message: String,
    pub(crate) hint: &'static str,
}

impl std::error::Error for Hinted {}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The cure, where it is known.
fn hint(error: &Error) -> Option<&'static str> {
    if let Some(hinted) = error.downcast_ref::<Hinted>() {
        return Some(hinted.hint);
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
    let _ = writeln!(io::stderr(), "{line}");
}

/// From now on the first Ctrl-C (or SIGTERM) only sets the flag, so that work can end tidily; the
/// second one kills.
pub(crate) fn catch_interrupts() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // Armed by the first signal: this one comes first in the order of registration and sees the
        // flag still down.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .context("cannot listen to Ctrl-C")?;
    }
    Ok(flag)
}

/// Was Ctrl-C pressed?
pub(crate) fn is_interrupted(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed)
}
