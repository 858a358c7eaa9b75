//! Taps whose reader never reads: the agent holds the descriptor, and their ring fills.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::agent::guard::Guard;
use crate::agent::testbed::{Testbed, netns_error};
use crate::device::links;
use bondlab_core::net::link::Link;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::OpError;

const DEVICE: &str = "/dev/net/tun";

// Keep in sync with include/uapi/linux/if_tun.h.
const IFF_TAP: i16 = 0x0002;
const IFF_BACKPRESSURE: i16 = 0x0080;
const IFF_NO_PI: i16 = 0x1000;

nix::ioctl_readwrite_bad!(tun_set_iff, nix::request_code_write!(b'T', 202, 4), Request);
nix::ioctl_write_int_bad!(tun_set_persist, nix::request_code_write!(b'T', 203, 4));
nix::ioctl_read_bad!(tun_get_features, nix::request_code_read!(b'T', 207, 4), u32);

/// `struct ifreq` with a name and flags.
#[repr(C)]
pub struct Request {
    name: [u8; 16],
    flags: i16,
    _rest: [u8; 22],
}

/// Why this kernel has no such tap, if it has none.
pub fn obstacle(backpressure: bool) -> Option<String> {
    let found = File::open(DEVICE).and_then(|file| {
        let mut features = 0;
        // SAFETY: the kernel writes an unsigned int to `features`.
        unsafe { tun_get_features(file.as_raw_fd(), &raw mut features) }?;
        Ok(features)
    });
    match found {
        Err(error) => Some(format!("{DEVICE}: {error}")),
        Ok(features) if backpressure && features & u32::from(IFF_BACKPRESSURE.cast_unsigned()) == 0 => {
            Some("the driver does not know it".into())
        }
        Ok(_) => None,
    }
}

/// Makes a tap, down.
///
/// # Errors
/// The kernel's refusal.
pub async fn create(bed: &mut Testbed, link: &Link, backpressure: bool) -> Result<(), OpError> {
    let what = format!("create tap {}", link.device);
    let name = link.device.name.as_str();
    let opened = bed.namespaces.enter(&link.device.ns, || open(name, backpressure));
    let descriptor = opened.map_err(|error| netns_error(&what, &error))?.map_err(|error| OpError {
        what,
        errno: error.raw_os_error().map(crate::syscall::rtnl::errno_name),
        text: Some(error.to_string()),
    })?;
    let stops = backpressure.then(|| link.device.clone());
    bed.held.insert(link.device.to_string(), Guard::Tap(descriptor, stops));
    if let Some(mac) = link.mac {
        links::set_mac(bed, &link.device, mac).await?;
    }
    if let Some(mtu) = link.mtu {
        links::set_mtu(bed, &link.device, mtu).await?;
    }
    links::set_options(bed, link).await?;
    match link.txqueuelen {
        // The ring is made anew with that length (tun_queue_resize()).
        Some(len) => links::set_txqueuelen(bed, &link.device, len).await,
        None => Ok(()),
    }
}

fn open(name: &str, backpressure: bool) -> io::Result<OwnedFd> {
    let file = File::options().read(true).write(true).open(DEVICE)?;
    let flags = IFF_TAP | IFF_NO_PI | if backpressure { IFF_BACKPRESSURE } else { 0 };
    let mut request = Request { name: [0; 16], flags, _rest: [0; 22] };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: the kernel reads and writes one struct ifreq, which `request` is.
    unsafe { tun_set_iff(file.as_raw_fd(), &raw mut request) }?;
    // The device and its counters outlive the descriptor, for the ring is drained before they are read.
    // SAFETY: it takes a number.
    unsafe { tun_set_persist(file.as_raw_fd(), 1) }?;
    Ok(file.into())
}

/// Lets the rings of all taps go that lose what does not fit: what is in them is lost (`tun_queue_purge()`), and the devices
/// lose carrier.
pub fn let_all_go(bed: &mut Testbed) {
    bed.held.retain(|_, held| !matches!(held, Guard::Tap(_, None)));
}

/// Taps that stop their queue. It goes on when the ring is released, into a driver without a reader (DEV_READY): empty the queue
/// before.
pub fn that_stop(bed: &Testbed) -> Vec<DeviceRef> {
    let stops = bed.held.values().filter_map(|held| match held {
        Guard::Tap(_, device) => device.clone(),
        _ => None,
    });
    stops.collect()
}

/// Lets the ring of one tap go.
pub fn let_go(bed: &mut Testbed, device: &DeviceRef) {
    bed.held.retain(|_, held| !matches!(held, Guard::Tap(_, Some(tap)) if tap == device));
}
