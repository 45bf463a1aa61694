//! A folder of shards.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path};

use super::header::{self, RawIndex};
use super::{MAX_HEADER_BYTES, Shard, Tensor};
use crate::error::Error;
use crate::fault::{Fault, Place, Refusal, shown};
use crate::limits::at_most;
use crate::mapping::Opened;
use crate::payload::Payload;

/// The index beside the shards.
const INDEX: &str = "model.safetensors.index.json";
/// The one file of a checkpoint without an index.
const SINGLE: &str = "model.safetensors";

/// Every tensor of a checkpoint, whichever shard it lies in.
#[derive(Debug)]
pub struct Checkpoint {
    shards: Vec<Shard>,
    /// Tensor name to indices of its shard and of the tensor inside it.
    tensors: BTreeMap<String, (u32, u32)>,
}

impl Checkpoint {
    /// Opens `model.safetensors.index.json` and the shards it names, or `model.safetensors` where
    /// there is no index. Tensors of a shard that the index does not list are left out.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let index = folder.join(INDEX);
        if index.exists() {
            Self::open_index(folder, &index)
        } else {
            let shard = Shard::open(&folder.join(SINGLE))?;
            let names = shard.tensors().iter().enumerate();
            let tensors = names
                .map(|(at, tensor)| (tensor.name.clone(), (0, at as u32)))
                .collect();
            Ok(Self {
                shards: vec![shard],
                tensors,
            })
        }
    }

    fn open_index(folder: &Path, path: &Path) -> Result<Self, Error> {
        let refused = |refusal| Error::refused(path.display().to_string(), refusal);
        let weight_map = read_index(path)?;
        let mut shards = Vec::new();
        let mut by_file = BTreeMap::new();
        let mut tensors = BTreeMap::new();
        for (name, file) in weight_map {
            let at_tensor = |fault: Fault| refused(fault.at(Place::Tensor(shown(&name))));
            let shard = match by_file.get(&file) {
                Some(&shard) => shard,
                None => {
                    check_file_name(&file).map_err(at_tensor)?;
                    shards.push(Shard::open(&folder.join(&file))?);
                    by_file.insert(file.clone(), shards.len() - 1);
                    shards.len() - 1
                }
            };
            let at = shards[shard].position(&name).ok_or_else(|| {
                at_tensor(Fault::NotInShard {
                    shard: shown(&file),
                })
            })?;
            if tensors.contains_key(&name) {
                return Err(at_tensor(Fault::Repeated));
            }
            tensors.insert(name, (shard as u32, at));
        }
        Ok(Self { shards, tensors })
    }

    /// The shards, in the order of their first tensor in the index.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Every tensor, sorted by name.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &Tensor> {
        self.tensors.values().map(|&at| self.at(at).1)
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name).map(|&at| self.at(at).1)
    }

    /// The bytes of the tensor of this name.
    pub fn payload(&self, name: &str) -> Option<Payload> {
        let (shard, tensor) = self.at(*self.tensors.get(name)?);
        Some(shard.payload(tensor))
    }

    /// An error if any shard changed since it was opened.
    pub fn check(&self) -> Result<(), Error> {
        self.shards.iter().try_for_each(Shard::check)
    }

    fn at(&self, (shard, tensor): (u32, u32)) -> (&Shard, &Tensor) {
        let shard = &self.shards[shard as usize];
        (shard, &shard.tensors()[tensor as usize])
    }
}

fn read_index(path: &Path) -> Result<Vec<(String, String)>, Error> {
    let opened = Opened::open(path)?;
    let parse = || -> Result<RawIndex, Refusal> {
        at_most("index length", opened.len(), MAX_HEADER_BYTES)?;
        let mut text = Vec::new();
        let mut file = (&opened.file).take(MAX_HEADER_BYTES);
        file.read_to_end(&mut text)
            .map_err(|source| Fault::Unreadable {
                what: "index",
                at: 0,
                source,
            })?;
        Ok(header::parse(&text)?)
    };
    let index = parse().map_err(|refusal| Error::refused(path.display().to_string(), refusal))?;
    Ok(index.weight_map.0)
}

/// An index must not lead out of its folder.
fn check_file_name(file: &str) -> Result<(), Fault> {
    let mut parts = Path::new(file).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) if name == file => Ok(()),
        _ => Err(Fault::ShardName { shard: shown(file) }),
    }
}
