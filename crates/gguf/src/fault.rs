//! Everything that can be wrong with a weight file, and where in the file it is wrong.
//!
//! A [`Fault`] carries facts and knows no file; [`Place`] says whose fault it is;
//! [`crate::Error::Refused`] adds the file. Names from the file are shortened and escaped before
//! they enter a message: they are the attacker's text.

use std::fmt;

use crate::safetensors::Dtype;
use crate::{Dims, Format, limits};

/// The entry of a file that a fault belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A metadata key whose name could not be read.
    KeyAt(u64),
    /// A metadata key, shortened for printing.
    Key(String),
    /// A tensor whose name could not be read.
    TensorAt(u64),
    /// A tensor, its name shortened for printing.
    Tensor(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => Ok(()),
            Self::KeyAt(index) => write!(f, "metadata key number {index}: "),
            Self::Key(key) => write!(f, "metadata key \"{key}\": "),
            Self::TensorAt(index) => write!(f, "tensor number {index}: "),
            Self::Tensor(name) => write!(f, "tensor \"{name}\": "),
        }
    }
}

/// A name from a file, made safe to print: control characters escaped, at most 80 characters.
pub(crate) fn shown(name: &str) -> String {
    let mut text: String = name.chars().take(80).flat_map(char::escape_debug).collect();
    if name.chars().nth(80).is_some() {
        text.push('…');
    }
    text
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The first four bytes are not `GGUF`.
    #[error("not a GGUF file: it begins with {found:02x?}{}", hint(.looks_like))]
    Magic {
        /// The first four bytes.
        found: [u8; 4],
        /// What files beginning so usually are.
        looks_like: Option<&'static str>,
    },
    /// A GGUF version other than 3.
    #[error("GGUF version {found}; only version 3 is read{}", old_version(*.found))]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// The version field makes sense with its bytes reversed.
    #[error(
        "a big-endian GGUF file (version field 0x{found:08x}); only little-endian files are read"
    )]
    BigEndian {
        /// The version field as a little-endian number.
        found: u32,
    },
    /// The file ends inside a header field or payload.
    #[error("the file ends inside {what}: {needs} bytes from byte {at} on, but it has {has} bytes")]
    Truncated {
        /// The field.
        what: &'static str,
        /// Where the field begins.
        at: u64,
        /// Bytes the field takes.
        needs: u64,
        /// Length of the file.
        has: u64,
    },
    /// A count or length above its cap.
    #[error("{what} is {value}, the limit is {limit}")]
    TooMuch {
        /// The count or length.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The cap.
        limit: u64,
    },
    /// A text above its cap.
    #[error("{what} of {bytes} bytes; the limit is {limit}")]
    TooLong {
        /// Key, name or string.
        what: &'static str,
        /// Its length.
        bytes: u64,
        /// The cap.
        limit: u64,
    },
    /// Text that is not UTF-8.
    #[error("{what} at byte {at} is not UTF-8")]
    NotUtf8 {
        /// Key, name or string.
        what: &'static str,
        /// Where the text begins.
        at: u64,
    },
    /// A metadata type id that GGUF does not define.
    #[error("unknown metadata type {id}; GGUF defines 0 to 12")]
    ValueType {
        /// The id.
        id: u32,
    },
    /// A truth value that is neither 0 nor 1.
    #[error("a bool at byte {at} is {found}, not 0 or 1")]
    Bool {
        /// The byte.
        found: u8,
        /// Where it is.
        at: u64,
    },
    /// Arrays inside arrays beyond the cap.
    #[error("arrays are nested deeper than {limit}")]
    Nesting {
        /// Deepest nesting allowed.
        limit: u32,
    },
    /// A second entry with the same name.
    #[error("appears twice, as number {first} and number {second}")]
    Duplicate {
        /// Index of the first.
        first: u64,
        /// Index of the second.
        second: u64,
    },
    /// An alignment that is no power of two, or too large.
    #[error(
        "alignment {found}; it must be a power of two of at most {}",
        limits::MAX_ALIGNMENT
    )]
    Alignment {
        /// The alignment in the file.
        found: u64,
    },
    /// The alignment is not stored as an unsigned number.
    #[error("alignment has type {found}; it must be an unsigned integer")]
    AlignmentType {
        /// The type found.
        found: &'static str,
    },
    /// No dimensions, or more than four.
    #[error("{found} dimensions; 1 to 4 are possible")]
    Rank {
        /// Number of dimensions.
        found: u64,
    },
    /// A dimension of size zero.
    #[error("dimensions {dims} contain a zero")]
    ZeroDimension {
        /// The dimensions.
        dims: Dims,
    },
    /// More bytes than 64 bits count.
    #[error("dimensions {dims} in {format} overflow 64 bits")]
    SizeOverflow {
        /// The dimensions.
        dims: Dims,
        /// The number format.
        format: Format,
    },
    /// Rows that end inside a block.
    #[error("rows of {row} values are not whole {format} blocks of {block}")]
    PartialBlock {
        /// Row length.
        row: u64,
        /// The number format.
        format: Format,
        /// Values in one block.
        block: u64,
    },
    /// A tensor type this crate does not know.
    #[error("unknown tensor type {id}")]
    UnknownFormat {
        /// The GGUF type id.
        id: u32,
    },
    /// A payload off the alignment grid.
    #[error("data offset {offset} is not a multiple of the alignment {alignment}")]
    Misaligned {
        /// Offset inside the data section.
        offset: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// A payload that ends behind the file.
    #[error(
        "{bytes} bytes at data offset {offset} (data starts at {data_start}) \
        exceed the file's {file} bytes"
    )]
    PastEnd {
        /// Offset inside the data section.
        offset: u64,
        /// Bytes of the payload.
        bytes: u64,
        /// Where the data section begins.
        data_start: u64,
        /// Length of the file.
        file: u64,
    },
    /// Two payloads that share some bytes without being the same.
    #[error("bytes {start}..{end} overlap those of tensor \"{other}\", {other_start}..{other_end}")]
    Overlap {
        /// Where this payload begins in the file.
        start: u64,
        /// Where it ends.
        end: u64,
        /// The other tensor.
        other: String,
        /// Where the other payload begins.
        other_start: u64,
        /// Where it ends.
        other_end: u64,
    },
    /// An array whose items are not all of one type (writer only).
    #[error("an array of {wanted} holds a {found}")]
    MixedArray {
        /// Type of the array's items.
        wanted: &'static str,
        /// The odd one.
        found: &'static str,
    },
    /// A shared payload that cannot be shared (writer only).
    #[error(
        "cannot share the payload of \"{of}\": \
        no earlier tensor of that name with {bytes} bytes of {format}"
    )]
    Sharing {
        /// The tensor whose payload was to be shared.
        of: String,
        /// Bytes of the tensor.
        bytes: u64,
        /// Its format.
        format: Format,
    },
    /// A safetensors header that does not begin as a JSON object.
    #[error("not a safetensors file: the header begins with {first:02x?}, not an opening brace")]
    NoObject {
        /// The first byte, unless the header is empty.
        first: Option<u8>,
    },
    /// A JSON text that breaks JSON's rules or the format's.
    #[error("JSON refused at line {line}, column {column}: {reason}")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the JSON reader said.
        reason: String,
    },
    /// A safetensors number format that this crate does not know.
    #[error("unknown dtype \"{found}\"")]
    Dtype {
        /// The name in the file.
        found: String,
    },
    /// A payload outside the data of its shard.
    #[error("data_offsets {start}..{end} do not lie inside the {data} bytes of data")]
    Offsets {
        /// First byte.
        start: u64,
        /// Behind the last byte.
        end: u64,
        /// Bytes behind the header.
        data: u64,
    },
    /// A payload whose length does not follow from its shape.
    #[error("shape {shape:?} in {dtype} does not take the {bytes} bytes of its data_offsets")]
    ShapeBytes {
        /// The shape.
        shape: Vec<u64>,
        /// The number format.
        dtype: Dtype,
        /// Bytes between the offsets.
        bytes: u64,
    },
    /// Bytes of a shard that belong to no tensor.
    #[error("bytes {start}..{end} before it belong to no tensor")]
    Hole {
        /// First byte.
        start: u64,
        /// Behind the last byte.
        end: u64,
    },
    /// Bytes at the end of a shard that belong to no tensor.
    #[error("bytes {start}..{end} at the end of the file belong to no tensor")]
    Rest {
        /// First byte.
        start: u64,
        /// Length of the file.
        end: u64,
    },
    /// A tensor that an index lists twice.
    #[error("appears twice in the index")]
    Repeated,
    /// A tensor that is not where the index says.
    #[error("the index puts it into \"{shard}\", which does not hold it")]
    NotInShard {
        /// The file name in the index.
        shard: String,
    },
    /// An index entry that is more than a file name.
    #[error("the index names the file \"{shard}\"; only a plain file name is followed")]
    ShardName {
        /// The name in the index.
        shard: String,
    },
    /// The file could not be read, or ended before its own length.
    #[error("reading {what} at byte {at} failed")]
    Unreadable {
        /// The field.
        what: &'static str,
        /// Where.
        at: u64,
        /// What the system said.
        source: std::io::Error,
    },
}

fn hint(looks_like: &Option<&'static str>) -> String {
    looks_like
        .map(|what| format!(" ({what})"))
        .unwrap_or_default()
}

fn old_version(found: u32) -> &'static str {
    if found < 3 {
        " (older files keep 32-bit sizes or other layouts: convert the file again)"
    } else {
        ""
    }
}

/// A fault and its place, before the file is known.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) place: Place,
    pub(crate) fault: Fault,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self {
            place: Place::File,
            fault,
        }
    }
}

impl Fault {
    pub(crate) fn at(self, place: Place) -> Refusal {
        Refusal { place, fault: self }
    }
}
