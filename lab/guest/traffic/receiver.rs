//! Sees numbered frames arrive where their flows count them: at a device, in the IP stack, or at a socket. Each number once.
//!
//! The three look at different places of the way in. An AF_PACKET tap sees a frame in `__netif_receive_skb_core()`, before
//! tc, tcx and nft ingress, the VLAN layer and IP. A raw socket sees a packet in `raw_local_deliver()`, which
//! `ip_protocol_deliver_rcu()` calls just before `udp_rcv()` or `icmp_rcv()`: after `ip_rcv_core()`, the routing decision
//! with rp_filter, reassembly (`ip_local_deliver()`) and netfilter's input hook. A UDP socket has what a program reads.
//!
//! An echo request counts in the stack. None is answered in the lab (icmp_echo_ignore_all), so that no answers are among
//! the frames; `icmp_echo()` looks at that after all else, and what may refuse a request in between is the checksum.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use nix::sys::socket::SockProtocol;

use crate::syscall::sockopt;
use crate::syscall::sockopt::Arrival;
use bondlab_core::net::family::Family;
use bondlab_core::net::frame_set::Frames;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::net::probe::{PROBE_PORT, Probe};
use bondlab_core::net::reordered::Reordered;
use bondlab_core::plan::FlowPlan;
use bondlab_core::topology::scenario::{CountsAt, Socket};

/// Room for frames between two drains: a flood is drained every few dozen frames, a late burst must fit as well.
const RECEIVE_BUFFER_BYTES: usize = 32 << 20;
/// Longest part of a frame that is looked at.
const FRAME_HEAD_BYTES: usize = 256;

/// Watches one device for all flows that lead to it.
pub struct Receiver {
    tap: OwnedFd,
    /// Take the datagrams that reach the receiver's UDP layer, so that it does not answer with ICMP: by address, of each family one.
    sinks: BTreeMap<IpAddr, Option<UdpSocket>>,
    /// What IP hands to a protocol, where a flow counts there.
    raw: BTreeMap<(Family, Protocol), OwnedFd>,
    trial: u16,
    ifindex: u32,
    /// Where the flows to this device count.
    expected: BTreeMap<u16, (CountsAt, Socket)>,
    /// By flow.
    seen: BTreeMap<u16, Seen>,
    /// Of flows that count at the device, what the socket has read that arrived by it: the tap hears nothing from when a device
    /// is up again until it is notified (`packet_notifier()`), and a frame may be faster.
    read_by_socket: BTreeMap<u16, Frames>,
    /// Datagrams of which the first fragment has arrived at the device, by flow. They count as delivered when they are whole:
    /// their other fragments may be lost.
    partial_datagrams: BTreeMap<u16, Frames>,
    /// Datagrams that came to the address by another device of the namespace, by flow and that device's index.
    via_other_device: BTreeMap<(u16, u32), Frames>,
    /// What the socket has read that came by another device, since the last look of [`share`].
    strays: Vec<(Probe, Arrival)>,
    /// Whether the sockets are read; one that is not has the smallest buffer.
    reading: bool,
    /// Whether there are sockets.
    listening: bool,
    overrun: u32,
}

/// What carries probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Protocol {
    Icmp,
    Udp,
}

/// What arrived of one flow.
#[derive(Debug, Default)]
struct Seen {
    frames: Frames,
    duplicated: u32,
    reordered: Reordered,
    /// The addresses that they came from.
    sources: BTreeSet<IpAddr>,
    /// When the last one was noticed, and the longest time between two.
    last: Option<Instant>,
    longest_silence: Duration,
}

