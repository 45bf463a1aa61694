//! The tensor directory: names, shapes and places, checked against each other and the file.

use std::io::Read;
use std::ops::Range;

use crate::fault::{Fault, Place, Refusal, shown};
use crate::intake::Intake;
use crate::{Dims, Format, TensorInfo, limits};

/// An entry as written: the offset still counts from the data section.
struct Entry {
    name: Range<usize>,
    dims: Dims,
    format: Format,
    bytes: u64,
    offset: u64,
}

/// Tensors in file order, and their indices sorted by name and by offset.
pub(crate) struct Directory {
    pub(crate) tensors: Vec<TensorInfo>,
    pub(crate) by_name: Vec<u32>,
    pub(crate) by_offset: Vec<u32>,
    pub(crate) data_start: u64,
}

/// Reads `count` entries of a file whose payloads are aligned to `alignment`.
pub(crate) fn read<R: Read>(
    intake: &mut Intake<R>,
    count: u64,
    alignment: u64,
) -> Result<Directory, Refusal> {
    let mut entries = Vec::with_capacity(count.min(limits::FIRST_ROOM) as usize);
    for index in 0..count {
        entries.push(read_entry(intake, index)?);
    }
    let data_start = limits::align_up(intake.at(), alignment).expect("both are small numbers");
    let tensors = entries
        .iter()
        .map(|entry| place(intake, entry, alignment, data_start))
        .collect::<Result<Vec<_>, _>>()?;
    let by_name = sort_by_name(&tensors)?;
    let by_offset = sort_by_offset(&tensors)?;
    Ok(Directory {
        tensors,
        by_name,
        by_offset,
        data_start,
    })
}

fn read_entry<R: Read>(intake: &mut Intake<R>, index: u64) -> Result<Entry, Refusal> {
    let name = intake
        .text("a tensor name", limits::MAX_NAME_BYTES)
        .map_err(|fault| fault.at(Place::TensorAt(index)))?;
    read_shape(intake, name.clone())
        .map_err(|fault| fault.at(Place::Tensor(shown(intake.str(&name)))))
}

fn read_shape<R: Read>(intake: &mut Intake<R>, name: Range<usize>) -> Result<Entry, Fault> {
    let rank = intake.u32("number of dimensions")?;
    let mut sizes = [0; 4];
    let sizes = sizes
        .get_mut(..rank as usize)
        .ok_or(Fault::Rank { found: rank.into() })?;
    for size in &mut *sizes {
        *size = intake.u64("a dimension")?;
    }
    let dims = Dims::new(sizes).ok_or(Fault::Rank { found: rank.into() })?;
    let id = intake.u32("tensor type")?;
    let format = Format::from_id(id).ok_or(Fault::UnknownFormat { id })?;
    let offset = intake.u64("data offset")?;
    let bytes = limits::tensor_bytes(dims, format)?;
    Ok(Entry {
        name,
        dims,
        format,
        bytes,
        offset,
    })
}

fn place<R: Read>(
    intake: &Intake<R>,
    entry: &Entry,
    alignment: u64,
    data_start: u64,
) -> Result<TensorInfo, Refusal> {
    let &Entry {
        ref name,
        dims,
        format,
        bytes,
        offset,
    } = entry;
    let name = intake.str(name);
    let at_tensor = |fault: Fault| fault.at(Place::Tensor(shown(name)));
    if !offset.is_multiple_of(alignment) {
        return Err(at_tensor(Fault::Misaligned { offset, alignment }));
    }
    let file = intake.total();
    let end = data_start
        .checked_add(offset)
        .and_then(|start| start.checked_add(bytes));
    if end.is_none_or(|end| end > file) {
        return Err(at_tensor(Fault::PastEnd {
            offset,
            bytes,
            data_start,
            file,
        }));
    }
    Ok(TensorInfo {
        name: name.to_owned(),
        dims,
        format,
        offset: data_start + offset,
        bytes,
    })
}

fn sort_by_name(tensors: &[TensorInfo]) -> Result<Vec<u32>, Refusal> {
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

/// Equal ranges of one format may be shared; any other overlap is refused.
fn sort_by_offset(tensors: &[TensorInfo]) -> Result<Vec<u32>, Refusal> {
    let tensor = |index: u32| &tensors[index as usize];
    let mut order: Vec<u32> = (0..tensors.len() as u32).collect();
    order.sort_by_key(|&index| tensor(index).offset);
    // Neighbours suffice: if each pair is equal or disjoint, ends grow with starts.
    for pair in order.windows(2) {
        let (before, after) = (tensor(pair[0]), tensor(pair[1]));
        if after.offset < before.end() && !shares(before, after) {
            let fault = Fault::Overlap {
                start: after.offset,
                end: after.end(),
                other: shown(&before.name),
                other_start: before.offset,
                other_end: before.end(),
            };
            return Err(fault.at(Place::Tensor(shown(&after.name))));
        }
    }
    Ok(order)
}

/// True if both tensors are the same bytes read the same way.
pub(crate) fn shares(a: &TensorInfo, b: &TensorInfo) -> bool {
    (a.offset, a.bytes, a.format) == (b.offset, b.bytes, b.format)
}
