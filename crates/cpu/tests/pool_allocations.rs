//! A run of the pool allocates nothing: neither the caller nor the workers.
#![allow(unsafe_code, reason = "a global allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ds4_cpu::Pool;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above; `alloc` got it there.
        unsafe { System.dealloc(place, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of the whole process during a number of runs, with or without one in each task.
fn allocations(pool: &Pool, in_tasks: bool) -> usize {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..100 {
        pool.run(8, |_, task| {
            if in_tasks {
                drop(std::hint::black_box(Box::new(task)));
            }
        });
    }
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn a_run_allocates_nothing() {
    let pool = Pool::new(4);
    assert!(allocations(&pool, true) >= 800, "the counter counts");
    // The test harness may allocate on its own thread meanwhile, but not in every round.
    let fewest = (0..20).map(|_| allocations(&pool, false)).min();
    assert_eq!(fewest, Some(0));
}
