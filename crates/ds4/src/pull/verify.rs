//! Whether what arrived is what was announced.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::interrupts::Interrupted;
use crate::progress;

/// The SHA-256 of a file, as hexadecimal digits.
pub(super) fn sha256(path: &Path) -> Result<String> {
    let cannot = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(cannot)?;
    let total = file.metadata().with_context(cannot)?.len();
    let hashed = progress::bytes(|progress| -> Result<String> {
        let (mut hash, mut done) = (Sha256::new(), 0);
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = file.read(&mut buffer).with_context(cannot)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            done += count as u64;
            if progress(done, total) == ControlFlow::Break(()) {
                return Err(Interrupted.into());
            }
        }
        let mut text = String::with_capacity(64);
        for byte in hash.finalize() {
            let _ = write!(text, "{byte:02x}");
        }
        Ok(text)
    })?;
    hashed.0
}
