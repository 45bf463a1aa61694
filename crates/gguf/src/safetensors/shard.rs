//! One file of a checkpoint.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

use super::header::{self, RawHeader, RawTensor};
use super::{Dtype, MAX_HEADER_BYTES};
use crate::error::Error;
use crate::fault::{Fault, Place, Refusal, shown};
use crate::limits::at_most;
use crate::mapping::Opened;
use crate::payload::Payload;

/// What a shard says about one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// The name, unique in its shard.
    pub name: String,
    /// How the values are stored.
    pub dtype: Dtype,
    /// The shape as written, slowest dimension first; empty for a single value.
    pub shape: Vec<u64>,
    /// Where the payload begins, counted from the start of the file.
    pub offset: u64,
    /// Bytes of the payload; none if a dimension is zero.
    pub bytes: u64,
}

impl Tensor {
    /// Where the payload ends.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes
    }
}

/// An open shard. Its payloads cover everything behind the header, without holes.
#[derive(Debug)]
pub struct Shard {
    name: String,
    metadata: Vec<(String, String)>,
    /// In the order of the payloads.
    tensors: Vec<Tensor>,
    /// Indices of `tensors`, sorted by name.
    by_name: Vec<u32>,
    file: Payload,
}

impl Shard {
    /// Opens and checks the shard at `path`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let opened = Opened::open(path)?;
        let name = path.display().to_string();
        let shard = read(&opened.file, opened.len()).map_err(|refusal| {
            // A file that changes while it is read looks damaged; the change is the better reason.
            opened
                .check()
                .err()
                .unwrap_or_else(|| Error::refused(&name, refusal))
        })?;
        Ok(Self::assemble(name, shard, opened.map()?.into()))
    }

    /// Checks a shard that is already in memory; `name` stands for it in errors.
    pub fn from_bytes(
        name: impl Into<String>,
        bytes: impl Into<Cow<'static, [u8]>>,
    ) -> Result<Self, Error> {
        let (name, file) = (name.into(), Payload::from(bytes.into()));
        let shard =
            read(&file[..], file.len() as u64).map_err(|refusal| Error::refused(&name, refusal))?;
        Ok(Self::assemble(name, shard, file))
    }

    fn assemble(name: String, checked: Checked, file: Payload) -> Self {
        let Checked {
            metadata,
            tensors,
            by_name,
        } = checked;
        Self {
            name,
            metadata,
            tensors,
            by_name,
            file,
        }
    }

    /// The path the shard was opened by, or the name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The free-form notes in the header, in file order.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// Every tensor, in the order of the payloads.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.position(name).map(|at| &self.tensors[at as usize])
    }

    /// Index of a tensor in [`Self::tensors`].
    pub(super) fn position(&self, name: &str) -> Option<u32> {
        let found = self
            .by_name
            .binary_search_by(|&at| self.tensors[at as usize].name.as_str().cmp(name))
            .ok()?;
        Some(self.by_name[found])
    }

    /// The bytes of a tensor of this shard.
    ///
    /// # Panics
    /// If `tensor` comes from another shard and does not fit this one.
    pub fn payload(&self, tensor: &Tensor) -> Payload {
        self.file
            .slice(tensor.offset as usize..tensor.end() as usize)
    }

    /// An error if the file changed since it was opened. Cheap; call it before believing results.
    pub fn check(&self) -> Result<(), Error> {
        self.file
            .mapping()
            .map_or(Ok(()), |mapping| mapping.check())
    }
}

struct Checked {
    metadata: Vec<(String, String)>,
    tensors: Vec<Tensor>,
    by_name: Vec<u32>,
}

