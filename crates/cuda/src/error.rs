//! Why the CUDA backend is absent or refused something.

use cudarc::driver::DriverError;
use ds4_gguf::Format;
use thiserror::Error;

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
    /// A plan with more rows than buffers were made for.
    #[error(
        "a step of {rows} rows, {outputs} with logits; there is room for {max_rows} and {max_outputs}"
    )]
    PlanTooLarge {
        /// Rows of the plan.
        rows: usize,
        /// Rows that want logits.
        outputs: usize,
        /// Rows there is room for.
        max_rows: usize,
        /// Rows with logits there is room for.
        max_outputs: usize,
    },
    /// A slot that does not exist.
    #[error("slot {slot} of {slots}")]
    Slot {
        /// The slot.
        slot: u32,
        /// How many there are.
        slots: usize,
    },
    /// A page that does not exist, or more of them than there are.
    #[error("page {page} of {pages}")]
    Page {
        /// The page.
        page: u32,
        /// How many there are.
        pages: usize,
    },
    /// A run that goes beyond its slot's pages.
    #[error("slot {slot} has pages for {have} tokens and was to compute up to token {need}")]
    NoPages {
        /// The slot.
        slot: u32,
        /// Tokens its pages hold.
        have: usize,
        /// Tokens the plan needs.
        need: usize,
    },
    /// A token outside of the vocabulary.
    #[error("token {token} in a vocabulary of {vocab}")]
    Token {
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// Bytes of a page or frontier of another size than this model's.
    #[error("a {what} of {found} bytes where this model's has {expected}")]
    Size {
        /// Page or frontier.
        what: &'static str,
        /// Bytes given.
        found: usize,
        /// Bytes of this model's.
        expected: usize,
    },
}

impl Error {
    /// Names the call that failed.
    pub(crate) fn of(call: &'static str) -> impl FnOnce(DriverError) -> Self {
        move |source| Self::Driver { call, source }
    }
}
