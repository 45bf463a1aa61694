//! Payloads in order, padded, to a file or to memory.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::aside::Aside;
use super::plan::Plan;
use crate::TensorInfo;
use crate::error::Error;
use crate::fault::shown;
use crate::mapping::Progress;

/// Bytes written between two progress calls at most.
const PIECE: usize = 8 << 20;

/// Where a writer's bytes go: a file aside, or a buffer.
pub trait Output {
    /// Appends bytes.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error>;
    /// The file, for errors.
    fn path(&self) -> PathBuf;
}

impl Output for Aside {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.write_all(bytes)
    }

    fn path(&self) -> PathBuf {
        Aside::path(self).to_owned()
    }
}

impl Output for Vec<u8> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("(memory)")
    }
}

/// A file in the making: takes the payloads of [`Plan::payloads`], in that order.
pub struct Writer<'p, O> {
    plan: Plan,
    output: O,
    /// How many of the plan's payloads are written.
    done: usize,
    written: u64,
    progress: Option<Box<Progress<'p>>>,
}

impl Writer<'_, Vec<u8>> {
    /// Writes to memory.
    pub fn to_memory(plan: Plan) -> Self {
        let mut output = Vec::with_capacity(plan.file_bytes() as usize);
        output.extend_from_slice(plan.head());
        let written = plan.data_start();
        Self {
            plan,
            output,
            done: 0,
            written,
            progress: None,
        }
    }

    /// The file's bytes, once every payload is written.
    pub fn finish(self) -> Result<Vec<u8>, Error> {
        self.check_complete()?;
        Ok(self.output)
    }
}

impl Writer<'_, Aside> {
    /// Writes to a file beside `path` that [`Self::finish`] moves there. An older file stays until
    /// then; dropping the writer removes what it wrote.
    pub fn create(path: &Path, plan: Plan) -> Result<Self, Error> {
        let mut output = Aside::begin(path, plan.file_bytes())?;
        output.write_all(plan.head())?;
        let written = plan.data_start();
        Ok(Self {
            plan,
            output,
            done: 0,
            written,
            progress: None,
        })
    }

    /// Makes the file durable and visible under its name, once every payload is written.
    pub fn finish(self) -> Result<(), Error> {
        self.check_complete()?;
        self.output.commit()
    }
}

impl<'p, O: Output> Writer<'p, O> {
    /// Calls `progress` with bytes written and bytes in all, every few megabytes; breaking cancels.
    #[must_use]
    pub fn on_progress(mut self, progress: impl FnMut(u64, u64) -> ControlFlow<()> + 'p) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Writes the payload of `tensor`, which must be the next one.
    pub fn payload(&mut self, tensor: &str, bytes: &[u8]) -> Result<(), Error> {
        self.stream(tensor, |sink| sink.put(bytes))
    }

    /// Writes the payload of `tensor`, the next one, in as many pieces as `fill` puts into the
    /// sink.
    pub fn stream(
        &mut self,
        tensor: &str,
        fill: impl FnOnce(&mut Sink<'_, 'p, O>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let due = self.due().filter(|due| due.name == tensor);
        let due = due.ok_or_else(|| self.out_of_turn(format!("\"{}\"", shown(tensor))))?;
        let (name, bytes) = (due.name.clone(), due.bytes);
        let mut sink = Sink {
            writer: self,
            name,
            bytes,
            left: bytes,
        };
        fill(&mut sink)?;
        let left = sink.left;
        if left > 0 {
            return Err(sink.wrong_length(bytes - left));
        }
        self.pad()?;
        self.done += 1;
        Ok(())
    }

    fn pad(&mut self) -> Result<(), Error> {
        let padding = self.written.next_multiple_of(self.plan.alignment()) - self.written;
        self.append(&vec![0; padding as usize])
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        for piece in bytes.chunks(PIECE) {
            self.output.append(piece)?;
            self.written += piece.len() as u64;
            let total = self.plan.file_bytes();
            let stop = self
                .progress
                .as_mut()
                .is_some_and(|call| call(self.written, total).is_break());
            if stop {
                return Err(Error::Cancelled {
                    path: self.output.path(),
                });
            }
        }
        Ok(())
    }

    /// The next tensor in the file; none after an error, which leaves a piece of a payload behind.
    fn due(&self) -> Option<&TensorInfo> {
        self.plan
            .payloads()
            .nth(self.done)
            .filter(|due| due.offset == self.written)
    }

    fn check_complete(&self) -> Result<(), Error> {
        if self.written == self.plan.file_bytes() {
            return Ok(());
        }
        Err(self.out_of_turn("the end of the file".to_owned()))
    }

    fn out_of_turn(&self, got: String) -> Error {
        let whole = self.written == self.plan.file_bytes();
        let expected = match self.due() {
            Some(due) => format!("\"{}\"", shown(&due.name)),
            None if whole => "nothing more".to_owned(),
            None => "nothing, after an error,".to_owned(),
        };
        Error::OutOfTurn {
            path: self.output.path(),
            got,
            expected,
        }
    }
}

/// Takes the bytes of one payload.
pub struct Sink<'s, 'p, O> {
    writer: &'s mut Writer<'p, O>,
    name: String,
    bytes: u64,
    left: u64,
}

impl<O: Output> Sink<'_, '_, O> {
    /// Appends bytes to the payload.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let len = bytes.len() as u64;
        let Some(left) = self.left.checked_sub(len) else {
            return Err(self.wrong_length(self.bytes - self.left + len));
        };
        self.writer.append(bytes)?;
        self.left = left;
        Ok(())
    }

    /// Bytes still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    fn wrong_length(&self, got: u64) -> Error {
        Error::PayloadLength {
            path: self.writer.output.path(),
            tensor: shown(&self.name),
            expected: self.bytes,
            got,
        }
    }
}

impl<O: Output> io::Write for Sink<'_, '_, O> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