impl Receiver {
    /// Opens the tap and the socket. Must run in the receiver's namespace. `address` is where datagrams are sent to.
    ///
    /// # Errors
    /// When a socket call fails.
    pub fn open(trial: u16, address: IpAddr, ifindex: u32) -> io::Result<Self> {
        let tap = sockopt::packet_socket(libc::ETH_P_ALL as u16, ifindex)?;
        sockopt::ignore_outgoing(&tap)?;
        sockopt::receive_buffer(&tap, RECEIVE_BUFFER_BYTES)?;
        Ok(Self {
            tap,
            sinks: BTreeMap::from([(address, sink(address)?)]),
            raw: BTreeMap::new(),
            trial,
            ifindex,
            expected: BTreeMap::new(),
            seen: BTreeMap::new(),
            read_by_socket: BTreeMap::new(),
            partial_datagrams: BTreeMap::new(),
            via_other_device: BTreeMap::new(),
            strays: Vec::new(),
            reading: true,
            listening: true,
            overrun: 0,
        })
    }

    /// A flow to this device is about to be sent. Must run in the receiver's namespace.
    ///
    /// # Errors
    /// No raw socket is to be had, or none of the flow's family.
    pub fn expect(&mut self, number: u16, plan: &FlowPlan) -> io::Result<()> {
        let (flow, family) = (&plan.flow, Family::of(plan.destination));
        if !self.sinks.contains_key(&plan.destination) {
            let sink = if self.listening { sink(plan.destination)? } else { None };
            if let Some(sink) = sink.as_ref().filter(|_| !self.reading) {
                sockopt::smallest_receive_buffer(sink)?;
            }
            self.sinks.insert(plan.destination, sink);
        }
        let (protocol, raw) = match (flow.socket, family) {
            (Socket::Ping, Family::Ipv4) => (Protocol::Icmp, SockProtocol::Icmp),
            (Socket::Ping, Family::Ipv6) => (Protocol::Icmp, SockProtocol::IcmpV6),
            _ => (Protocol::Udp, SockProtocol::Udp),
        };
        if flow.counts_at == CountsAt::Stack && !self.raw.contains_key(&(family, protocol)) {
            let socket = sockopt::raw_socket(family, raw)?;
            sockopt::receive_buffer(&socket, RECEIVE_BUFFER_BYTES)?;
            sockopt::tell_devices(&socket, family)?;
            self.raw.insert((family, protocol), socket);
        }
        self.expected.insert(number, (flow.counts_at, flow.socket));
        Ok(())
    }

    /// Stops to read the socket, with the smallest buffer there is; or reads it again.
    ///
    /// # Errors
    /// The kernel refuses the buffer, or another device of the namespace has the same address and the socket.
    pub fn set_reading(&mut self, reading: bool) -> io::Result<()> {
        for sink in self.sinks.values() {
            let sink = sink.as_ref().ok_or(io::ErrorKind::AddrInUse)?;
            if reading {
                sockopt::receive_buffer(sink, RECEIVE_BUFFER_BYTES)?;
            } else {
                sockopt::smallest_receive_buffer(sink)?;
            }
        }
        self.reading = reading;
        Ok(())
    }

    /// Closes the sockets, or opens them again. Must run in the receiver's namespace.
    ///
    /// # Errors
    /// The address or the port is not to be had.
    pub fn set_listening(&mut self, listening: bool) -> io::Result<()> {
        for (address, socket) in &mut self.sinks {
            *socket = if listening { sink(*address)? } else { None };
        }
        self.listening = listening;
        Ok(())
    }

    /// Takes everything that has arrived; returns how many of the lab's frames were among it.
    ///
    /// # Errors
    /// When the tap fails. A device that went down is no failure: nothing more will arrive.
    pub fn drain(&mut self) -> io::Result<u32> {
        let mut buffer = [0; FRAME_HEAD_BYTES];
        let mut news = 0;
        let mut read = Vec::new();
        for sink in self.sinks.values().flatten().filter(|_| self.reading) {
            while let Ok(Some(arrival)) = sockopt::receive_at(sink, &mut buffer) {
                let probe = Probe::parse(&buffer[..arrival.len.min(FRAME_HEAD_BYTES)]);
                read.extend(probe.filter(|probe| probe.trial == self.trial).map(|probe| (probe, arrival)));
            }
        }
        for (probe, arrival) in read {
            news += self.read(probe, arrival);
        }
        news += self.drain_stack(&mut buffer)?;
        loop {
            let len = match sockopt::receive(&self.tap, &mut buffer) {
                Ok(Some(len)) => len,
                Ok(None) => break,
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => continue,
                Err(error) => return Err(error),
            };
            let frame = &buffer[..len.min(FRAME_HEAD_BYTES)];
            let probe = Probe::parse_frame(frame).filter(|probe| probe.trial == self.trial);
            if let Some(probe) = probe {
                news += self.tapped(probe, frame);
            }
        }
        self.overrun += sockopt::packet_overrun(&self.tap)?;
        Ok(news)
    }

