//! Sees numbered frames arrive at a device, each number once.

use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;

use super::sockopt;
use crate::frames::Frames;
use crate::plan::FlowPlan;
use crate::wire::{PROBE_PORT, Probe};

/// Room for frames between two drains: a flood is drained every few dozen frames, a late burst must fit as well.
const RECEIVE_BUFFER_BYTES: usize = 32 << 20;
/// Longest part of a frame that is looked at.
const FRAME_HEAD_BYTES: usize = 256;

/// Watches one device for one flow.
pub struct Receiver {
    tap: OwnedFd,
    /// Takes the datagrams that reach the receiver's UDP layer, so that it does not answer with ICMP.
    sink: Option<UdpSocket>,
    trial: u16,
    flow: u16,
    frames: Frames,
    duplicated: u32,
    overrun: u32,
}

impl Receiver {
    /// Opens the taps. Must run in the receiver's namespace.
    ///
    /// # Errors
    /// When a socket call fails.
    pub fn open(plan: &FlowPlan, trial: u16, flow: u16, ifindex: u32) -> io::Result<Self> {
        let tap = sockopt::packet_socket(libc::ETH_P_ALL as u16, ifindex)?;
        sockopt::ignore_outgoing(&tap)?;
        sockopt::receive_buffer(&tap, RECEIVE_BUFFER_BYTES)?;
        // Another flow of the same trial may have the port: one sink is enough for the namespace.
        let sink = match UdpSocket::bind((plan.destination, PROBE_PORT)) {
            Ok(sink) => {
                sockopt::receive_buffer(&sink, RECEIVE_BUFFER_BYTES)?;
                sink.set_nonblocking(true)?;
                Some(sink)
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
            Err(error) => return Err(error),
        };
        Ok(Self { tap, sink, trial, flow, frames: Frames::default(), duplicated: 0, overrun: 0 })
    }

    /// Takes everything that has arrived; returns how many frames of the flow were among it.
    ///
    /// # Errors
    /// When the tap fails. A device that went down is no failure: nothing more will arrive.
    pub fn drain(&mut self) -> io::Result<u32> {
        let mut buffer = [0; FRAME_HEAD_BYTES];
        if let Some(sink) = &self.sink {
            while let Ok(Some(_)) = sockopt::receive(sink, &mut buffer) {}
        }
        let mut news = 0;
        loop {
            let len = match sockopt::receive(&self.tap, &mut buffer) {
                Ok(Some(len)) => len,
                Ok(None) => break,
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => continue,
                Err(error) => return Err(error),
            };
            let Some(probe) = Probe::parse_frame(&buffer[..len.min(FRAME_HEAD_BYTES)]) else { continue };
            if probe.trial == self.trial && probe.flow == self.flow {
                news += 1;
                if !self.frames.insert(probe.sequence) {
                    self.duplicated += 1;
                }
            }
        }
        self.overrun += sockopt::packet_overrun(&self.tap)?;
        Ok(news)
    }

    /// Frames seen so far.
    pub fn frames(&self) -> &Frames {
        &self.frames
    }

    /// Frames seen again, and frames the tap itself lost.
    pub fn faults(&self) -> (u32, u32) {
        (self.duplicated, self.overrun)
    }
}
