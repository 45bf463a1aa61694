//! Asking for weights before they are needed.

/// How far ahead dot products look: the time memory takes, at the speed of one core.
#[cfg(target_arch = "x86_64")]
pub(super) const AHEAD: usize = 2048;

/// Asks for the weights some way ahead, in this row or the next: the machine's own prefetching
/// stops at every page.
#[inline]
pub(crate) fn look_ahead<B>(block: &B, bytes: usize) {
    let ahead = std::ptr::from_ref(block).cast::<i8>().wrapping_add(bytes);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint about any address; every x86-64 has it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(ahead);
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint about any address; every 64-bit ARM has it. The intrinsic is not stable yet.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{ahead}]",
            ahead = in(reg) ahead,
            options(nostack, preserves_flags, readonly),
        );
    }
}