    /// Takes what IP has handed on.
    fn drain_stack(&mut self, buffer: &mut [u8; FRAME_HEAD_BYTES]) -> io::Result<u32> {
        let mut packets = Vec::new();
        for ((family, protocol), socket) in &self.raw {
            while let Some(arrival) = sockopt::receive_at(socket, buffer)? {
                let head = &buffer[..arrival.len.min(FRAME_HEAD_BYTES)];
                // A raw socket of IPv6 has no IP header.
                let probe = match (family, protocol) {
                    (Family::Ipv4, _) => Probe::parse_ip(head),
                    (Family::Ipv6, Protocol::Udp) => Probe::parse_datagram(head),
                    (Family::Ipv6, Protocol::Icmp) => Probe::parse_echo_request(Family::Ipv6, head),
                };
                packets.extend(probe.filter(|it| it.trial == self.trial).map(|probe| (probe, arrival)));
            }
        }
        let mut news = 0;
        for (probe, arrival) in packets {
            match self.expected.get(&probe.flow) {
                Some((CountsAt::Stack, _)) if arrival.ifindex == self.ifindex => {
                    news += self.note(probe, arrival.source);
                }
                // UDP; of an echo request `elsewhere` tells.
                Some((CountsAt::Stack, _)) => self.stray(probe, arrival.ifindex),
                _ => {}
            }
        }
        Ok(news)
    }

    /// A datagram that the socket has had.
    fn read(&mut self, probe: Probe, arrival: Arrival) -> u32 {
        if arrival.ifindex != self.ifindex {
            self.strays.push((probe, arrival));
            return 1;
        }
        match self.expected.get(&probe.flow) {
            Some((CountsAt::Socket, _)) => self.note(probe, arrival.source),
            Some((CountsAt::Stack, _)) => 0,
            // It was sent to another device, or to another host.
            None => {
                self.stray(probe, arrival.ifindex);
                1
            }
            Some((CountsAt::Device, _)) => {
                self.read_by_socket.entry(probe.flow).or_default().insert(probe.sequence);
                0
            }
        }
    }

    /// A frame that the tap has seen.
    fn tapped(&mut self, probe: Probe, frame: &[u8]) -> u32 {
        let is_fragment = Probe::is_fragment(frame);
        match self.expected.get(&probe.flow) {
            // No socket says when an echo request is whole: at the device its first fragment counts.
            Some((CountsAt::Device, Socket::Ping)) | None => self.note(probe, Probe::source_of(frame)),
            Some((CountsAt::Device, _)) if !is_fragment || !self.has_sinks() => {
                self.note(probe, Probe::source_of(frame))
            }
            Some(_) => {
                if is_fragment {
                    self.partial_datagrams.entry(probe.flow).or_default().insert(probe.sequence);
                }
                // It is still on its way.
                1
            }
        }
    }

    fn stray(&mut self, probe: Probe, ifindex: u32) {
        self.via_other_device.entry((probe.flow, ifindex)).or_default().insert(probe.sequence);
    }

    /// Notes a frame; returns how many that were.
    fn note(&mut self, probe: Probe, source: Option<IpAddr>) -> u32 {
        let seen = self.seen.entry(probe.flow).or_default();
        if let Some(last) = seen.last.replace(Instant::now()) {
            seen.longest_silence = seen.longest_silence.max(last.elapsed());
        }
        if seen.frames.insert(probe.sequence) {
            seen.reordered.note(probe.sequence);
        } else {
            seen.duplicated += 1;
        }
        seen.sources.extend(source);
        1
    }

