//! Why the CUDA backend is absent or refused something.

use cudarc::driver::DriverError;
use ds4_gguf::Format;
use ds4_model::Misuse;
use thiserror::Error;

use crate::room::Room;

/// An error of the CUDA backend.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no driver on this machine.
    #[error("no NVIDIA driver found (libcuda); install one, or use another backend")]
    NoDriver,
    /// The program was built without kernels.
    #[error(
        "built without CUDA kernels: no nvcc was found; set CUDA_HOME to CUDA 13.0 or newer and build again"
    )]
    NoKernels,
    /// There is no such card.
    #[error("card {ordinal} of {cards}")]
    NoCard {
        /// The card asked for.
        ordinal: usize,
        /// Cards there are.
        cards: usize,
    },
    /// The driver refused a call.
    #[error("{call}: {source}")]
    Driver {
        /// What was tried.
        call: &'static str,
        /// What the driver said.
        source: DriverError,
    },
    /// Not enough memory on the card.
    #[error("{what} need {need} bytes on the card, of which {free} of {total} are free")]
    Memory {
        /// What it was for.
        what: &'static str,
        /// Bytes asked for.
        need: usize,
        /// Bytes free.
        free: usize,
        /// Bytes the card has.
        total: usize,
    },
    /// A model and its sessions that do not fit the card.
    #[error("{0}")]
    Room(Room),
    /// Loading was ended before it was done.
    #[error("interrupted")]
    Interrupted,
    /// A model that the kernels are not made for.
    #[error("{field} is {found}; the kernels are made for {expected}")]
    Shape {
        /// What differs.
        field: &'static str,
        /// The model's.
        found: usize,
        /// The kernels'.
        expected: &'static str,
    },
    /// A tensor that the kernels cannot read.
    #[error(
        "{tensor} is stored as {format} in rows of {columns}; matrices have rows of whole groups of 32"
    )]
    Format {
        /// The tensor.
        tensor: String,
        /// Its format.
        format: Format,
        /// Its row length.
        columns: usize,
    },
    /// Routed experts whose gate and up matrices differ.
    #[error(
        "experts whose gate matrices are {gate} and whose up matrices are {up}; they must be alike"
    )]
    Experts {
        /// Format of the gate matrices.
        gate: Format,
        /// Format of the up matrices.
        up: Format,
    },
    /// A step or a piece of memory that does not fit.
    #[error(transparent)]
    Misuse(#[from] Misuse),
}

impl Error {
    /// Names the call that failed.
    pub(crate) fn of(call: &'static str) -> impl FnOnce(DriverError) -> Self {
        move |source| Self::Driver { call, source }
    }
}
