//! Metadata values, borrowed from the header.
//!
//! Thirteen types exist. Whoever reads a value rarely cares how wide an integer was stored, so the
//! `as_` methods convert between widths when the number fits; [`Value::value_type`] tells the
//! stored type where it matters.

/// The type of a metadata value or of an array's items, by GGUF id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// Unsigned byte.
    U8 = 0,
    /// Signed byte.
    I8 = 1,
    /// Unsigned 16-bit integer.
    U16 = 2,
    /// Signed 16-bit integer.
    I16 = 3,
    /// Unsigned 32-bit integer.
    U32 = 4,
    /// Signed 32-bit integer.
    I32 = 5,
    /// IEEE binary32.
    F32 = 6,
    /// One byte, 0 or 1.
    Bool = 7,
    /// UTF-8 text.
    Str = 8,
    /// A list of values of one type.
    Array = 9,
    /// Unsigned 64-bit integer.
    U64 = 10,
    /// Signed 64-bit integer.
    I64 = 11,
    /// IEEE binary64.
    F64 = 12,
}

impl ValueType {
    /// The type with this GGUF id.
    pub fn from_id(id: u32) -> Option<Self> {
        const ALL: [ValueType; 13] = [
            ValueType::U8,
            ValueType::I8,
            ValueType::U16,
            ValueType::I16,
            ValueType::U32,
            ValueType::I32,
            ValueType::F32,
            ValueType::Bool,
            ValueType::Str,
            ValueType::Array,
            ValueType::U64,
            ValueType::I64,
            ValueType::F64,
        ];
        ALL.get(id as usize).copied()
    }

    /// The GGUF id.
    pub fn id(self) -> u32 {
        self as u32
    }

    /// A short name, such as `u32`.
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::Str => "string",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }

    /// Bytes of one value, for the types that have a fixed size.
    pub(crate) fn fixed_bytes(self) -> Option<usize> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Str | Self::Array => None,
        }
    }
}

/// One metadata value.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
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
    Str(&'a str),
    /// A list of values of one type.
    Array(Array<'a>),
    /// Unsigned 64-bit integer.
    U64(u64),
    /// Signed 64-bit integer.
    I64(i64),
    /// IEEE binary64.
    F64(f64),
}

impl<'a> Value<'a> {
    /// The stored type.
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
            Self::Array(_) => ValueType::Array,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F64(_) => ValueType::F64,
        }
    }

    /// An integer of any width.
    pub fn as_i128(&self) -> Option<i128> {
        match *self {
            Self::U8(v) => Some(v.into()),
            Self::I8(v) => Some(v.into()),
            Self::U16(v) => Some(v.into()),
            Self::I16(v) => Some(v.into()),
            Self::U32(v) => Some(v.into()),
            Self::I32(v) => Some(v.into()),
            Self::U64(v) => Some(v.into()),
            Self::I64(v) => Some(v.into()),
            _ => None,
        }
    }

    /// An integer of any width that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_i128()?.try_into().ok()
    }

    /// An integer of any width that fits.
    pub fn as_u32(&self) -> Option<u32> {
        self.as_i128()?.try_into().ok()
    }

    /// An integer of any width that fits.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_i128()?.try_into().ok()
    }

    /// A floating-point number; integers are not.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::F32(v) => Some(v.into()),
            Self::F64(v) => Some(v),
            _ => None,
        }
    }

    /// A floating-point number, rounded to binary32.
    pub fn as_f32(&self) -> Option<f32> {
        self.as_f64().map(|v| v as f32)
    }

    /// A truth value.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(v) => Some(v),
            _ => None,
        }
    }

    /// Text.
    pub fn as_str(&self) -> Option<&'a str> {
        match *self {
            Self::Str(v) => Some(v),
            _ => None,
        }
    }

    /// A list.
    pub fn as_array(&self) -> Option<Array<'a>> {
        match *self {
            Self::Array(v) => Some(v),
            _ => None,
        }
    }

    /// The value of type `of` at the start of `bytes`, which the reader has checked.
    pub(crate) fn decode(of: ValueType, bytes: &'a [u8]) -> Self {
        match of {
            ValueType::U8 => Self::U8(bytes[0]),
            ValueType::I8 => Self::I8(bytes[0] as i8),
            ValueType::U16 => Self::U16(u16::from_le_bytes(lead(bytes))),
            ValueType::I16 => Self::I16(i16::from_le_bytes(lead(bytes))),
            ValueType::U32 => Self::U32(u32::from_le_bytes(lead(bytes))),
            ValueType::I32 => Self::I32(i32::from_le_bytes(lead(bytes))),
            ValueType::F32 => Self::F32(f32::from_le_bytes(lead(bytes))),
            ValueType::Bool => Self::Bool(bytes[0] != 0),
            ValueType::Str => Self::Str(text(bytes)),
            ValueType::Array => Self::Array(Array::decode(bytes)),
            ValueType::U64 => Self::U64(u64::from_le_bytes(lead(bytes))),
            ValueType::I64 => Self::I64(i64::from_le_bytes(lead(bytes))),
            ValueType::F64 => Self::F64(f64::from_le_bytes(lead(bytes))),
        }
    }
}