    /// Frames of a flow that arrived where it counts, and how many of them again.
    pub fn seen(&self, flow: u16) -> (Frames, u32) {
        let (noted, duplicated) =
            self.seen.get(&flow).map(|seen| (seen.frames.clone(), seen.duplicated)).unwrap_or_default();
        let read_by_socket = self.read_by_socket.get(&flow);
        (
            read_by_socket.map_or_else(|| noted.clone(), |read_by_socket| noted.union(read_by_socket)),
            duplicated,
        )
    }

    /// Datagrams of a flow that have partial_datagrams to arrive, and of which a fragment is missing.
    pub fn incomplete(&self, flow: u16) -> Frames {
        self.partial_datagrams
            .get(&flow)
            .map(|partial_datagrams| partial_datagrams.difference(&self.seen(flow).0))
            .unwrap_or_default()
    }

    /// Datagrams that came by another device, whose index is given: somebody has its Ethernet address for this one's.
    pub fn via_other_device(&self) -> impl Iterator<Item = (u16, u32, &Frames)> {
        self.via_other_device.iter().map(|((flow, ifindex), frames)| (*flow, *ifindex, frames))
    }

    /// The addresses that a flow's frames came from.
    pub fn sources(&self, flow: u16) -> BTreeSet<IpAddr> {
        self.seen.get(&flow).map(|seen| seen.sources.clone()).unwrap_or_default()
    }

    /// Frames of a flow that arrived behind one of a higher number; of TCP, which is no receiver's, more is known.
    pub fn order(&self, flow: u16) -> (u32, Option<u32>) {
        (self.seen.get(&flow).map_or(0, |seen| seen.reordered.count()), None)
    }

    /// Whether each address has its socket here.
    fn has_sinks(&self) -> bool {
        self.sinks.values().all(Option::is_some)
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
        let counts = self.expected.values().any(|(place, _)| *place == CountsAt::Socket);
        let mut dropped = None;
        for sink in self.sinks.values().flatten().filter(|_| counts) {
            dropped = Some(dropped.unwrap_or(0) + sockopt::drops(sink)?);
        }
        Ok(dropped)
    }

    /// Frames, of any flow, that the tap or a raw socket itself lost.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn overrun(&self) -> io::Result<u32> {
        self.raw.values().try_fold(self.overrun, |all, socket| Ok(all + sockopt::drops(socket)?))
    }
}

/// The socket of an address. Another device of the namespace may have the same: its receiver reads the socket for both.
fn sink(address: IpAddr) -> io::Result<Option<UdpSocket>> {
    match UdpSocket::bind((address, PROBE_PORT)) {
        Ok(sink) => {
            sockopt::receive_buffer(&sink, RECEIVE_BUFFER_BYTES)?;
            sink.set_nonblocking(true)?;
            sockopt::tell_devices(&sink, Family::of(address))?;
            Ok(Some(sink))
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives what sockets have read to the device it came by: where devices of a namespace have one address, the receiver of one
/// has the socket of all.
pub fn share(receivers: &mut IndexMap<DeviceRef, Receiver>) {
    for at in 0..receivers.len() {
        let strays = std::mem::take(&mut receivers[at].strays);
        for (probe, arrival) in strays {
            let ns = receivers.get_index(at).map(|(device, _)| device.ns.clone());
            let is_by = |(device, it): &(&DeviceRef, &mut Receiver)| {
                Some(&device.ns) == ns.as_ref() && it.ifindex == arrival.ifindex && !it.has_sinks()
            };
            match receivers.iter_mut().find(is_by) {
                Some((_, sibling)) => {
                    sibling.read(probe, arrival);
                }
                None => receivers[at].stray(probe, arrival.ifindex),
            }
        }
    }
}
