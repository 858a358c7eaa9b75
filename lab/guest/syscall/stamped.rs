//! Frames of a packet socket with what the kernel says beside them: when, in which direction, and with which tag.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use libc::{c_void, socklen_t};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::ReceiveTimestampns;

use crate::syscall::sockopt;

/// The tag that the kernel keeps beside a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// EtherType of 802.1Q or 802.1ad.
    pub tpid: u16,
    /// Priority and VLAN.
    pub tci: u16,
}

/// What the kernel reports beside one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamped {
    /// Its length in bytes, which may be more than the buffer's.
    pub len: usize,
    /// When, in ns since 1970 (CLOCK_REALTIME); 0 where the kernel does not say.
    pub ns: u64,
    /// Whether the device was sending it (PACKET_OUTGOING).
    pub is_outgoing: bool,
    /// Its outermost tag, if that is not in the frame.
    pub tag: Option<Tag>,
}

/// Opens a socket that has each frame of one device, in both directions, with its stamp.
///
/// # Errors
/// As [`sockopt::packet_socket`].
pub fn open(ifindex: u32, receive_buffer_bytes: usize) -> io::Result<OwnedFd> {
    let socket = sockopt::packet_socket(libc::ETH_P_ALL as u16, ifindex)?;
    sockopt::tell_tags(&socket)?;
    sockopt::receive_buffer(&socket, receive_buffer_bytes)?;
    setsockopt(&socket.as_fd(), ReceiveTimestampns, &true)?;
    Ok(socket)
}

/// Receives one frame without waiting, as much of it as the buffer holds. `None` when there is none.
///
/// # Errors
/// ENETDOWN when the device went down, and the like.
pub fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<Option<Stamped>> {
    // Room for a struct tpacket_auxdata and a struct timespec behind their headers, aligned as a cmsghdr is.
    let mut control = [0_u64; 16];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast::<c_void>(), iov_len: buffer.len() };
    // SAFETY: an all-zero sockaddr_ll is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    // SAFETY: an all-zero msghdr is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut address).cast::<c_void>();
    message.msg_namelen = size_of::<libc::sockaddr_ll>() as socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast::<c_void>();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: the message describes `buffer`, `control` and `address`, which outlive the call. MSG_TRUNC has the kernel return
    // the frame's own length.
    let got =
        unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT | libc::MSG_TRUNC) };
    let Ok(len) = usize::try_from(got) else {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
    };
    let is_outgoing = address.sll_pkttype == libc::PACKET_OUTGOING;
    let mut stamped = Stamped { len, ns: 0, is_outgoing, tag: None };
    read_control(&message, &mut stamped);
    Ok(Some(stamped))
}

/// Reads the control data of a received message, which must still be there.
fn read_control(message: &libc::msghdr, stamped: &mut Stamped) {
    // SAFETY: the kernel has filled the control data, and set its length.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: it is null, or a whole header in the control data.
    while let Some(told) = unsafe { header.as_ref() } {
        match (told.cmsg_level, told.cmsg_type) {
            (libc::SOL_PACKET, libc::PACKET_AUXDATA) => {
                // SAFETY: what follows a header of this type is a struct tpacket_auxdata (`packet_recvmsg()`).
                let auxdata =
                    unsafe { libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned() };
                let has = |flag| auxdata.tp_status & flag != 0;
                let tpid = if has(libc::TP_STATUS_VLAN_TPID_VALID) {
                    auxdata.tp_vlan_tpid
                } else {
                    libc::ETH_P_8021Q as u16
                };
                let tag = Tag { tpid, tci: auxdata.tp_vlan_tci };
                stamped.tag = has(libc::TP_STATUS_VLAN_VALID).then_some(tag);
            }
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                // SAFETY: what follows a header of this type is a struct timespec (`__sock_recv_timestamp()`).
                let time = unsafe { libc::CMSG_DATA(header).cast::<libc::timespec>().read_unaligned() };
                let (s, ns) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
                stamped.ns = s.unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(ns.unwrap_or(0));
            }
            _ => {}
        }
        // SAFETY: as for the first one.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
}