fn read(from: impl Read, file: u64) -> Result<Checked, Refusal> {
    let text = read_header(from, file)?;
    let data_start = 8 + text.len() as u64;
    let RawHeader { metadata, tensors } = header::parse(&text)?;
    at_most(
        "tensor count",
        tensors.len() as u64,
        crate::limits::MAX_COUNT,
    )?;
    let mut tensors = tensors
        .into_iter()
        .map(|(name, raw)| {
            check_tensor(raw, file - data_start)
                .map(|tensor| Tensor {
                    offset: data_start + tensor.offset,
                    ..tensor
                })
                .map_err(|fault| fault.at(Place::Tensor(shown(&name))))
                .map(|tensor| Tensor { name, ..tensor })
        })
        .collect::<Result<Vec<_>, _>>()?;
    tensors.sort_by_key(|tensor| (tensor.offset, tensor.bytes));
    check_cover(&tensors, data_start, file)?;
    let by_name = sort_by_name(&tensors)?;
    Ok(Checked {
        metadata,
        tensors,
        by_name,
    })
}

/// The JSON text between the length and the payloads.
fn read_header(mut from: impl Read, has: u64) -> Result<Vec<u8>, Fault> {
    let mut read = |what, at: u64, needs: u64| {
        if has < at + needs {
            return Err(Fault::Truncated {
                what,
                at,
                needs,
                has,
            });
        }
        let mut bytes = vec![0; needs as usize];
        let done = from.read_exact(&mut bytes);
        done.map(|()| bytes)
            .map_err(|source| Fault::Unreadable { what, at, source })
    };
    let length = read("header length", 0, 8)?;
    let length = u64::from_le_bytes(length.try_into().expect("eight bytes were read"));
    let length = at_most("header length", length, MAX_HEADER_BYTES)?;
    let text = read("header", 8, length)?;
    match text.first() {
        Some(b'{') => Ok(text),
        first => Err(Fault::NoObject {
            first: first.copied(),
        }),
    }
}

/// The tensor, still without its name and with an offset inside the data.
fn check_tensor(raw: RawTensor, data: u64) -> Result<Tensor, Fault> {
    let RawTensor {
        dtype,
        shape,
        data_offsets: (start, end),
    } = raw;
    let shape = shape.0;
    let dtype = Dtype::from_name(&dtype).ok_or_else(|| Fault::Dtype {
        found: shown(&dtype),
    })?;
    if start > end || end > data {
        return Err(Fault::Offsets { start, end, data });
    }
    let bytes = end - start;
    if dtype.bytes_of(&shape) != Some(bytes) {
        return Err(Fault::ShapeBytes {
            shape,
            dtype,
            bytes,
        });
    }
    Ok(Tensor {
        name: String::new(),
        dtype,
        shape,
        offset: start,
        bytes,
    })
}

/// Payloads follow one another from the header to the end of the file.
fn check_cover(tensors: &[Tensor], data_start: u64, file: u64) -> Result<(), Refusal> {
    let mut covered = (data_start, None::<&Tensor>);
    for tensor in tensors {
        let at_tensor = |fault: Fault| fault.at(Place::Tensor(shown(&tensor.name)));
        match covered {
            (end, Some(other)) if tensor.offset < end => {
                return Err(at_tensor(Fault::Overlap {
                    start: tensor.offset,
                    end: tensor.end(),
                    other: shown(&other.name),
                    other_start: other.offset,
                    other_end: other.end(),
                }));
            }
            (end, _) if tensor.offset > end => {
                return Err(at_tensor(Fault::Hole {
                    start: end,
                    end: tensor.offset,
                }));
            }
            _ => covered = (tensor.end(), Some(tensor)),
        }
    }
    if covered.0 < file {
        return Err(Fault::Rest {
            start: covered.0,
            end: file,
        }
        .into());
    }
    Ok(())
}

fn sort_by_name(tensors: &[Tensor]) -> Result<Vec<u32>, Refusal> {
    let name = |index: u32| tensors[index as usize].name.as_str();
    let mut order: Vec<u32> = (0..tensors.len() as u32).collect();
    order.sort_by(|&a, &b| name(a).cmp(name(b)));
    match order.windows(2).find(|pair| name(pair[0]) == name(pair[1])) {
        None => Ok(order),
        Some(pair) => Err(Fault::Duplicate {
            first: pair[0].into(),
            second: pair[1].into(),
        }
        .at(Place::Tensor(shown(name(pair[0]))))),
    }
}
