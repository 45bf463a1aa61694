//! From a weight file to a [`Machine`](crate::Machine). The one place that knows which backends
//! there are.

use std::ops::ControlFlow;

use ds4_cpu::{Cpu, Options};
use ds4_cuda::Cuda;
use ds4_gguf::Gguf;
use ds4_model::{BindError, Rounding, RowFormat, Weights};
use thiserror::Error;

use crate::machine::{Identity, Loaded};

pub use ds4_cuda::{
    Arithmetic as CudaArithmetic, Device as Card, Error as CardError, Options as CudaOptions,
    Room as CardRoom,
};

/// Why a model was not loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file is not a model of this family, or not a sound one.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The CPU backend has no room.
    #[error(transparent)]
    Cpu(#[from] ds4_cpu::Error),
    /// The CUDA backend is absent or has no room.
    #[error(transparent)]
    Cuda(#[from] ds4_cuda::Error),
    /// The file changed while it was read.
    #[error(transparent)]
    File(#[from] ds4_gguf::Error),
}

impl LoadError {
    /// Whether it was ended on request.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Cuda(ds4_cuda::Error::Interrupted))
    }

    /// Both numbers of a card that is too small.
    pub fn room(&self) -> Option<&CardRoom> {
        match self {
            Self::Cuda(ds4_cuda::Error::Room(room)) => Some(room),
            _ => None,
        }
    }
}

/// Bytes read from either end of a tensor for the identity of a model.
const SAMPLE: usize = 4096;

impl Identity {
    /// The identity of the model in `file`, before its memory is laid out: names, formats, sizes
    /// and both ends of every tensor. Hashing all of an 81 GB file would cost more than loading it;
    /// weights that differ anywhere but keep both ends of all tensors are not told apart.
    pub fn of(file: &Gguf) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("ds4 model identity, version 1");
        for info in file.tensors() {
            let bytes = file.payload(info);
            let head = &bytes[..bytes.len().min(SAMPLE)];
            let tail = &bytes[bytes.len() - head.len()..];
            hash.update(&(info.name.len() as u64).to_le_bytes());
            hash.update(info.name.as_bytes());
            hash.update(info.format.name().as_bytes());
            for &dim in &info.dims[..] {
                hash.update(&dim.to_le_bytes());
            }
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(head);
            hash.update(tail);
        }
        Self(*hash.finalize().as_bytes())
    }

    /// The same model with rows stored and rounded like this.
    fn laid_out(self, rows: RowFormat, rounding: Rounding, draft: bool) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("ds4 session layout, version 1");
        hash.update(&self.0);
        let rows = match rows {
            RowFormat::Packed => 0,
            RowFormat::F32 => 1,
        };
        let rounding = match rounding {
            Rounding::Model => 0,
            Rounding::None => 1,
        };
        hash.update(&[rows, rounding, u8::from(draft)]);
        Self(*hash.finalize().as_bytes())
    }
}

/// Loads the model in `file` onto the CPU, weights read in place.
///
/// # Errors
/// If the file does not hold a model, or memory cannot be reserved.
pub fn load_cpu(file: &Gguf, options: Options) -> Result<Loaded<Cpu>, LoadError> {
    let (shape, weights) = Weights::bind(file)?;
    let identity = Identity::of(file).laid_out(options.rows, options.rounding, options.draft);
    let rows = (options.max_rows, options.max_outputs);
    let weights = weights.map(|_, tensor| ds4_cpu::Tensor::bound(tensor));
    let cpu = Cpu::new(shape.clone(), options)?;
    Ok(Loaded::new(cpu, weights, &shape, rows, identity)?)
}

/// Loads the model in `file` onto an NVIDIA card; `progress` is told bytes copied and bytes in all,
/// and may end it.
///
/// # Errors
/// If the file does not hold a model or changes meanwhile, or there is no card with room for it.
pub fn load_cuda(
    file: &Gguf,
    options: CudaOptions,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Loaded<Cuda>, LoadError> {
    let (shape, weights) = Weights::bind(file)?;
    let identity = Identity::of(file).laid_out(options.rows, options.rounding, options.draft);
    let rows = (options.max_rows, options.max_outputs);
    let cuda = Cuda::with_room_for(&weights, shape.clone(), options)?;
    let weights = cuda.load_with(&weights, progress)?;
    // What vanished from a file on the way was copied as zeros.
    file.check()?;
    Ok(Loaded::new(cuda, weights, &shape, rows, identity)?)
}
