//! One mutable slice, written by many workers at places that never overlap.

use std::marker::PhantomData;
use std::ops::Range;

/// A slice whose parts are handed to different workers at the same time.
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: access goes through `part`, whose callers keep the parts apart; then it is a plain split of a `&mut [T]`.
unsafe impl<T: Send> Sync for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            life: PhantomData,
        }
    }

    /// The part `range` of the slice.
    ///
    /// # Safety
    /// No two parts that are alive at the same time may overlap.
    #[allow(clippy::mut_from_ref, reason = "that is what this type is for")]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "part outside of the slice"
        );
        // SAFETY: inside the slice by the line above.
        let start = unsafe { self.start.add(range.start) };
        // SAFETY: exclusive by the contract of this function.
        unsafe { std::slice::from_raw_parts_mut(start, range.len()) }
    }

    /// Reads one value.
    ///
    /// # Safety
    /// Nobody may write place `at` meanwhile.
    pub(crate) unsafe fn get(&self, at: usize) -> T
    where
        T: Copy,
    {
        assert!(at < self.len, "place outside of the slice");
        // SAFETY: inside the slice by the line above.
        let place = unsafe { self.start.add(at) };
        // SAFETY: unwritten meanwhile by the contract of this function.
        unsafe { place.read() }
    }

    /// Writes one value.
    ///
    /// # Safety
    /// Nobody else may access place `at` meanwhile.
    pub(crate) unsafe fn set(&self, at: usize, value: T) {
        assert!(at < self.len, "place outside of the slice");
        // SAFETY: inside the slice by the line above.
        let place = unsafe { self.start.add(at) };
        // SAFETY: exclusive by the contract of this function.
        unsafe { place.write(value) };
    }
}
