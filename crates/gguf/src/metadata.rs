//! The metadata of a file: keys and typed values in file order, looked up by name.
//!
//! Values are checked once, when the header is read, and decoded from the header's bytes whenever
//! they are asked for. Nothing is allocated per string or array item.

use std::fmt;
use std::io::Read;
use std::ops::Range;

use crate::fault::{Fault, Place, Refusal, shown};
use crate::intake::Intake;
use crate::limits;
use crate::value::{Array, Value, ValueType};

/// Keys and values in file order.
pub struct Metadata {
    file: String,
    header: Vec<u8>,
    entries: Vec<Entry>,
    /// Indices of `entries`, sorted by key.
    by_key: Vec<u32>,
}

/// Where an entry lies in the header. Small, because a hostile file may have a million of them.
pub(crate) struct Entry {
    key_at: u32,
    value_at: u32,
    key_bytes: u16,
    value_type: ValueType,
}

impl Entry {
    fn key(&self) -> Range<usize> {
        let start = self.key_at as usize;
        start..start + usize::from(self.key_bytes)
    }
}

const _: () = assert!(limits::MAX_HEADER_BYTES <= u32::MAX as u64);
const _: () = assert!(limits::MAX_NAME_BYTES <= u16::MAX as u64);

/// Asked for a key that is not there, or holds something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No such key.
    #[error("{file}: metadata key \"{key}\" is missing; {wanted} expected")]
    Missing {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// What was asked for.
        wanted: &'static str,
    },
    /// The value does not convert to what was asked for.
    #[error("{file}: metadata key \"{key}\" is {found}; {wanted} expected")]
    Mismatch {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// Stored type, and value if it is a number.
        found: String,
        /// What was asked for.
        wanted: &'static str,
    },
}

impl Metadata {
    pub(crate) fn new(
        file: String,
        header: Vec<u8>,
        entries: Vec<Entry>,
        by_key: Vec<u32>,
    ) -> Self {
        Self {
            file,
            header,
            entries,
            by_key,
        }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without keys.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every key and value, in file order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Value<'_>)> {
        self.entries
            .iter()
            .map(|entry| (self.key(entry), self.value(entry)))
    }

    /// The value of `key`, if the file has it.
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        let found = self
            .by_key
            .binary_search_by(|&index| self.key(&self.entries[index as usize]).cmp(key))
            .ok()?;
        Some(self.value(&self.entries[self.by_key[found] as usize]))
    }

    /// A required integer that is not negative, whatever its stored width.
    pub fn u64(&self, key: &str) -> Result<u64, KeyError> {
        self.require(key, "an unsigned integer", |v| v.as_u64())
    }

    /// A required integer that fits 32 bits, whatever its stored width.
    pub fn u32(&self, key: &str) -> Result<u32, KeyError> {
        self.require(key, "an unsigned 32-bit integer", |v| v.as_u32())
    }

    /// A required integer, whatever its stored width.
    pub fn i64(&self, key: &str) -> Result<i64, KeyError> {
        self.require(key, "an integer", |v| v.as_i64())
    }

    /// A required floating-point number.
    pub fn f32(&self, key: &str) -> Result<f32, KeyError> {
        self.require(key, "a floating-point number", |v| v.as_f32())
    }

    /// A required floating-point number.
    pub fn f64(&self, key: &str) -> Result<f64, KeyError> {
        self.require(key, "a floating-point number", |v| v.as_f64())
    }

    /// A required truth value.
    pub fn bool(&self, key: &str) -> Result<bool, KeyError> {
        self.require(key, "a bool", |v| v.as_bool())
    }

    /// A required text.
    pub fn str(&self, key: &str) -> Result<&str, KeyError> {
        self.require(key, "a string", |v| v.as_str())
    }

    /// A required list.
    pub fn array(&self, key: &str) -> Result<Array<'_>, KeyError> {
        self.require(key, "an array", |v| v.as_array())
    }

    fn require<'a, T>(
        &'a self,
        key: &str,
        wanted: &'static str,
        convert: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<T, KeyError> {
        let (file, key) = (&self.file, key);
        let value = self.get(key).ok_or_else(|| KeyError::Missing {
            file: file.clone(),
            key: key.to_owned(),
            wanted,
        })?;
        convert(value).ok_or_else(|| KeyError::Mismatch {
            file: file.clone(),
            key: key.to_owned(),
            found: describe(value),
            wanted,
        })
    }

    fn key(&self, entry: &Entry) -> &str {
        std::str::from_utf8(&self.header[entry.key()]).expect("the reader checked every key")
    }

    fn value(&self, entry: &Entry) -> Value<'_> {
        Value::decode(entry.value_type, &self.header[entry.value_at as usize..])
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

