//! The JSON texts of the format, read with their sizes bounded and duplicate names kept visible.
//!
//! A JSON map type would let the last of two equal names win in silence, so maps are read as lists
//! of pairs here and judged by the caller.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::MAX_RANK;
use crate::fault::{Fault, shown};

/// A shard's header as written.
pub(super) struct RawHeader {
    pub(super) metadata: Vec<(String, String)>,
    pub(super) tensors: Vec<(String, RawTensor)>,
}

/// One entry of it.
#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an object of dtype, shape and data_offsets"
)]
pub(super) struct RawTensor {
    pub(super) dtype: String,
    pub(super) shape: Shape,
    pub(super) data_offsets: (u64, u64),
}

/// At most [`MAX_RANK`] sizes.
pub(super) struct Shape(pub(super) Vec<u64>);

/// The index of a checkpoint; totals and other notes in it are not needed.
#[derive(Deserialize)]
#[serde(expecting = "an object with a weight_map")]
pub(super) struct RawIndex {
    pub(super) weight_map: Pairs<String>,
}

/// A JSON object as the list of its members.
pub(super) struct Pairs<V>(pub(super) Vec<(String, V)>);

/// Reads `text` as JSON of type `T`; all of it must be used.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Fault> {
    serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let says = error.to_string();
        let place = format!(" at line {line} column {column}");
        // What is left may quote the text: shortened as everything that comes from a file.
        Fault::Json {
            line,
            column,
            reason: shown(says.strip_suffix(&place).unwrap_or(&says)),
        }
    })
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let (mut metadata, mut tensors) = (None, Vec::new());
        while let Some(name) = map.next_key::<String>()? {
            if name != "__metadata__" {
                tensors.push((name, map.next_value()?));
            } else if metadata
                .replace(map.next_value::<Pairs<String>>()?)
                .is_some()
            {
                return Err(A::Error::custom("__metadata__ appears twice"));
            }
        }
        Ok(RawHeader {
            metadata: metadata.map_or(Vec::new(), |pairs| pairs.0),
            tensors,
        })
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(PairsVisitor(PhantomData))
    }
}

struct PairsVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<V> {
    type Value = Pairs<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<V>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX_RANK} sizes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
        let mut sizes = Vec::new();
        while let Some(size) = seq.next_element()? {
            if sizes.len() == MAX_RANK {
                return Err(A::Error::invalid_length(MAX_RANK + 1, &self));
            }
            sizes.push(size);
        }
        Ok(Shape(sizes))
    }
}
