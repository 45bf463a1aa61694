//! A program on a pseudo-terminal.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// How long anything may take before the test says what was seen instead.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    output: Receiver<Vec<u8>>,
    /// Everything that was written, as it came.
    pub(crate) raw: Vec<u8>,
    /// How much of [`Self::text`] was waited for already.
    seen: usize,
}

impl Terminal {
    /// Starts `command` on a terminal of 24 lines and 100 columns.
    pub(crate) fn start(command: &mut Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize {
            ws_row: 24,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(master.as_fd(), size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave: OwnedFd = OpenOptions::new()
            .read(true)
            .write(true)
            // Not the controlling terminal of the tests.
            .custom_flags(OFlags::NOCTTY.bits() as i32)
            .open(name.to_str().unwrap())
            .unwrap()
            .into();
        let copy = || slave.try_clone().unwrap();
        let child = command
            .env("TERM", "xterm")
            .stdin(copy())
            .stdout(copy())
            .stderr(copy())
            .spawn()
            .unwrap();
        let keyboard = File::from(master);
        let mut screen = keyboard.try_clone().unwrap();
        let (send, output) = channel();
        // Ends with the program: reading fails once nobody holds the other side.
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                if send.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            keyboard,
            output,
            raw: Vec::new(),
            seen: 0,
        }
    }

    /// Presses keys.
    pub(crate) fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Everything written so far as text, without colours and cursor movements.
    pub(crate) fn text(&self) -> String {
        plain(&String::from_utf8_lossy(&self.raw))
    }

    /// Waits until `text` was written after what was waited for before; what was written up to it.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let all = self.text();
            let new = &all[self.seen.min(all.len())..];
            if let Some(at) = new.find(text) {
                let found = new[..at + text.len()].to_owned();
                self.seen += found.len();
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.raw.extend(bytes),
                Err(RecvTimeoutError::Timeout) => panic!("no {text:?} in time in:\n{all}"),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended; no {text:?} in:\n{all}"),
            }
        }
    }

    /// Ctrl-C while the terminal is not being edited on: the signal that a shell's terminal sends.
    pub(crate) fn interrupt(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        while let Ok(bytes) = self.output.recv_timeout(PATIENCE) {
            self.raw.extend(bytes);
        }
        (self.child.wait().unwrap(), self.text())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The text without escape sequences.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\u{1b}' {
            out.push(c);
        } else if rest.next() == Some('[') {
            // Parameters, then a letter.
            rest.by_ref().find(|c| ('@'..='~').contains(c));
        }
    }
    out.replace("\r\n", "\n")
}
