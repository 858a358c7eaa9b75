//! The reading side of a BPF ring buffer: two mappings and two positions.
//!
//! The protocol is that of the kernel's `Documentation/bpf/ringbuf.rst`.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::syscall::bpf::{BpfError, MapType, create_map};

/// A ring buffer and its map.
pub struct Ringbuf {
    map: OwnedFd,
    /// Where this side has read to: one page, writable.
    consumer: Mapping,
    /// Where the kernel has written to: one page, then the data twice in a row, so that no record is split.
    producer: Mapping,
    data_bytes: u64,
    page_bytes: usize,
}

// Keep in sync with include/uapi/linux/bpf.h.
const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;
const HEADER_BYTES: u64 = 8;

impl Ringbuf {
    /// Makes a ring buffer; `data_bytes` is a power of two and a multiple of the page size.
    pub fn new(data_bytes: u32) -> Result<Self, BpfError> {
        let map = create_map(MapType::Ringbuf, 0, data_bytes)?;
        // SAFETY: sysconf only reads a constant of the system.
        let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let consumer = Mapping::new(&map, 0, page_bytes, libc::PROT_READ | libc::PROT_WRITE)?;
        let length = page_bytes + 2 * data_bytes as usize;
        let producer = Mapping::new(&map, page_bytes, length, libc::PROT_READ)?;
        Ok(Self { map, consumer, producer, data_bytes: data_bytes.into(), page_bytes })
    }

    /// The map a program writes to.
    pub fn map(&self) -> &OwnedFd {
        &self.map
    }

    /// Hands every finished record to `take` and gives its room back to the kernel.
    ///
    /// A record that a program is still writing ends the run: it comes with the next one.
    pub fn drain(&mut self, mut take: impl FnMut(&[u8])) {
        let position = self.consumer.position();
        let mut at = position.load(Ordering::Relaxed);
        while at < self.producer.position().load(Ordering::Acquire) {
            let offset = self.page_bytes + (at & (self.data_bytes - 1)) as usize;
            let header = self.producer.header(offset).load(Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            let length = header & !DISCARDED;
            if header & DISCARDED == 0 {
                take(self.producer.bytes(offset + HEADER_BYTES as usize, length as usize));
            }
            at += (HEADER_BYTES + u64::from(length)).next_multiple_of(8);
            position.store(at, Ordering::Release);
        }
    }
}

/// Memory shared with the kernel, unmapped when dropped.
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping is owned by this value and is not bound to the thread that made it.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(map: &OwnedFd, offset: usize, length: usize, protection: libc::c_int) -> Result<Self, BpfError> {
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                protection,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                offset as libc::off_t,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(BpfError { call: "mmap(ring buffer)", source: io::Error::last_os_error() });
        }
        let start = NonNull::new(start.cast()).expect("mmap does not return page zero");
        Ok(Self { start, length })
    }

    /// The position at the start of a control page.
    fn position(&self) -> &AtomicU64 {
        // SAFETY: the mapping is page-aligned, at least a page long, and lives as long as the reference.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().cast()) }
    }

    /// The length word of a record; records are aligned to eight bytes.
    fn header(&self, offset: usize) -> &AtomicU32 {
        assert!(offset + 4 <= self.length && offset.is_multiple_of(8), "a record lies in the ring");
        // SAFETY: checked above; the kernel writes this word atomically.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(offset).cast()) }
    }

    fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        assert!(offset + length <= self.length, "a record lies in the ring");
        // SAFETY: in bounds as checked; a finished record is not written again before its room is given back.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(offset), length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: start and length are those of the mapping made in new().
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.length);
        }
    }
}
