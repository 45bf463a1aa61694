//! The demo model inside the program, so that it can speak before anything is downloaded.

use ds4_gguf::{Error, Gguf};

/// Kernels read weights in place, at the alignment they have in a mapped file.
#[repr(C, align(4096))]
struct Page<B: ?Sized>(B);

static FILE: &Page<[u8]> = &Page(*include_bytes!("../../../models/demo/demo.gguf"));

/// The demo model. `models/demo/README.md` says what it is and is not.
pub(crate) fn open() -> Result<Gguf, Error> {
    Gguf::from_bytes("the demo model", &FILE.0)
}
