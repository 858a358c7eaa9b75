//! The socket calls and options that nix does not have, each safe to call.

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind,
    connect, recvmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use libc::{c_int, c_void, socklen_t};

use bondlab_core::net::family::Family;

/// Keep in sync with include/uapi/linux/sock_diag.h: the last number of SO_MEMINFO.
const SK_MEMINFO_DROPS: usize = 8;

/// Opens an AF_PACKET socket on one device. `protocol` is an EtherType in host order; 0 receives nothing.
///
/// # Errors
/// EPERM without CAP_NET_RAW, ENODEV when the device is gone.
pub fn packet_socket(protocol: u16, ifindex: u32) -> io::Result<OwnedFd> {
    // SAFETY: socket() takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor, and nothing else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: an all-zero sockaddr_ll is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = ifindex.cast_signed();
    // SAFETY: the pointer and the length describe `address`.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) }
}

/// Opens a ping socket: ICMP echo requests without the right to send anything else.
///
/// # Errors
/// EACCES when the process' group is not in net.ipv4.ping_group_range.
pub fn ping_socket(family: Family) -> io::Result<OwnedFd> {
    let protocol = match family {
        Family::Ipv4 => SockProtocol::Icmp,
        Family::Ipv6 => SockProtocol::IcmpV6,
    };
    Ok(socket(address_family(family), SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)?)
}

/// AF_INET or AF_INET6.
fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    }
}

/// Opens a raw socket: it has a copy of each packet of a protocol that IP hands on; of IPv4 from the IP header on
/// (`raw_local_deliver()`, in `ip_protocol_deliver_rcu()`), of IPv6 behind it (`raw6_local_deliver()`). With IPPROTO_RAW it sends
/// whole packets, and receives none.
///
/// # Errors
/// EPERM without CAP_NET_RAW, EAFNOSUPPORT without IPv6.
pub fn raw_socket(family: Family, protocol: SockProtocol) -> io::Result<OwnedFd> {
    Ok(socket(address_family(family), SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?)
}

/// SO_RCVBUF as small as the kernel has it (SOCK_MIN_RCVBUF).
///
/// # Errors
/// When it is refused.
pub fn smallest_receive_buffer(socket: &impl AsRawFd) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, 0)
}

/// Opens a TCP socket bound to an address and a device.
///
/// # Errors
/// The address or the device is not there.
pub fn tcp_socket(local: SocketAddr, device: &str) -> io::Result<OwnedFd> {
    let family = address_family(Family::of(local.ip()));
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind_to_device(&socket, device)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(local))?;
    Ok(socket)
}

/// Connects, and waits for the answer; SO_SNDTIMEO bounds that (`inet_wait_for_connect()`).
///
/// # Errors
/// No route, no answer in time (EINPROGRESS), or a refusal.
pub fn connect_within(socket: &OwnedFd, to: SocketAddr, time: Duration) -> io::Result<()> {
    let bound = TimeVal::new(i64::try_from(time.as_secs()).unwrap_or(i64::MAX), 0);
    setsockopt(socket, sockopt::SendTimeout, &bound)?;
    Ok(connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?)
}

/// Writes to a connection without waiting; what is written ends a segment (MSG_EOR). Returns how much was taken.
///
/// # Errors
/// EAGAIN when the send buffer is full; what has become of the connection.
pub fn send_segment(socket: &impl AsRawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_EOR;
    Ok(nix::sys::socket::send(socket.as_raw_fd(), bytes, flags)?)
}

/// Bytes of a connection that the other end has not acknowledged (SIOCOUTQ).
///
/// # Errors
/// When the socket is no TCP socket.
pub fn unacknowledged_bytes(socket: &impl AsRawFd) -> io::Result<usize> {
    let mut bytes: c_int = 0;
    // SAFETY: the kernel writes an int to `bytes`.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(usize::try_from(bytes).unwrap_or(0)) }
}