fn describe(value: Value<'_>) -> String {
    let name = value.value_type().name();
    match (value.as_i128(), value.as_f64()) {
        (Some(number), _) => format!("the {name} {number}"),
        (_, Some(number)) => format!("the {name} {number}"),
        _ => format!("of type {name}"),
    }
}

/// Reads `count` entries; returns them with their order by key.
pub(crate) fn read<R: Read>(
    intake: &mut Intake<R>,
    count: u64,
) -> Result<(Vec<Entry>, Vec<u32>), Refusal> {
    let mut entries = Vec::with_capacity(count.min(limits::FIRST_ROOM) as usize);
    for index in 0..count {
        let key = intake
            .text("a key", limits::MAX_NAME_BYTES)
            .map_err(|fault| fault.at(Place::KeyAt(index)))?;
        let (value_type, value_at) =
            read_value(intake).map_err(|fault| fault.at(Place::Key(shown(intake.str(&key)))))?;
        let (key_at, key_bytes) = (key.start as u32, key.len() as u16);
        entries.push(Entry {
            key_at,
            value_at,
            key_bytes,
            value_type,
        });
    }
    let by_key = sort_by_key(intake, &entries)?;
    Ok((entries, by_key))
}

fn read_value<R: Read>(intake: &mut Intake<R>) -> Result<(ValueType, u32), Fault> {
    let value_type = read_type(intake)?;
    let value_at = intake.at() as u32;
    check_value(intake, value_type, 0)?;
    Ok((value_type, value_at))
}

fn read_type<R: Read>(intake: &mut Intake<R>) -> Result<ValueType, Fault> {
    let id = intake.u32("value type")?;
    ValueType::from_id(id).ok_or(Fault::ValueType { id })
}

fn check_value<R: Read>(intake: &mut Intake<R>, of: ValueType, depth: u32) -> Result<(), Fault> {
    match of {
        ValueType::Array => check_array(intake, depth + 1),
        ValueType::Str => intake.text("a string", limits::MAX_STRING_BYTES).map(drop),
        ValueType::Bool => check_bools(intake, 1),
        fixed => {
            let size = fixed
                .fixed_bytes()
                .expect("strings and arrays are handled above");
            intake.take("a value", size as u64).map(drop)
        }
    }
}

fn check_array<R: Read>(intake: &mut Intake<R>, depth: u32) -> Result<(), Fault> {
    if depth > limits::MAX_NESTING {
        return Err(Fault::Nesting {
            limit: limits::MAX_NESTING,
        });
    }
    let items = read_type(intake)?;
    let count = limits::at_most(
        "array length",
        intake.u64("array length")?,
        limits::MAX_COUNT,
    )?;
    match (items, items.fixed_bytes()) {
        (ValueType::Bool, _) => check_bools(intake, count),
        (_, Some(size)) => intake.take("array items", size as u64 * count).map(drop),
        (_, None) => (0..count).try_for_each(|_| check_value(intake, items, depth)),
    }
}

fn check_bools<R: Read>(intake: &mut Intake<R>, count: u64) -> Result<(), Fault> {
    let range = intake.take("truth values", count)?;
    match intake.bytes()[range.clone()]
        .iter()
        .position(|&byte| byte > 1)
    {
        None => Ok(()),
        Some(index) => {
            let at = range.start + index;
            Err(Fault::Bool {
                found: intake.bytes()[at],
                at: at as u64,
            })
        }
    }
}

fn sort_by_key<R: Read>(intake: &Intake<R>, entries: &[Entry]) -> Result<Vec<u32>, Refusal> {
    let key = |index: u32| intake.str(&entries[index as usize].key());
    let mut by_key: Vec<u32> = (0..entries.len() as u32).collect();
    by_key.sort_by(|&a, &b| key(a).cmp(key(b)));
    match by_key.windows(2).find(|pair| key(pair[0]) == key(pair[1])) {
        None => Ok(by_key),
        Some(pair) => Err(Fault::Duplicate {
            first: pair[0].into(),
            second: pair[1].into(),
        }
        .at(Place::Key(shown(key(pair[0]))))),
    }
}

/// The value of `key` while the header is still being read.
pub(crate) fn find<'a, R: Read>(
    intake: &'a Intake<R>,
    entries: &[Entry],
    key: &str,
) -> Option<Value<'a>> {
    let entry = entries
        .iter()
        .find(|entry| intake.str(&entry.key()) == key)?;
    Some(Value::decode(
        entry.value_type,
        &intake.bytes()[entry.value_at as usize..],
    ))
}
