//! SIGBUS inside a mapped file becomes zeros and a mark instead of the end of the process.
//!
//! The kernel raises SIGBUS when a page of a mapping has no file behind it any more, because
//! someone shortened the file or the disk failed. Our handler, installed once, looks the address up
//! in a fixed table of ranges. If it is ours, everything from that page to the end of the mapping
//! becomes anonymous zeros, the range is marked, and the reading thread goes on. The whole tail and
//! not one page: behind the first missing page of a shortened file all are missing, and one
//! replacement per page would run into the kernel's limit on mappings (65,530 on Linux). Faults
//! elsewhere go to whoever handled SIGBUS before us; the Rust runtime, for one, looks for stack
//! overflows.
//!
//! A handler may interrupt anything, so it only reads atomics and makes system calls: no lock, no
//! allocation.

#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use libc::{c_int, c_void, siginfo_t};

/// Files mapped at the same time; the largest checkpoint has 64 shards.
const SLOTS: usize = 1024;
/// `start` of a slot that nobody uses.
const FREE: usize = 0;
/// `start` of a slot whose range is being written. No mapping begins at address 1.
const CLAIMED: usize = 1;

struct Slot {
    start: AtomicUsize,
    end: AtomicUsize,
    faulted: AtomicBool,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot {
        start: AtomicUsize::new(FREE),
        end: AtomicUsize::new(0),
        faulted: AtomicBool::new(false),
    }
}; SLOTS];

/// Who handled SIGBUS before us, and the page size: all the handler needs to know, written before
/// it is installed.
struct Before {
    action: libc::sigaction,
    page: usize,
}

static BEFORE: OnceLock<Result<Before, i32>> = OnceLock::new();

/// A range of addresses under the handler's care while this value lives.
pub(super) struct Guard {
    slot: &'static Slot,
}

impl Guard {
    /// Guards `range`, a mapping that outlives the guard.
    pub(super) fn over(range: Range<*const u8>) -> io::Result<Self> {
        install()?;
        let claim = |slot: &&'static Slot| {
            slot.start
                .compare_exchange(FREE, CLAIMED, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        };
        let slot = TABLE.iter().find(claim).ok_or_else(|| {
            io::Error::other(format!("more than {SLOTS} weight files are mapped at once"))
        })?;
        slot.faulted.store(false, Ordering::Relaxed);
        slot.end.store(range.end as usize, Ordering::Release);
        slot.start.store(range.start as usize, Ordering::Release);
        Ok(Self { slot })
    }

    /// True once a page of the range was replaced by zeros.
    pub(super) fn faulted(&self) -> bool {
        self.slot.faulted.load(Ordering::Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.slot.start.store(FREE, Ordering::Release);
    }
}

/// Puts the handler in place, once for the life of the process.
fn install() -> io::Result<()> {
    let before = BEFORE.get_or_init(|| {
        let before = Before {
            action: current_action()?,
            page: page_size()?,
        };
        Ok(before)
    });
    if let Err(code) = before {
        return Err(io::Error::from_raw_os_error(*code));
    }
    // Only now: the handler reads BEFORE, which is complete from here on.
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    match INSTALLED.get_or_init(set_handler) {
        Ok(()) => Ok(()),
        Err(code) => Err(io::Error::from_raw_os_error(*code)),
    }
}

fn current_action() -> Result<libc::sigaction, i32> {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only asks; `action` is writable memory of the right type.
    let failed = unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), action.as_mut_ptr()) };
    if failed != 0 {
        return Err(last_code());
    }
    // SAFETY: zero is a valid sigaction, and the kernel has filled it in.
    Ok(unsafe { action.assume_init() })
}

fn page_size() -> Result<usize, i32> {
    // SAFETY: sysconf takes a constant and touches no memory of ours.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(page).map_err(|_| last_code())
}

fn set_handler() -> Result<(), i32> {
    // SAFETY: sigaction is plain data for which zero is a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_fault as *const () as usize;
    // ONSTACK: the runtime's threads have a small stack for signals, and a chained handler may rely
    // on it.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: `on_fault` has the three-argument form SA_SIGINFO promises; a null old action is
    // allowed.
    let failed = unsafe { libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) };
    if failed != 0 {
        Err(last_code())
    } else {
        Ok(())
    }
}

fn last_code() -> i32 {
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EINVAL)
}