/// Sends one frame or datagram without waiting.
///
/// # Errors
/// Whatever the stack below answered.
pub fn send(socket: &impl AsRawFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `bytes`.
    let sent = unsafe {
        libc::send(socket.as_raw_fd(), bytes.as_ptr().cast::<c_void>(), bytes.len(), libc::MSG_DONTWAIT)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Receives one frame or datagram without waiting; `None` when there is none.
///
/// # Errors
/// ENETDOWN when the device went down, and the like.
pub fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    // SAFETY: the pointer and the length describe `buffer`.
    let got = unsafe {
        libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast::<c_void>(), buffer.len(), libc::MSG_DONTWAIT)
    };
    if let Ok(len) = usize::try_from(got) {
        return Ok(Some(len));
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) }
}

/// Lets a packet socket say which tag a frame has in the skb's metadata (PACKET_AUXDATA).
///
/// # Errors
/// When the socket is no packet socket.
pub fn tell_tags(socket: &impl AsRawFd) -> io::Result<()> {
    set(socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)
}

/// Receives one frame without waiting: its length, and the TCI of the tag in its metadata (`tp_vlan_tci`), of 802.1Q or
/// 802.1ad. `None` when there is none.
///
/// # Errors
/// As [`receive`].
pub fn receive_tagged(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<Option<(usize, Option<u16>)>> {
    // Room for one struct tpacket_auxdata behind its header, aligned as a cmsghdr is.
    let mut control = [0_u64; 8];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast::<c_void>(), iov_len: buffer.len() };
    // SAFETY: an all-zero msghdr is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast::<c_void>();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: the message describes `buffer` and `control`, which both outlive the call.
    let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    if let Ok(len) = usize::try_from(got) {
        return Ok(Some((len, tag_of(&message))));
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) }
}

/// The tag that a received message tells of in its control data, which must still be there.
fn tag_of(message: &libc::msghdr) -> Option<u16> {
    // SAFETY: the kernel has filled the control data, and set its length.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: it is null, or a whole header in the control data.
    while let Some(told) = unsafe { header.as_ref() } {
        if (told.cmsg_level, told.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
            // SAFETY: what follows a header of this type is a struct tpacket_auxdata (`packet_recvmsg()`).
            let auxdata = unsafe { libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned() };
            let is_tagged = auxdata.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
            return is_tagged.then_some(auxdata.tp_vlan_tci);
        }
        // SAFETY: as for the first one.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    None
}

/// One datagram or packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its length in the buffer, in bytes.
    pub len: usize,
    /// The number of the device it has arrived at, 0 where the kernel does not say.
    pub ifindex: u32,
    /// Who has sent it.
    pub source: Option<IpAddr>,
}

/// Lets a UDP or raw socket say at which device a datagram has arrived (IP_PKTINFO, IPV6_RECVPKTINFO).
///
/// # Errors
/// When the socket is not of that family.
pub fn tell_devices(socket: &impl AsFd, family: Family) -> io::Result<()> {
    match family {
        Family::Ipv4 => setsockopt(socket, Ipv4PacketInfo, &true)?,
        Family::Ipv6 => setsockopt(socket, Ipv6RecvPacketInfo, &true)?,
    }
    Ok(())
}

