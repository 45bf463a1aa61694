//! A kernel and what it takes.

use std::ffi::{CStr, CString};

use cudarc::driver::{result, sys};

use super::{Device, Ptr};
use crate::Error;

impl Device {
    /// The kernel of this name.
    pub(crate) fn kernel(&self, name: &str) -> Result<Kernel, Error> {
        self.bind()?;
        let name = CString::new(name).expect("names of kernels have no zeros");
        // SAFETY: the module stays loaded as long as this lives, and kernels do not outlive their
        // backend.
        let function = unsafe { result::module::get_function(self.module, name) };
        function
            .map(Kernel)
            .map_err(Error::of("cuModuleGetFunction"))
    }

    /// Allows a kernel more than 48 KiB of dynamic shared memory.
    pub(crate) fn allow_shared(&self, kernel: Kernel, bytes: u32) -> Result<(), Error> {
        use sys::CUfunction_attribute as Attribute;
        let attribute = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        self.set_attribute(kernel, attribute, bytes as i32)
    }

    /// Allows a kernel clusters of more than eight blocks.
    pub(crate) fn allow_clusters(&self, kernel: Kernel) -> Result<(), Error> {
        use sys::CUfunction_attribute as Attribute;
        let attribute = Attribute::CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED;
        self.set_attribute(kernel, attribute, 1)
    }

    fn set_attribute(
        &self,
        kernel: Kernel,
        attribute: sys::CUfunction_attribute,
        value: i32,
    ) -> Result<(), Error> {
        self.bind()?;
        // SAFETY: the function is of this module.
        unsafe { result::function::set_function_attribute(kernel.0, attribute, value) }
            .map_err(Error::of("cuFuncSetAttribute"))
    }
}

/// The compute capability, times ten, that a module's kernels were compiled for.
pub(super) fn made_for(module: sys::CUmodule) -> Result<i32, Error> {
    let version = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_PTX_VERSION;
    let mut found = 0;
    // SAFETY: the module is loaded, and its functions live as long.
    let kernel = unsafe { result::module::get_function(module, c"split_planes".into()) };
    let kernel = kernel.map_err(Error::of("cuModuleGetFunction"))?;
    // SAFETY: the function is of this module; writes one number.
    unsafe { sys::cuFuncGetAttribute(&raw mut found, version, kernel) }
        .result()
        .map_err(Error::of("cuFuncGetAttribute"))?;
    Ok(found)
}

/// A kernel of a [`Device`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel(pub(super) sys::CUfunction);

impl Kernel {
    pub(super) fn name(self) -> String {
        let mut name = std::ptr::null();
        // SAFETY: the function is of a loaded module, whose names live as long.
        let known = unsafe { sys::cuFuncGetName(&raw mut name, self.0) }.result();
        if known.is_err() {
            return "a kernel".into();
        }
        // SAFETY: the driver gave a string with a zero at its end.
        unsafe { CStr::from_ptr(name) }.to_string_lossy().into()
    }
}

// SAFETY: a driver handle, see `Device`.
unsafe impl Send for Kernel {}
// SAFETY: as above.
unsafe impl Sync for Kernel {}

/// What a kernel takes: values laid out as in C.
pub(crate) trait Arg {
    fn bytes(&self) -> &[u8];
}

macro_rules! arg {
    ($($kind:ty),*) => {
        $(impl Arg for $kind {
            fn bytes(&self) -> &[u8] {
                // SAFETY: plain old data without padding, as `layout` checks.
                unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), size_of::<Self>()) }
            }
        })*
    };
}

arg!(
    u32,
    u64,
    f32,
    Ptr,
    crate::layout::Weight,
    crate::layout::Memory,
    crate::layout::Place,
    crate::layout::Parts,
    crate::layout::Inward,
    crate::layout::Pass,
    crate::layout::Settle,
    crate::layout::Choice,
    crate::layout::AttendFew
);
