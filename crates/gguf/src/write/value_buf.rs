//! Metadata that owns its values, for files to be written.

use crate::fault::{Fault, Place, Refusal, shown};
use crate::limits;
use crate::metadata::Metadata;
use crate::value::{Value, ValueType};

/// Keys and values in the order they will have in the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetadataBuf {
    entries: Vec<(String, ValueBuf)>,
}

impl MetadataBuf {
    /// No keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key`, in place if it exists and at the end otherwise.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<ValueBuf>) {
        let (key, value) = (key.into(), value.into());
        match self.entries.iter_mut().find(|entry| entry.0 == key) {
            Some(entry) => entry.1 = value,
            None => self.entries.push((key, value)),
        }
    }

    /// Removes `key`; returns the value it had.
    pub fn remove(&mut self, key: &str) -> Option<ValueBuf> {
        let index = self.entries.iter().position(|entry| entry.0 == key)?;
        Some(self.entries.remove(index).1)
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&ValueBuf> {
        self.entries
            .iter()
            .find(|entry| entry.0 == key)
            .map(|entry| &entry.1)
    }

    /// Every key and value in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &ValueBuf)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// Appends the count and all entries as they stand in a file.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        for (key, value) in &self.entries {
            let at_key = |fault: Fault| fault.at(Place::Key(shown(key)));
            limits::check_text("a key", key.len() as u64, limits::MAX_NAME_BYTES)
                .map_err(at_key)?;
            put_text(out, key);
            out.extend(value.value_type().id().to_le_bytes());
            value.encode(out, 0).map_err(at_key)?;
        }
        Ok(())
    }
}

impl From<&Metadata> for MetadataBuf {
    fn from(metadata: &Metadata) -> Self {
        let entries = metadata
            .iter()
            .map(|(key, value)| (key.to_owned(), value.into()));
        Self {
            entries: entries.collect(),
        }
    }
}

/// One metadata value that owns its text and items.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueBuf {
    /// Unsigned byte.
    U8(u8),
    /// Signed byte.
    I8(i8),
    /// Unsigned 16-bit integer.
    U16(u16),
    /// Signed 16-bit integer.
    I16(i16),
    /// Unsigned 32-bit integer.
    U32(u32),
    /// Signed 32-bit integer.
    I32(i32),
    /// IEEE binary32.
    F32(f32),
    /// Truth value.
    Bool(bool),
    /// Text.
    Str(String),
    /// Items, all of the type given first.
    Array(ValueType, Vec<ValueBuf>),
    /// Unsigned 64-bit integer.
    U64(u64),
    /// Signed 64-bit integer.
    I64(i64),
    /// IEEE binary64.
    F64(f64),
}

impl ValueBuf {
    /// The type it is stored as.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::F32(_) => ValueType::F32,
            Self::Bool(_) => ValueType::Bool,
            Self::Str(_) => ValueType::Str,
            Self::Array(..) => ValueType::Array,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F64(_) => ValueType::F64,
        }
    }

    fn encode(&self, out: &mut Vec<u8>, depth: u32) -> Result<(), Fault> {
        match self {
            Self::U8(v) => out.push(*v),
            Self::I8(v) => out.extend(v.to_le_bytes()),
            Self::U16(v) => out.extend(v.to_le_bytes()),
            Self::I16(v) => out.extend(v.to_le_bytes()),
            Self::U32(v) => out.extend(v.to_le_bytes()),
            Self::I32(v) => out.extend(v.to_le_bytes()),
            Self::F32(v) => out.extend(v.to_le_bytes()),
            Self::Bool(v) => out.push(u8::from(*v)),
            Self::Str(v) => {
                limits::check_text("a string", v.len() as u64, limits::MAX_STRING_BYTES)?;
                put_text(out, v);
            }
            Self::Array(items, values) => encode_array(*items, values, out, depth + 1)?,
            Self::U64(v) => out.extend(v.to_le_bytes()),
            Self::I64(v) => out.extend(v.to_le_bytes()),
            Self::F64(v) => out.extend(v.to_le_bytes()),
        }
        Ok(())
    }
}

fn encode_array(
    items: ValueType,
    values: &[ValueBuf],
    out: &mut Vec<u8>,
    depth: u32,
) -> Result<(), Fault> {
    if depth > limits::MAX_NESTING {
        return Err(Fault::Nesting {
            limit: limits::MAX_NESTING,
        });
    }
    if let Some(odd) = values.iter().find(|value| value.value_type() != items) {
        return Err(Fault::MixedArray {
            wanted: items.name(),
            found: odd.value_type().name(),
        });
    }
    let count = limits::at_most("array length", values.len() as u64, limits::MAX_COUNT)?;
    out.extend(items.id().to_le_bytes());
    out.extend(count.to_le_bytes());
    values.iter().try_for_each(|value| value.encode(out, depth))
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

impl From<Value<'_>> for ValueBuf {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::U8(v) => Self::U8(v),
            Value::I8(v) => Self::I8(v),
            Value::U16(v) => Self::U16(v),
            Value::I16(v) => Self::I16(v),
            Value::U32(v) => Self::U32(v),
            Value::I32(v) => Self::I32(v),
            Value::F32(v) => Self::F32(v),
            Value::Bool(v) => Self::Bool(v),
            Value::Str(v) => Self::Str(v.to_owned()),
            Value::Array(v) => Self::Array(v.item_type(), v.values().map(Self::from).collect()),
            Value::U64(v) => Self::U64(v),
            Value::I64(v) => Self::I64(v),
            Value::F64(v) => Self::F64(v),
        }
    }
}

impl From<&str> for ValueBuf {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

/// `T` and lists of `T` become the value of the type given.
macro_rules! from_native {
    ($($native:ty => $variant:ident),* $(,)?) => {$(
        impl From<$native> for ValueBuf {
            fn from(value: $native) -> Self {
                Self::$variant(value)
            }
        }

        impl From<Vec<$native>> for ValueBuf {
            fn from(values: Vec<$native>) -> Self {
                Self::Array(ValueType::$variant, values.into_iter().map(Self::$variant).collect())
            }
        }
    )*};
}

from_native! {
    u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, f32 => F32,
    bool => Bool, String => Str, u64 => U64, i64 => I64, f64 => F64,
}