/// Receives one datagram or packet without waiting; `None` when there is none.
///
/// # Errors
/// An error that was waiting at the socket.
pub fn receive_at(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<Option<Arrival>> {
    // Of IPv6 it is longer.
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    let mut parts = [io::IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    match recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
        Ok(message) => {
            let device = message.cmsgs()?.find_map(|told| match told {
                ControlMessageOwned::Ipv4PacketInfo(info) => u32::try_from(info.ipi_ifindex).ok(),
                ControlMessageOwned::Ipv6PacketInfo(info) => Some(info.ipi6_ifindex),
                _ => None,
            });
            let source = message.address.as_ref().and_then(ip_of);
            Ok(Some(Arrival { len: message.bytes, ifindex: device.unwrap_or(0), source }))
        }
        Err(Errno::EAGAIN) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

/// setsockopt(2) of a number, for options that nix does not have.
///
/// # Errors
/// The kernel's refusal.
pub(super) fn set(socket: &impl AsRawFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    set_value(socket, level, option, &value)
}

/// setsockopt(2) of anything else. `value` has the C type that the kernel reads for the option.
///
/// # Errors
/// The kernel's refusal.
pub(crate) fn set_value<T: ?Sized>(
    socket: &impl AsRawFd,
    level: c_int,
    option: c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast::<c_void>(),
            size_of_val(value) as socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Has a connection ask after so many seconds of silence whether the other end is there, and give up when one question
/// has had no answer for as long (`tcp_keepalive_timer()`).
///
/// # Errors
/// When the socket is no TCP socket, or the time is out of range.
pub fn keep_alive(socket: &impl AsRawFd, seconds: u32) -> io::Result<()> {
    let time = c_int::try_from(seconds).unwrap_or(c_int::MAX);
    set(socket, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, time)?;
    set(socket, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, time)?;
    set(socket, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 1)?;
    set(socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)
}

fn clamp(bytes: usize) -> c_int {
    c_int::try_from(bytes).unwrap_or(c_int::MAX)
}

/// SO_SNDBUFFORCE in bytes, or SO_SNDBUF where the user namespace does not own the network's limits.
///
/// # Errors
/// When both are refused.
pub fn send_buffer(socket: &impl AsRawFd, bytes: usize) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, clamp(bytes))
        .or_else(|_| set(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, clamp(bytes)))
}

/// SO_RCVBUFFORCE in bytes, or SO_RCVBUF where the user namespace does not own the network's limits.
///
/// # Errors
/// When both are refused.
pub fn receive_buffer(socket: &impl AsRawFd, bytes: usize) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, clamp(bytes))
        .or_else(|_| set(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, clamp(bytes)))
}

/// PACKET_QDISC_BYPASS: `packet_xmit()` becomes `packet_direct_xmit()`.
///
/// # Errors
/// Before Linux 3.14.
pub fn qdisc_bypass(socket: &impl AsRawFd) -> io::Result<()> {
    set(socket, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)
}

/// PACKET_IGNORE_OUTGOING: the socket sees what arrives, not what the device sends.
///
/// # Errors
/// Before Linux 4.20.
pub fn ignore_outgoing(socket: &impl AsRawFd) -> io::Result<()> {
    // Keep in sync with include/uapi/linux/if_packet.h.
    const PACKET_IGNORE_OUTGOING: c_int = 23;
    set(socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
}

/// SO_BINDTODEVICE.
///
/// # Errors
/// ENODEV.
pub fn bind_to_device(socket: &impl AsRawFd, device: &str) -> io::Result<()> {
    set_value(socket, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, device.as_bytes())
}

/// Datagrams a socket has dropped (SO_MEMINFO).
///
/// # Errors
/// The kernel does not tell.
pub fn drops(socket: &impl AsRawFd) -> io::Result<u32> {
    let mut numbers = [0_u32; SK_MEMINFO_DROPS + 1];
    let mut len = size_of_val(&numbers) as socklen_t;
    // SAFETY: the pointers describe `numbers` and `len`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            (&raw mut numbers).cast::<c_void>(),
            &raw mut len,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(numbers[SK_MEMINFO_DROPS]) }
}

/// Frames an AF_PACKET socket has lost since it was asked last (PACKET_STATISTICS).
///
/// # Errors
/// When the socket is no packet socket.
pub fn packet_overrun(socket: &impl AsRawFd) -> io::Result<u32> {
    let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut len = size_of::<libc::tpacket_stats>() as socklen_t;
    // SAFETY: the pointers describe `statistics` and `len`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut statistics).cast::<c_void>(),
            &raw mut len,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(statistics.tp_drops) }
}
