//! The allocator of the test program: the system's, which counts what each thread has.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// A thread that has more than this gets no memory: the program ends, and not the machine.
const BYTES_REFUSED: isize = 2 << 30;

thread_local! {
    /// Bytes that this thread has, less those that it freed for others.
    static HAS: Cell<isize> = const { Cell::new(0) };
    /// The most that it had since it was last set.
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Adds to what this thread has; `false` when it is too much. A thread that ends has no count any more.
fn add(bytes: usize) -> bool {
    let bytes = isize::try_from(bytes).unwrap_or(isize::MAX);
    let has = HAS.try_with(|has| {
        has.set(has.get().saturating_add(bytes));
        has.get()
    });
    let Ok(has) = has else { return true };
    let _gone = PEAK.try_with(|peak| peak.set(peak.get().max(has)));
    has < BYTES_REFUSED
}

fn subtract(bytes: usize) {
    let bytes = isize::try_from(bytes).unwrap_or(isize::MAX);
    let _gone = HAS.try_with(|has| has.set(has.get().saturating_sub(bytes)));
}

// SAFETY: all memory is the system allocator's; cells without destructors and without memory of their own count it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps what the trait asks for.
        if add(layout.size()) { unsafe { System.alloc(layout) } } else { std::ptr::null_mut() }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        subtract(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        subtract(layout.size());
        // SAFETY: as above.
        if add(size) { unsafe { System.realloc(memory, layout, size) } } else { std::ptr::null_mut() }
    }
}

/// What `work` returns, and how many bytes it had at the most.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HAS.get();
    PEAK.set(before);
    let result = work();
    (result, usize::try_from(PEAK.get() - before).unwrap_or(0))
}
