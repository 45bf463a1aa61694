//! How many heaps the allocator of glibc keeps for threads that meet at it.

/// From now on the allocator opens no more than two heaps, unless whoever started the process has
/// chosen with `MALLOC_ARENA_MAX`.
///
/// By default every thread that finds another one at the allocator opens a heap, up to eight a core,
/// and each of them keeps the most it ever had to hold: a process that runs for days grows although
/// nothing leaks. Steps of the model allocate nothing, so that nobody waits for it. For processes
/// that stay; other allocators have nothing to set.
pub fn few_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        // SAFETY: `mallopt` takes the allocator's own lock and reads no memory of ours.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
    }
}
