//! Memory from the system; where there is none, a line and an exit code instead of an abort.

use std::alloc::{GlobalAlloc, Layout, System};

use crate::cli::output::IO_ERROR;

/// The system's allocator, which never gives nothing.
#[derive(Debug)]
pub struct Allocator;

impl Allocator {
    fn given(memory: *mut u8) -> *mut u8 {
        if !memory.is_null() {
            return memory;
        }
        const LINE: &[u8] = b"error: this machine has no memory left for the lab\n";
        // SAFETY: write(2) and _exit(2) allocate nothing; the line is there for as long as the program.
        unsafe {
            libc::write(libc::STDERR_FILENO, LINE.as_ptr().cast(), LINE.len());
            libc::_exit(IO_ERROR.into())
        }
    }
}

// SAFETY: everything is the system allocator's doing; what it could not give is not returned at all.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps what the trait asks for.
        Self::given(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        Self::given(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        Self::given(unsafe { System.realloc(memory, layout, size) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}
