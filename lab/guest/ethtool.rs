//! Offloads, switched as `ethtool -K` does it and read back.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::guest::testbed::{Testbed, netns_error};
use crate::link::{DeviceRef, IfName};
use crate::mitigation::Offload;
use crate::record::OpError;

/// Keep in sync with include/uapi/linux/ethtool.h and sockios.h.
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_SFLAGS: u32 = 0x26;
const SIOCETHTOOL: libc::c_ulong = 0x8946;

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    cmd: u32,
    data: u32,
}

/// Switches an offload of a device.
///
/// # Errors
/// The kernel's refusal, or the device stays as it was.
pub fn set_offload(bed: &Testbed, device: &DeviceRef, offload: Offload, on: bool) -> Result<(), OpError> {
    let what = format!("switch {offload} of {device} {}", if on { "on" } else { "off" });
    let entered = bed.namespaces.enter(&device.ns, || switch(&device.name, offload.flag(), on));
    let switched = entered.map_err(|error| netns_error(&what, &error))?;
    let stays = "the device does not do it";
    match switched {
        Ok(is) if is == on => Ok(()),
        Ok(_) => Err(OpError { what, errno: None, text: Some(stays.into()) }),
        Err(error) => {
            let errno = error.raw_os_error().map(super::rtnl::errno_name);
            Err(OpError { what, errno, text: None })
        }
    }
}

/// Returns whether it is on afterwards.
fn switch(name: &IfName, flag: u32, on: bool) -> io::Result<bool> {
    let is = exchange(name, ETHTOOL_GFLAGS, 0)?;
    let wanted = if on { is | flag } else { is & !flag };
    if wanted != is {
        exchange(name, ETHTOOL_SFLAGS, wanted)?;
    }
    Ok(exchange(name, ETHTOOL_GFLAGS, 0)? & flag != 0)
}

fn exchange(name: &IfName, cmd: u32, data: u32) -> io::Result<u32> {
    // SAFETY: socket() takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut value = Value { cmd, data };
    // SAFETY: an all-zero ifreq is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: `request` and the value it points to live until the call returns; both commands read and write exactly
    // one ethtool_value.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value.data) }
}
