//! The header, read front to back with every length checked before it is believed.
//!
//! The header is read and kept in memory, never mapped: a file that shrinks or is rewritten under
//! us then gives a read error instead of a different text behind a string that was already checked.
//! It costs one copy of some 5 MB.

use std::io::Read;
use std::ops::Range;

use crate::fault::Fault;
use crate::limits;

/// Bytes asked of the system at once.
const CHUNK: usize = 1 << 20;

/// A source of `total` bytes and the part of it read so far.
pub(crate) struct Intake<R> {
    from: R,
    total: u64,
    bytes: Vec<u8>,
    at: usize,
}

impl<R: Read> Intake<R> {
    pub(crate) fn new(from: R, total: u64) -> Self {
        Self {
            from,
            total,
            bytes: Vec::new(),
            at: 0,
        }
    }

    /// Position of the next field.
    pub(crate) fn at(&self) -> u64 {
        self.at as u64
    }

    /// Length of the whole source.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// What has been read; ranges returned by [`Self::take`] index it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Ends the reading; the caller keeps the bytes of the fields taken.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.truncate(self.at);
        self.bytes.shrink_to_fit();
        self.bytes
    }

    /// The next `needs` bytes, as a range of [`Self::bytes`].
    pub(crate) fn take(&mut self, what: &'static str, needs: u64) -> Result<Range<usize>, Fault> {
        let at = self.at();
        if needs > self.total - at {
            return Err(Fault::Truncated {
                what,
                at,
                needs,
                has: self.total,
            });
        }
        limits::at_most("header length", at + needs, limits::MAX_HEADER_BYTES)?;
        let end = self.at + needs as usize;
        if end > self.bytes.len() {
            self.fill(end)
                .map_err(|source| Fault::Unreadable { what, at, source })?;
        }
        let range = self.at..end;
        self.at = end;
        Ok(range)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Fault> {
        let range = self.take(what, 4)?;
        Ok(u32::from_le_bytes(
            self.bytes[range].try_into().expect("four bytes were taken"),
        ))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Fault> {
        let range = self.take(what, 8)?;
        Ok(u64::from_le_bytes(
            self.bytes[range]
                .try_into()
                .expect("eight bytes were taken"),
        ))
    }

    /// A length-prefixed text of at most `limit` bytes.
    pub(crate) fn text(&mut self, what: &'static str, limit: u64) -> Result<Range<usize>, Fault> {
        let bytes = self.u64(what)?;
        limits::check_text(what, bytes, limit)?;
        let at = self.at();
        let range = self.take(what, bytes)?;
        match std::str::from_utf8(&self.bytes[range.clone()]) {
            Ok(_) => Ok(range),
            Err(_) => Err(Fault::NotUtf8 { what, at }),
        }
    }

    /// Text that [`Self::text`] has checked.
    pub(crate) fn str(&self, range: &Range<usize>) -> &str {
        std::str::from_utf8(&self.bytes[range.clone()]).expect("text() checked these bytes")
    }

    fn fill(&mut self, end: usize) -> std::io::Result<()> {
        let old = self.bytes.len();
        let left = usize::try_from(self.total - old as u64).unwrap_or(usize::MAX);
        let more = (end - old).max(CHUNK).min(left);
        self.bytes.resize(old + more, 0);
        self.from.read_exact(&mut self.bytes[old..])
    }
}

#[cfg(test)]
mod tests {
    use super::Intake;
    use crate::fault::Fault;

    #[test]
    fn a_source_that_ends_before_its_length_is_an_error() {
        // What a file looks like that was shortened after its length was asked for.
        let mut intake = Intake::new(&[0u8; 10][..], 100);
        match intake.take("a string", 50) {
            Err(Fault::Unreadable {
                what: "a string",
                at: 0,
                source,
            }) => {
                assert_eq!(source.kind(), std::io::ErrorKind::UnexpectedEof);
            }
            other => panic!("{other:?}"),
        }
    }
}
