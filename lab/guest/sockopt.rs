//! The socket calls and options that nix does not have, each safe to call.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, c_void, socklen_t};

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
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
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

fn set(socket: &impl AsRawFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast::<c_void>(),
            size_of::<c_int>() as socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
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

/// IP_RECVERR: `udp_send_skb()` then tells ENOBUFS.
///
/// # Errors
/// When the socket is not of IPv4.
pub fn receive_errors(socket: &impl AsRawFd) -> io::Result<()> {
    set(socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1)
}

/// SO_BINDTODEVICE.
///
/// # Errors
/// ENODEV.
pub fn bind_to_device(socket: &impl AsRawFd, device: &str) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `device`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            device.as_ptr().cast::<c_void>(),
            device.len() as socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
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
