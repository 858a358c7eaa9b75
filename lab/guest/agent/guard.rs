//! What keeps a fault or a device: it ends when this is dropped.

use std::os::fd::OwnedFd;

use crate::device::tap::Tap;
use crate::fault::backlog::Shortened;
use crate::fault::partner::Partner;
use crate::pod::dhcp::{Leased, Serving};
use crate::pod::dhcp_daemon::Daemon;

/// Dropping it ends it.
#[derive(Debug)]
pub enum Guard {
    /// A BPF link or a socket that owns something.
    Descriptor(OwnedFd),
    /// What keeps a tap or tun there, and holds its ring.
    Tap(Tap),
    /// A thread that sends LACPDUs.
    Partner(Partner),
    /// A thread that answers DHCP.
    DhcpServer(Serving),
    /// What a DHCP server has given to a device.
    DhcpLease(Leased),
    /// A process that asks DHCP servers for the plugin `dhcp`.
    DhcpDaemon(Daemon),
    /// A limit of the whole machine.
    Backlog(Shortened),
}
