//! What sockets are asked for about the packets that they send, in both versions of IP; and what TCP tells of a connection.

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;

use libc::{c_int, socklen_t};

use crate::syscall::sockopt::set;
use bondlab_core::net::family::Family;
use bondlab_core::net::flow_shape::{FlowShape, Pmtudisc};

/// IP_RECVERR, IPV6_RECVERR: `udp_send_skb()` and `udp_v6_send_skb()` then tell ENOBUFS.
///
/// # Errors
/// When the socket is not of that family.
pub fn receive_errors(socket: &impl AsRawFd, family: Family) -> io::Result<()> {
    match family {
        Family::Ipv4 => set(socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1),
        Family::Ipv6 => set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1),
    }
}

/// Asks for all that a flow says of its packets and that a socket of IP can be asked for.
///
/// # Errors
/// The kernel's refusal.
pub fn shape(socket: &impl AsRawFd, shape: &FlowShape) -> io::Result<()> {
    let family = shape.family;
    if let Some(priority) = shape.priority {
        set_priority(socket, priority)?;
    }
    if let Some(tos) = shape.tos {
        match family {
            Family::Ipv4 => set(socket, libc::IPPROTO_IP, libc::IP_TOS, tos.into())?,
            Family::Ipv6 => set(socket, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, tos.into())?,
        }
        // IP_TOS sets a priority of its own (`__ip_sock_set_tos()`).
        shape.priority.map_or(Ok(()), |priority| set_priority(socket, priority))?;
    }
    if let Some(pmtudisc) = shape.pmtudisc {
        path_mtu(socket, family, pmtudisc)?;
    }
    if shape.group.is_some() {
        set(socket, libc::SOL_SOCKET, libc::SO_BROADCAST, 1)?;
        // A copy for this host's own sockets would be lost there: none has joined.
        match family {
            Family::Ipv4 => set(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, 0)?,
            Family::Ipv6 => set(socket, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP, 0)?,
        }
    }
    Ok(())
}

/// SO_PRIORITY.
///
/// # Errors
/// EPERM for one above 6 without CAP_NET_ADMIN.
pub fn set_priority(socket: &impl AsRawFd, priority: u32) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_PRIORITY, c_int::try_from(priority).unwrap_or(c_int::MAX))
}

fn path_mtu(socket: &impl AsRawFd, family: Family, pmtudisc: Pmtudisc) -> io::Result<()> {
    match family {
        Family::Ipv4 => set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, pmtudisc.value()),
        Family::Ipv6 => set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, pmtudisc.value()),
    }
}

/// Segments that a connection has sent again (`tcpi_total_retrans` of TCP_INFO).
///
/// # Errors
/// When the socket is no TCP socket.
pub fn retransmitted(socket: &impl AsRawFd) -> io::Result<u32> {
    // SAFETY: an all-zero tcp_info is a valid value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as socklen_t;
    // SAFETY: the pointers describe `info` and `len`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(info.tcpi_total_retrans) }
}
