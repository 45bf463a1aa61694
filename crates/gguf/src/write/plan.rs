//! The layout of a file before any payload exists.

use std::collections::HashMap;

use super::value_buf::{MetadataBuf, ValueBuf, put_text};
use crate::error::Error;
use crate::fault::{Fault, Place, Refusal, shown};
use crate::{Dims, Format, TensorInfo, limits};

/// A tensor to be written.
#[derive(Clone, Debug)]
pub struct TensorSpec {
    name: String,
    dims: Vec<u64>,
    format: Format,
    shares: Option<String>,
}

impl TensorSpec {
    /// A tensor with a payload of its own; `dims` has the row length first.
    pub fn new(name: impl Into<String>, dims: &[u64], format: Format) -> Self {
        Self {
            name: name.into(),
            dims: dims.to_vec(),
            format,
            shares: None,
        }
    }

    /// Lets the tensor point at the payload of an earlier one of the same format and size.
    #[must_use]
    pub fn sharing(mut self, earlier: impl Into<String>) -> Self {
        self.shares = Some(earlier.into());
        self
    }
}

/// Header bytes, offsets and size of a file to be written.
#[derive(Clone, Debug)]
pub struct Plan {
    head: Vec<u8>,
    tensors: Vec<TensorInfo>,
    /// Indices of the tensors that bring a payload, in the order of the file.
    payloads: Vec<usize>,
    alignment: u64,
    file_bytes: u64,
}

impl Plan {
    /// Lays out a file; its alignment is the metadata's `general.alignment`, or 32.
    pub fn new(metadata: &MetadataBuf, specs: &[TensorSpec]) -> Result<Self, Error> {
        Self::lay_out(metadata, specs).map_err(Error::unwritable)
    }

    fn lay_out(metadata: &MetadataBuf, specs: &[TensorSpec]) -> Result<Self, Refusal> {
        let alignment = alignment(metadata)?;
        let keys = limits::at_most(
            "metadata count",
            metadata.iter().len() as u64,
            limits::MAX_COUNT,
        )?;
        let count = limits::at_most("tensor count", specs.len() as u64, limits::MAX_COUNT)?;
        let mut head = Vec::from(*b"GGUF\x03\0\0\0");
        head.extend(count.to_le_bytes());
        head.extend(keys.to_le_bytes());
        metadata.encode(&mut head)?;
        let (mut tensors, payloads, data_bytes) = place_all(specs, alignment)?;
        for tensor in &tensors {
            put_entry(&mut head, tensor);
        }
        limits::at_most("header length", head.len() as u64, limits::MAX_HEADER_BYTES)?;
        head.resize(head.len().next_multiple_of(alignment as usize), 0);
        let data_start = head.len() as u64;
        // Every end is known to fit because the end of the data does.
        let file_bytes = limits::at_most(
            "file length",
            data_start.saturating_add(data_bytes),
            i64::MAX as u64,
        )?;
        for tensor in &mut tensors {
            tensor.offset += data_start;
        }
        Ok(Self {
            head,
            tensors,
            payloads,
            alignment,
            file_bytes,
        })
    }

    /// Every tensor with its place in the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensors whose payloads must be written, in the order of writing.
    pub fn payloads(&self) -> impl ExactSizeIterator<Item = &TensorInfo> {
        self.payloads.iter().map(|&index| &self.tensors[index])
    }

    /// Size of the finished file.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Where the first payload goes.
    pub fn data_start(&self) -> u64 {
        self.head.len() as u64
    }

    /// Alignment of the payloads.
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Everything before the data section.
    pub fn head(&self) -> &[u8] {
        &self.head
    }
}

fn alignment(metadata: &MetadataBuf) -> Result<u64, Refusal> {
    let found = match metadata.get(limits::ALIGNMENT_KEY) {
        None => return Ok(limits::DEFAULT_ALIGNMENT),
        Some(ValueBuf::U32(found)) => Ok(u64::from(*found)),
        Some(other) => Err(Fault::AlignmentType {
            found: other.value_type().name(),
        }),
    };
    found
        .and_then(limits::check_alignment)
        .map_err(|fault| fault.at(Place::Key(limits::ALIGNMENT_KEY.to_owned())))
}

/// Tensors with offsets inside the data section, which of them bring a payload, and the section's
/// length.
type Placed = (Vec<TensorInfo>, Vec<usize>, u64);

fn place_all(specs: &[TensorSpec], alignment: u64) -> Result<Placed, Refusal> {
    let mut by_name = HashMap::with_capacity(specs.len());
    let mut tensors: Vec<TensorInfo> = Vec::with_capacity(specs.len());
    let (mut payloads, mut end) = (Vec::new(), 0u64);
    for (index, spec) in specs.iter().enumerate() {
        let at_tensor = |fault: Fault| fault.at(Place::Tensor(shown(&spec.name)));
        let mut tensor = describe(spec).map_err(at_tensor)?;
        if let Some(first) = by_name.insert(spec.name.as_str(), index) {
            return Err(at_tensor(Fault::Duplicate {
                first: first as u64,
                second: index as u64,
            }));
        }
        if let Some(of) = &spec.shares {
            let earlier = by_name.get(of.as_str()).copied().filter(|&at| at < index);
            tensor.offset =
                shared_offset(of, earlier.map(|at| &tensors[at]), &tensor).map_err(at_tensor)?;
        } else {
            tensor.offset = end;
            let padded = end
                .checked_add(tensor.bytes)
                .and_then(|end| limits::align_up(end, alignment));
            end = padded.ok_or_else(|| {
                at_tensor(Fault::SizeOverflow {
                    dims: tensor.dims,
                    format: tensor.format,
                })
            })?;
            payloads.push(index);
        }
        tensors.push(tensor);
    }
    Ok((tensors, payloads, end))
}

fn describe(spec: &TensorSpec) -> Result<TensorInfo, Fault> {
    limits::check_text(
        "a tensor name",
        spec.name.len() as u64,
        limits::MAX_NAME_BYTES,
    )?;
    let dims = Dims::new(&spec.dims).ok_or(Fault::Rank {
        found: spec.dims.len() as u64,
    })?;
    let bytes = limits::tensor_bytes(dims, spec.format)?;
    Ok(TensorInfo {
        name: spec.name.clone(),
        dims,
        format: spec.format,
        offset: 0,
        bytes,
    })
}

fn shared_offset(
    of: &str,
    earlier: Option<&TensorInfo>,
    tensor: &TensorInfo,
) -> Result<u64, Fault> {
    let &TensorInfo { format, bytes, .. } = tensor;
    earlier
        .filter(|earlier| (earlier.bytes, earlier.format) == (bytes, format))
        .map(|earlier| earlier.offset)
        .ok_or_else(|| Fault::Sharing {
            of: shown(of),
            bytes,
            format,
        })
}

fn put_entry(head: &mut Vec<u8>, tensor: &TensorInfo) {
    put_text(head, &tensor.name);
    head.extend((tensor.dims.len() as u32).to_le_bytes());
    for size in tensor.dims.iter() {
        head.extend(size.to_le_bytes());
    }
    head.extend(tensor.format.id().to_le_bytes());
    head.extend(tensor.offset.to_le_bytes());
}
