//! Sockets that are members of multicast groups and do nothing else: what makes the kernel report a group (IGMP, MLD).

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use libc::c_int;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::syscall::sockopt::set_value;

/// Opens a socket that joins a group by a device. Must run in the device's namespace. The socket has no port, so no datagram is its.
///
/// # Errors
/// The kernel's refusal (`ip_mc_join_group()`, `ipv6_sock_mc_join()`): ENOBUFS beyond net.ipv4.igmp_max_memberships.
pub fn join(group: IpAddr, ifindex: u32) -> io::Result<OwnedFd> {
    let family = if group.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let index = c_int::try_from(ifindex).map_err(io::Error::other)?;
    match group {
        IpAddr::V4(group) => {
            let request = libc::ip_mreqn {
                imr_multiaddr: libc::in_addr { s_addr: u32::from(group).to_be() },
                imr_address: libc::in_addr { s_addr: 0 },
                imr_ifindex: index,
            };
            set_value(&socket, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &request)?;
        }
        IpAddr::V6(group) => {
            let request = libc::ipv6_mreq {
                ipv6mr_multiaddr: libc::in6_addr { s6_addr: group.octets() },
                ipv6mr_interface: ifindex,
            };
            set_value(&socket, libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP, &request)?;
        }
    }
    Ok(socket)
}
