//! What a restored machine has of the moment it was saved at: its wall clock, and its random numbers.

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

/// The most that is added to the random number generator at once.
const ENTROPY_BYTES_MAX: usize = 64;

/// `struct rand_pool_info` with its content.
#[repr(C)]
struct Pool {
    bits: libc::c_int,
    bytes: libc::c_int,
    content: [u8; ENTROPY_BYTES_MAX],
}

// include/uapi/linux/random.h
nix::ioctl_write_ptr_bad!(add_entropy, 0x4008_5203, Pool);
nix::ioctl_none_bad!(reseed_generator, 0x5207);

/// Sets the wall clock.
pub(crate) fn set(now_ns: u64) -> nix::Result<()> {
    const NS_PER_S: u64 = 1_000_000_000;
    let seconds = i64::try_from(now_ns / NS_PER_S).map_err(|_| Errno::ERANGE)?;
    let nanoseconds = i64::try_from(now_ns % NS_PER_S).map_err(|_| Errno::ERANGE)?;
    clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(seconds, nanoseconds))
}

/// Gives the kernel's random number generator a seed of its own.
pub(crate) fn reseed(entropy: &[u8]) -> nix::Result<()> {
    let length = entropy.len().min(ENTROPY_BYTES_MAX);
    let mut pool = Pool { bits: 0, bytes: 0, content: [0; ENTROPY_BYTES_MAX] };
    pool.content[..length].copy_from_slice(&entropy[..length]);
    pool.bytes = libc::c_int::try_from(length).map_err(|_| Errno::EINVAL)?;
    pool.bits = pool.bytes * 8;
    let device = File::options().write(true).open("/dev/urandom").map_err(|_| Errno::ENODEV)?;
    // SAFETY: the structure is as random.h has it, and longer than `bytes` says.
    unsafe { add_entropy(device.as_raw_fd(), &raw const pool) }?;
    // SAFETY: it has no argument.
    unsafe { reseed_generator(device.as_raw_fd()) }?;
    Ok(())
}
