//! Work measured in bytes: a bar on stderr, and Ctrl-C as a clean end.

use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{interrupts, manners};

type Listener = dyn Fn(u64, u64) + Send + Sync;

/// Who else wants to know.
static LISTENER: OnceLock<Box<Listener>> = OnceLock::new();

/// Tells somebody else as well, from now on: bytes done, and bytes in all.
pub(crate) fn tell(listener: impl Fn(u64, u64) + Send + Sync + 'static) {
    // The first one stays; a program does one thing at a time.
    let _ = LISTENER.set(Box::new(listener));
}

/// Does `work`, which reports bytes done and bytes in all; gives what it gave, and the bytes in all.
///
/// Ctrl-C makes the next report end the work. The bar is hidden where stderr is no terminal, or
/// where nothing is to be said.
pub(crate) fn bytes<T>(
    work: impl FnOnce(&mut dyn FnMut(u64, u64) -> ControlFlow<()>) -> T,
) -> Result<(T, u64)> {
    let interrupted = interrupts::catch()?;
    let bar = match manners::is_quiet() {
        true => ProgressBar::hidden(),
        false => ProgressBar::new(0),
    };
    let style =
        "{wide_bar} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut total = 0;
    let done = work(&mut |done, all| {
        total = all;
        bar.set_length(all);
        bar.set_position(done);
        if let Some(listener) = LISTENER.get() {
            listener(done, all);
        }
        if interrupted.is_pressed() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    Ok((done, total))
}