/// The handler.
extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some(Ok(before)) = BEFORE.get() else {
        return;
    };
    // SAFETY: with SA_SIGINFO the kernel passes a siginfo that lives as long as the handler runs.
    let fault = unsafe { &*info };
    // SAFETY: a siginfo of SIGBUS has room for an address, whoever sent it.
    let address = unsafe { fault.si_addr() } as usize;
    // Codes above zero are the kernel's own; a signal from another process carries no address.
    let ours = (fault.si_code > 0).then(|| slot_of(address)).flatten();
    let healed = ours.is_some_and(|(slot, range)| {
        let page = address & !(before.page - 1);
        // Marked first: whoever reads the zeros on another thread can already see the mark.
        slot.faulted.store(true, Ordering::Release);
        put_zeros(page, range.end.next_multiple_of(before.page) - page)
    });
    if !healed {
        pass_on(&before.action, signal, info, context);
    }
}

/// The slot whose range holds `address`, with that range.
fn slot_of(address: usize) -> Option<(&'static Slot, Range<usize>)> {
    TABLE.iter().find_map(|slot| {
        let start = slot.start.load(Ordering::Acquire);
        let end = slot.end.load(Ordering::Acquire);
        // Read again: a slot changing hands between the two loads would pair one file's start with
        // another's end.
        let steady = slot.start.load(Ordering::Acquire) == start;
        (start > CLAIMED && steady && (start..end).contains(&address)).then_some((slot, start..end))
    })
}

/// Replaces whole pages by anonymous zeros. errno is kept: the interrupted code may be about to
/// read it.
fn put_zeros(page: usize, bytes: usize) -> bool {
    // SAFETY: errno's address is valid for the calling thread.
    let errno = unsafe { errno_at() };
    // SAFETY: as above.
    let kept = unsafe { *errno };
    // SAFETY: the pages lie in a live mapping of ours (Guard), read-only plain bytes, so replacing
    // them breaks no reference; mmap is a bare system call.
    let placed = unsafe {
        libc::mmap(
            page as *mut c_void,
            bytes,
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    // SAFETY: as above.
    unsafe { *errno = kept };
    placed != libc::MAP_FAILED
}

/// Lets the handler before ours deal with a fault that is not ours.
fn pass_on(before: &libc::sigaction, signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    match before.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => die(signal),
        handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: the previous owner registered this address as a three-argument handler.
            let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: without SA_SIGINFO it is a one-argument handler.
            let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}

/// Ends the process the way an unhandled SIGBUS does.
fn die(signal: c_int) {
    // SAFETY: both calls are async-signal-safe; the raised signal arrives when this handler
    // returns.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: as above.
    unsafe { libc::raise(signal) };
}

/// Where the calling thread's errno lives.
///
/// # Safety
/// The pointer is valid on the calling thread only.
unsafe fn errno_at() -> *mut c_int {
    #[cfg(target_os = "linux")]
    // SAFETY: returns this thread's errno; no precondition.
    return unsafe { libc::__errno_location() };
    #[cfg(target_os = "macos")]
    // SAFETY: returns this thread's errno; no precondition.
    return unsafe { libc::__error() };
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use memmap2::Mmap;

    use super::Guard;

    fn mapped_then_emptied() -> Mmap {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 8192]).unwrap();
        let map = map(&file);
        file.set_len(0).unwrap();
        map
    }

    fn map(file: &File) -> Mmap {
        // SAFETY: bytes; what happens when the file shrinks is what these tests are about.
        unsafe { Mmap::map(file) }.unwrap()
    }

    /// How a child process ends that reads `map`; the signal, or none if it lives to exit.
    fn child_reading(map: &Mmap) -> Option<i32> {
        // SAFETY: the child makes system calls and reads memory until it exits.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork failed");
        if child == 0 {
            std::hint::black_box(map[100]);
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: waits for our own child; `status` is writable.
        let ended = unsafe { libc::waitpid(child, &mut status, 0) };
        assert_eq!(ended, child);
        libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status))
    }

    #[test]
    fn faults_in_guarded_mappings_are_survived_and_others_are_not() {
        let guarded = mapped_then_emptied();
        let guard = Guard::over(guarded.as_ptr_range()).unwrap();
        assert_eq!(child_reading(&guarded), None);
        assert!(!guard.faulted(), "the mark is the child's own");

        let foreign = mapped_then_emptied();
        assert_eq!(child_reading(&foreign), Some(libc::SIGBUS));

        drop(guard);
        assert_eq!(
            child_reading(&guarded),
            Some(libc::SIGBUS),
            "guarded no longer"
        );
    }

    #[test]
    fn the_mark_is_set_in_the_reading_process() {
        let map = mapped_then_emptied();
        let guard = Guard::over(map.as_ptr_range()).unwrap();
        assert_eq!(map[8191], 0);
        assert!(guard.faulted());
        assert_eq!(map[0], 0);
    }
}
