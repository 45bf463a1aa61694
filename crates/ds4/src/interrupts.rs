//! Ctrl-C: the first one asks, the second one kills.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};

/// Set by Ctrl-C (or SIGTERM). There is one for the whole program, so that whoever takes it back
/// takes it back for everybody.
static PRESSED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// The exit code of a program that Ctrl-C ended, as shells know it.
pub(crate) const EXIT_CODE: u8 = 130;

/// A handle on the flag.
#[derive(Clone, Debug)]
pub(crate) struct Interrupts(Arc<AtomicBool>);

/// From now on the first Ctrl-C only sets the flag, so that work can end tidily; another one, while
/// the flag is up, kills.
pub(crate) fn catch() -> Result<Interrupts> {
    if let Some(flag) = PRESSED.get() {
        return Ok(Interrupts(Arc::clone(flag)));
    }
    let flag = PRESSED.get_or_init(Arc::default);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // Armed by the first signal: this one comes first in the order of registration and sees the
        // flag still down.
        let code = i32::from(EXIT_CODE);
        signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(flag)))
            .context("cannot listen to Ctrl-C")?;
    }
    Ok(Interrupts(Arc::clone(flag)))
}

/// Was Ctrl-C pressed, and not taken back since?
pub(crate) fn were_pressed() -> bool {
    PRESSED
        .get()
        .is_some_and(|flag| flag.load(Ordering::Relaxed))
}

impl Interrupts {
    /// Was Ctrl-C pressed?
    pub(crate) fn is_pressed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Ends the work as Ctrl-C does.
    pub(crate) fn press(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// The flag itself, for whoever looks at it from elsewhere.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.0
    }

    /// The interrupt was obeyed; the next one is the first again.
    pub(crate) fn obeyed(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The end of work that Ctrl-C stopped and that has said so already.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;
