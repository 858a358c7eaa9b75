//! Sees echo requests arrive at a host or by a device that they were not sent to.
//!
//! A datagram at the wrong host finds no socket, and the kernel says so. An echo request is taken by whoever has the address,
//! and `icmp_rcv()` frees it as one that was wanted: only a raw socket there can tell (see `receiver`).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use nix::sys::socket::SockProtocol;

use crate::syscall::sockopt;
use bondlab_core::net::frame_set::Frames;
use bondlab_core::net::probe::Probe;

/// Room for frames between two drains.
const RECEIVE_BUFFER_BYTES: usize = 32 << 20;
/// Longest part of a packet that is looked at.
const PACKET_HEAD_BYTES: usize = 256;

/// Watches the ICMP layer of one namespace.
#[derive(Debug)]
pub struct Elsewhere {
    socket: OwnedFd,
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
        let socket = sockopt::raw_socket(SockProtocol::Icmp)?;
        sockopt::receive_buffer(&socket, RECEIVE_BUFFER_BYTES)?;
        sockopt::tell_devices(&socket)?;
        Ok(Self { socket, trial, seen: BTreeMap::new() })
    }

    /// Takes everything that has arrived. What the socket itself loses is a frame that is not accounted for.
    ///
    /// # Errors
    /// The socket fails.
    pub fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0; PACKET_HEAD_BYTES];
        while let Some(arrival) = sockopt::receive_at(&self.socket, &mut buffer)? {
            let probe = Probe::parse_ipv4(&buffer[..arrival.len.min(PACKET_HEAD_BYTES)]);
            if let Some(probe) = probe.filter(|probe| probe.trial == self.trial) {
                self.seen.entry((probe.flow, arrival.ifindex)).or_default().insert(probe.sequence);
            }
        }
        Ok(())
    }

    /// What came, by flow and the index of the device.
    pub fn seen(&self) -> impl Iterator<Item = (u16, u32, &Frames)> {
        self.seen.iter().map(|((flow, ifindex), frames)| (*flow, *ifindex, frames))
    }
}
