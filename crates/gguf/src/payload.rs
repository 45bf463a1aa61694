//! The bytes of a tensor, from wherever they live.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::mapping::Mapping;

/// Bytes that keep their owner alive: a mapped file, a buffer, or the program itself.
///
/// Cloning costs a reference count. Nothing is promised about alignment.
#[derive(Clone)]
pub struct Payload {
    owner: Owner,
    start: usize,
    end: usize,
}

#[derive(Clone)]
enum Owner {
    Mapped(Arc<Mapping>),
    Buffer(Arc<Vec<u8>>),
    Program(&'static [u8]),
}

impl Payload {
    /// A part of these bytes, with the same owner.
    ///
    /// # Panics
    /// If the range exceeds the payload.
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "bytes {range:?} of a payload of {}",
            self.len()
        );
        let (start, end) = (self.start + range.start, self.start + range.end);
        Self {
            owner: self.owner.clone(),
            start,
            end,
        }
    }

    /// Asks the system to read these bytes soon; nothing to do unless they lie in a mapped file.
    pub fn will_need(&self) -> Result<(), crate::Error> {
        match self.mapping() {
            Some(mapping) => mapping.will_need(self.start, self.len()),
            None => Ok(()),
        }
    }

    pub(crate) fn mapping(&self) -> Option<&Mapping> {
        match &self.owner {
            Owner::Mapped(mapping) => Some(mapping),
            Owner::Buffer(_) | Owner::Program(_) => None,
        }
    }

    fn whole(owner: Owner) -> Self {
        let end = owner.bytes().len();
        Self {
            owner,
            start: 0,
            end,
        }
    }
}

impl Owner {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(mapping) => mapping,
            Self::Buffer(buffer) => buffer,
            Self::Program(bytes) => bytes,
        }
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.owner.bytes()[self.start..self.end]
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Mapping> for Payload {
    fn from(mapping: Mapping) -> Self {
        Self::whole(Owner::Mapped(Arc::new(mapping)))
    }
}

impl From<Vec<u8>> for Payload {
    fn from(buffer: Vec<u8>) -> Self {
        Self::whole(Owner::Buffer(Arc::new(buffer)))
    }
}

impl From<&'static [u8]> for Payload {
    fn from(bytes: &'static [u8]) -> Self {
        Self::whole(Owner::Program(bytes))
    }
}

impl From<Cow<'static, [u8]>> for Payload {
    fn from(bytes: Cow<'static, [u8]>) -> Self {
        match bytes {
            Cow::Borrowed(bytes) => bytes.into(),
            Cow::Owned(buffer) => buffer.into(),
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}
