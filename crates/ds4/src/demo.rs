//! The demo model inside the program, so that it can speak before anything is downloaded.

use anyhow::Result;
use ds4_gguf::{Error, Gguf};

/// Is there one in this build?
pub(crate) const IS_EMBEDDED: bool = cfg!(demo);

/// The demo model, if it was there when this program was built.
#[cfg(demo)]
pub(crate) fn open() -> Result<Option<Gguf>, Error> {
    /// Kernels read weights in place, at the alignment they have in a mapped file.
    #[repr(C, align(4096))]
    struct Page<B: ?Sized>(B);
    static FILE: &Page<[u8]> = &Page(*include_bytes!("../../../models/demo/demo.gguf"));
    Gguf::from_bytes("the demo model", &FILE.0).map(Some)
}

/// The demo model, if it was there when this program was built.
#[cfg(not(demo))]
pub(crate) fn open() -> Result<Option<Gguf>, Error> {
    Ok(None)
}