fn lead<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes[..N].try_into().expect("a slice of N bytes")
}

fn length(bytes: &[u8]) -> usize {
    u64::from_le_bytes(lead(bytes)) as usize
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(&bytes[8..8 + length(bytes)]).expect("the reader checked every string")
}

/// What follows the value of type `of` at the start of `bytes`.
fn after(of: ValueType, bytes: &[u8]) -> &[u8] {
    match of {
        ValueType::Str => &bytes[8 + length(bytes)..],
        ValueType::Array => {
            let array = Array::decode(bytes);
            match array.items.fixed_bytes() {
                Some(size) => &array.bytes[size * array.len..],
                None => (0..array.len).fold(array.bytes, |rest, _| after(array.items, rest)),
            }
        }
        fixed => {
            &bytes[fixed
                .fixed_bytes()
                .expect("strings and arrays are handled above")..]
        }
    }
}

/// A list of values of one type, read item by item from the header.
#[derive(Clone, Copy)]
pub struct Array<'a> {
    items: ValueType,
    len: usize,
    /// From the first item on; it reaches past the last one.
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    fn decode(bytes: &'a [u8]) -> Self {
        let id = u32::from_le_bytes(lead(bytes));
        let items = ValueType::from_id(id).expect("the reader checked every type");
        Self {
            items,
            len: length(&bytes[4..]),
            bytes: &bytes[12..],
        }
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without items.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Type of the items.
    pub fn item_type(&self) -> ValueType {
        self.items
    }

    /// The items, whatever their type.
    pub fn values(&self) -> Items<'a> {
        Items { array: *self }
    }

    /// The items of a list of strings.
    pub fn strs(&self) -> Option<impl ExactSizeIterator<Item = &'a str> + Clone + use<'a>> {
        let all = (self.items == ValueType::Str).then(|| self.values())?;
        Some(all.map(|v| v.as_str().expect("an array of strings")))
    }

    /// The items of a list of integers of any width, if all of them fit.
    pub fn i64s(&self) -> Option<impl ExactSizeIterator<Item = i64> + Clone + use<'a>> {
        if !self.values().all(|v| v.as_i64().is_some()) {
            return None;
        }
        Some(
            self.values()
                .map(|v| v.as_i64().expect("every item was tried above")),
        )
    }

    /// The items of a list of floating-point numbers.
    pub fn f64s(&self) -> Option<impl ExactSizeIterator<Item = f64> + Clone + use<'a>> {
        let float = matches!(self.items, ValueType::F32 | ValueType::F64);
        let all = float.then(|| self.values())?;
        Some(all.map(|v| v.as_f64().expect("an array of floats")))
    }
}

impl std::fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}; {}]", self.items.name(), self.len)
    }
}

/// The items of an [`Array`] in order.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    array: Array<'a>,
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let array = &mut self.array;
        array.len = array.len.checked_sub(1)?;
        let value = Value::decode(array.items, array.bytes);
        array.bytes = after(array.items, array.bytes);
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.array.len, Some(self.array.len))
    }
}

impl ExactSizeIterator for Items<'_> {}
