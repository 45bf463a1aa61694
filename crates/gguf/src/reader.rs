//! GGUF files: opened in the time their header takes, payloads in place.
//!
//! Opening reads the header into memory, checks every rule that needs no knowledge of a model
//! (docs/formats/gguf.md lists them), and maps the file. From then on nothing about the file is in
//! doubt but its payload bytes, which [`Gguf::payload`] hands out as they lie, and the file's
//! survival, which [`Gguf::check`] asks about.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

use crate::directory::{self, Directory};
use crate::error::Error;
use crate::fault::{Fault, Place, Refusal};
use crate::intake::Intake;
use crate::mapping::{Opened, Progress};
use crate::metadata::{self, Metadata};
use crate::payload::Payload;
use crate::value::{Value, ValueType};
use crate::{TensorInfo, limits};

/// An open GGUF file.
#[derive(Debug)]
pub struct Gguf {
    name: String,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    by_name: Vec<u32>,
    by_offset: Vec<u32>,
    alignment: u64,
    data_start: u64,
    file: Payload,
}

impl Gguf {
    /// Opens and checks the file at `path`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let opened = Opened::open(path)?;
        let name = path.display().to_string();
        let header = read_header(&opened.file, opened.len()).map_err(|refusal| {
            // A file that changes while its header is read looks damaged; the change is the better
            // reason.
            opened
                .check()
                .err()
                .unwrap_or_else(|| Error::refused(&name, refusal))
        })?;
        Ok(Self::assemble(name, header, opened.map()?.into()))
    }

    /// Checks a file that is already in memory; `name` stands for it in errors.
    pub fn from_bytes(
        name: impl Into<String>,
        bytes: impl Into<Cow<'static, [u8]>>,
    ) -> Result<Self, Error> {
        let (name, file) = (name.into(), Payload::from(bytes.into()));
        let header = read_header(&file[..], file.len() as u64)
            .map_err(|refusal| Error::refused(&name, refusal))?;
        Ok(Self::assemble(name, header, file))
    }

    fn assemble(name: String, header: Header, file: Payload) -> Self {
        let Header {
            bytes,
            entries,
            by_key,
            directory,
            alignment,
        } = header;
        let Directory {
            tensors,
            by_name,
            by_offset,
            data_start,
        } = directory;
        let metadata = Metadata::new(name.clone(), bytes, entries, by_key);
        Self {
            name,
            metadata,
            tensors,
            by_name,
            by_offset,
            alignment,
            data_start,
            file,
        }
    }

    /// The path the file was opened by, or the name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Keys and values.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Every tensor, in the order of the directory.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        let index = |&at: &u32| self.tensors[at as usize].name.as_str();
        let found = self
            .by_name
            .binary_search_by(|at| index(at).cmp(name))
            .ok()?;
        Some(&self.tensors[self.by_name[found] as usize])
    }

    /// The bytes of a tensor of this file.
    ///
    /// # Panics
    /// If `tensor` comes from another file and does not fit this one.
    pub fn payload(&self, tensor: &TensorInfo) -> Payload {
        self.file
            .slice(tensor.offset as usize..tensor.end() as usize)
    }

    /// Length of the file.
    pub fn file_bytes(&self) -> u64 {
        self.file.len() as u64
    }

    /// Alignment of the payloads.
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Where the data section begins.
    pub fn data_start(&self) -> u64 {
        self.data_start
    }

    /// Groups of tensors that share one payload, in the order of the payloads.
    pub fn aliases(&self) -> impl Iterator<Item = Vec<&TensorInfo>> {
        let tensor = |at: &u32| &self.tensors[*at as usize];
        self.by_offset
            .chunk_by(move |a, b| directory::shares(tensor(a), tensor(b)))
            .filter(|group| group.len() > 1)
            .map(move |group| group.iter().map(tensor).collect())
    }

    /// An error if the file changed since it was opened. Cheap; call it before believing results.
    pub fn check(&self) -> Result<(), Error> {
        self.file
            .mapping()
            .map_or(Ok(()), |mapping| mapping.check())
    }

    /// Reads the whole file once so that later reads find it in memory.
    pub fn warm(&self, progress: &mut Progress<'_>) -> Result<(), Error> {
        self.file
            .mapping()
            .map_or(Ok(()), |mapping| mapping.warm(progress))
    }

    /// Keeps the whole file in memory while it is open.
    pub fn lock(&self) -> Result<(), Error> {
        self.file.mapping().map_or(Ok(()), |mapping| mapping.lock())
    }
}

struct Header {
    bytes: Vec<u8>,
    entries: Vec<metadata::Entry>,
    by_key: Vec<u32>,
    directory: Directory,
    alignment: u64,
}

fn read_header(from: impl Read, total: u64) -> Result<Header, Refusal> {
    let mut intake = Intake::new(from, total);
    check_magic(&mut intake)?;
    let tensor_count = intake.u64("tensor count")?;
    let tensor_count = limits::at_most("tensor count", tensor_count, limits::MAX_COUNT)?;
    let key_count = intake.u64("metadata count")?;
    let key_count = limits::at_most("metadata count", key_count, limits::MAX_COUNT)?;
    let (entries, by_key) = metadata::read(&mut intake, key_count)?;
    let alignment = alignment(metadata::find(&intake, &entries, limits::ALIGNMENT_KEY))
        .map_err(|fault| fault.at(Place::Key(limits::ALIGNMENT_KEY.to_owned())))?;
    let directory = directory::read(&mut intake, tensor_count, alignment)?;
    Ok(Header {
        bytes: intake.into_bytes(),
        entries,
        by_key,
        directory,
        alignment,
    })
}

fn check_magic<R: Read>(intake: &mut Intake<R>) -> Result<(), Fault> {
    let range = intake.take("magic", 4)?;
    let found: [u8; 4] = intake.bytes()[range]
        .try_into()
        .expect("four bytes were taken");
    if &found != b"GGUF" {
        return Err(Fault::Magic {
            found,
            looks_like: looks_like(found),
        });
    }
    match intake.u32("version")? {
        3 => Ok(()),
        found if (1..=3).contains(&found.swap_bytes()) => Err(Fault::BigEndian { found }),
        found => Err(Fault::Version { found }),
    }
}

fn looks_like(magic: [u8; 4]) -> Option<&'static str> {
    match &magic {
        b"lmgg" | b"fmgg" | b"tjgg" => Some("a GGML file from before GGUF: convert it again"),
        b"FUGG" => Some("GGUF with its bytes reversed"),
        b"PK\x03\x04" => Some("a zip archive, perhaps a PyTorch checkpoint"),
        b"vers" => Some("perhaps a Git LFS pointer: fetch the file itself"),
        b"<!DO" | b"<htm" => Some("a web page: the download failed"),
        [_, _, 0..=15, 0] => Some("perhaps safetensors"),
        _ => None,
    }
}

fn alignment(value: Option<Value<'_>>) -> Result<u64, Fault> {
    let Some(value) = value else {
        return Ok(limits::DEFAULT_ALIGNMENT);
    };
    let found = value.value_type();
    match found {
        ValueType::U8 | ValueType::U16 | ValueType::U32 | ValueType::U64 => {
            limits::check_alignment(value.as_u64().expect("an unsigned integer"))
        }
        _ => Err(Fault::AlignmentType {
            found: found.name(),
        }),
    }
}
