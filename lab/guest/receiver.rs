//! Sees numbered frames arrive at a device, each number once.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::sockopt;
use crate::frames::Frames;
use crate::wire::{PROBE_PORT, Probe};

/// Room for frames between two drains: a flood is drained every few dozen frames, a late burst must fit as well.
const RECEIVE_BUFFER_BYTES: usize = 32 << 20;
/// Longest part of a frame that is looked at.
const FRAME_HEAD_BYTES: usize = 256;

/// Watches one device for all flows that lead to it.
pub struct Receiver {
    tap: OwnedFd,
    /// Takes the datagrams that reach the receiver's UDP layer, so that it does not answer with ICMP.
    sink: Option<UdpSocket>,
    trial: u16,
    ifindex: u32,
    /// By flow.
    seen: BTreeMap<u16, Seen>,
    /// What the socket has read that arrived at the device, by flow: the tap hears nothing from when a device is up again
    /// until it is told so (`packet_notifier()`), and a frame may be faster.
    sunk: BTreeMap<u16, Frames>,
    /// Flows of which a frame counts as delivered when the socket has read it, and not when it has arrived at the device,
    /// whatever the stack above makes of it.
    at_socket: BTreeSet<u16>,
    /// Datagrams of which the first fragment has arrived at the device, by flow. They count as delivered when the socket has
    /// read them: their other fragments may be lost.
    begun: BTreeMap<u16, Frames>,
    /// Datagrams that came to the address by another device of the namespace, by flow and that device's index.
    astray: BTreeMap<(u16, u32), Frames>,
    /// Whether the socket is read; one that is not has the smallest buffer.
    reading: bool,
    overrun: u32,
}

/// What arrived of one flow.
#[derive(Debug, Default)]
struct Seen {
    frames: Frames,
    duplicated: u32,
    /// The addresses that they came from.
    sources: BTreeSet<Ipv4Addr>,
    /// When the last one was noticed, and the longest time between two.
    last: Option<Instant>,
    longest_silence: Duration,
}

