//! Sees echo requests arrive at a host or by a device that they were not sent to.
//!
//! A datagram at the wrong host finds no socket, and the kernel says so. An echo request is taken by whoever has the address,
//! and `icmp_rcv()` frees it as one that was wanted: only a raw socket there can tell (see `receiver`).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use nix::sys::socket::SockProtocol;

use crate::syscall::sockopt;
use bondlab_core::net::family::Family;
use bondlab_core::net::frame_set::Frames;
use bondlab_core::net::probe::Probe;

/// Room for frames between two drains.
const RECEIVE_BUFFER_BYTES: usize = 32 << 20;
/// Longest part of a packet that is looked at.
const PACKET_HEAD_BYTES: usize = 256;

/// Watches the ICMP layer of one namespace.
#[derive(Debug)]
pub struct Elsewhere {
    /// Of IPv6 there is none where the machine has no IPv6.
    sockets: Vec<(Family, OwnedFd)>,
    trial: u16,
    /// By flow and the index of the device they came by.
    seen: BTreeMap<(u16, u32), Frames>,
}

impl Elsewhere {
    /// Must run in the namespace.
    ///
    /// # Errors
    /// No raw socket is to be had.
    pub fn open(trial: u16) -> io::Result<Self> {
        let mut sockets = vec![(Family::Ipv4, sockopt::raw_socket(Family::Ipv4, SockProtocol::Icmp)?)];
        match sockopt::raw_socket(Family::Ipv6, SockProtocol::IcmpV6) {
            Ok(socket) => sockets.push((Family::Ipv6, socket)),
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {}
            Err(error) => return Err(error),
        }
        for (family, socket) in &sockets {
            sockopt::receive_buffer(socket, RECEIVE_BUFFER_BYTES)?;
            sockopt::tell_devices(socket, *family)?;
        }
        Ok(Self { sockets, trial, seen: BTreeMap::new() })
    }

    /// Takes everything that has arrived. What the socket itself loses is a frame that is not accounted for.
    ///
    /// # Errors
    /// The socket fails.
    pub fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0; PACKET_HEAD_BYTES];
        for (family, socket) in &self.sockets {
            while let Some(arrival) = sockopt::receive_at(socket, &mut buffer)? {
                let head = &buffer[..arrival.len.min(PACKET_HEAD_BYTES)];
                let probe = match family {
                    Family::Ipv4 => Probe::parse_ip(head),
                    Family::Ipv6 => Probe::parse_echo_request(*family, head),
                };
                if let Some(probe) = probe.filter(|probe| probe.trial == self.trial) {
                    self.seen.entry((probe.flow, arrival.ifindex)).or_default().insert(probe.sequence);
                }
            }
        }
        Ok(())
    }

    /// What came, by flow and the index of the device.
    pub fn seen(&self) -> impl Iterator<Item = (u16, u32, &Frames)> {
        self.seen.iter().map(|((flow, ifindex), frames)| (*flow, *ifindex, frames))
    }
}