impl Receiver {
    /// Opens the taps. Must run in the receiver's namespace. `address` is where datagrams are sent to.
    ///
    /// # Errors
    /// When a socket call fails.
    pub fn open(trial: u16, address: Ipv4Addr, ifindex: u32) -> io::Result<Self> {
        let tap = sockopt::packet_socket(libc::ETH_P_ALL as u16, ifindex)?;
        sockopt::ignore_outgoing(&tap)?;
        sockopt::receive_buffer(&tap, RECEIVE_BUFFER_BYTES)?;
        // Another device of the namespace may have the same address: one sink is enough.
        let sink = match UdpSocket::bind((address, PROBE_PORT)) {
            Ok(sink) => {
                sockopt::receive_buffer(&sink, RECEIVE_BUFFER_BYTES)?;
                sink.set_nonblocking(true)?;
                sockopt::tell_devices(&sink)?;
                Some(sink)
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
            Err(error) => return Err(error),
        };
        let (seen, sunk, begun, at_socket) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let astray = BTreeMap::new();
        Ok(Self {
            tap,
            sink,
            trial,
            ifindex,
            seen,
            sunk,
            at_socket,
            begun,
            astray,
            reading: true,
            overrun: 0,
        })
    }

    /// From now on a flow's frames count as delivered when the socket has read them.
    pub fn count_at_socket(&mut self, flow: u16) {
        self.at_socket.insert(flow);
    }

    /// Stops to read the socket, with the smallest buffer there is; or reads it again.
    ///
    /// # Errors
    /// The kernel refuses the buffer, or another device of the namespace has the same address and the socket.
    pub fn set_reading(&mut self, reading: bool) -> io::Result<()> {
        let sink = self.sink.as_ref().ok_or(io::ErrorKind::AddrInUse)?;
        if reading {
            sockopt::receive_buffer(sink, RECEIVE_BUFFER_BYTES)?;
        } else {
            sockopt::smallest_receive_buffer(sink)?;
        }
        self.reading = reading;
        Ok(())
    }

    /// Takes everything that has arrived; returns how many of the lab's frames were among it.
    ///
    /// # Errors
    /// When the tap fails. A device that went down is no failure: nothing more will arrive.
    pub fn drain(&mut self) -> io::Result<u32> {
        let mut buffer = [0; FRAME_HEAD_BYTES];
        let mut news = 0;
        while let Some(sink) = self.sink.as_ref().filter(|_| self.reading)
            && let Ok(Some((len, ifindex))) = sockopt::receive_at(sink, &mut buffer)
        {
            let Some(probe) = Probe::parse(&buffer[..len.min(FRAME_HEAD_BYTES)]) else { continue };
            if self.at_socket.contains(&probe.flow) {
                news += self.note(Some(probe));
            } else if probe.trial == self.trial && ifindex == self.ifindex {
                self.sunk.entry(probe.flow).or_default().insert(probe.sequence);
            } else if probe.trial == self.trial {
                self.astray.entry((probe.flow, ifindex)).or_default().insert(probe.sequence);
            }
        }
        loop {
            let len = match sockopt::receive(&self.tap, &mut buffer) {
                Ok(Some(len)) => len,
                Ok(None) => break,
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => continue,
                Err(error) => return Err(error),
            };
            let frame = &buffer[..len.min(FRAME_HEAD_BYTES)];
            let probe = Probe::parse_frame(frame).filter(|probe| !self.at_socket.contains(&probe.flow));
            if let Some(probe) = probe.filter(|it| it.trial == self.trial && self.is_begun(frame)) {
                self.begun.entry(probe.flow).or_default().insert(probe.sequence);
                news += 1;
                continue;
            }
            news += self.note(probe);
            let known = probe.and_then(|probe| self.seen.get_mut(&probe.flow));
            if let (Some(seen), Some(source)) = (known, Probe::source_of(frame)) {
                seen.sources.insert(source);
            }
        }
        self.overrun += sockopt::packet_overrun(&self.tap)?;
        Ok(news)
    }

    /// Whether a frame is only the beginning of a datagram that the socket is to have.
    fn is_begun(&self, frame: &[u8]) -> bool {
        Probe::is_fragment(frame) && self.sink.is_some()
    }

    /// Notes a frame of this trial; returns how many that were.
    fn note(&mut self, probe: Option<Probe>) -> u32 {
        let Some(probe) = probe.filter(|probe| probe.trial == self.trial) else { return 0 };
        let seen = self.seen.entry(probe.flow).or_default();
        if let Some(last) = seen.last.replace(Instant::now()) {
            seen.longest_silence = seen.longest_silence.max(last.elapsed());
        }
        if !seen.frames.insert(probe.sequence) {
            seen.duplicated += 1;
        }
        1
    }

    /// Frames of a flow that arrived, and how many of them again.
    pub fn seen(&self, flow: u16) -> (Frames, u32) {
        let (tapped, duplicated) =
            self.seen.get(&flow).map(|seen| (seen.frames.clone(), seen.duplicated)).unwrap_or_default();
        let sunk = self.sunk.get(&flow);
        (sunk.map_or_else(|| tapped.clone(), |sunk| tapped.union(sunk)), duplicated)
    }

    /// Datagrams of a flow that have begun to arrive, and of which a fragment is missing.
    pub fn incomplete(&self, flow: u16) -> Frames {
        self.begun.get(&flow).map(|begun| begun.difference(&self.seen(flow).0)).unwrap_or_default()
    }

    /// Datagrams that came by another device, whose index is given: somebody has its Ethernet address for this one's.
    pub fn astray(&self) -> impl Iterator<Item = (u16, u32, &Frames)> {
        self.astray.iter().map(|((flow, ifindex), frames)| (*flow, *ifindex, frames))
    }

    /// The addresses that a flow's frames came from.
    pub fn sources(&self, flow: u16) -> BTreeSet<Ipv4Addr> {
        self.seen.get(&flow).map(|seen| seen.sources.clone()).unwrap_or_default()
    }

    /// Takes the time from now on.
    pub fn listen(&mut self, flow: u16) {
        self.seen.entry(flow).or_default().last = Some(Instant::now());
    }

    /// The longest time without a frame of a flow, the time since the last one included.
    pub fn longest_silence(&self, flow: u16) -> Duration {
        self.seen.get(&flow).map_or(Duration::ZERO, |seen| {
            seen.longest_silence.max(seen.last.map_or(Duration::ZERO, |last| last.elapsed()))
        })
    }

    /// Datagrams that the receiving socket has dropped, where it is what counts them as delivered.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn dropped(&self) -> io::Result<Option<u32>> {
        let sink = self.sink.as_ref().filter(|_| !self.at_socket.is_empty());
        sink.map(sockopt::drops).transpose()
    }

    /// Frames, of any flow, that the tap itself lost.
    pub fn overrun(&self) -> u32 {
        self.overrun
    }
}
