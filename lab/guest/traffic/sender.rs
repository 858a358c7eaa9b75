//! Sends numbered frames through a chosen kind of socket and keeps the kernel's answer to each.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, SockProtocol, SockaddrStorage};

use crate::syscall::{packet_options, sockopt};
use bondlab_core::net::address::Mac;
use bondlab_core::net::family::{ETHERNET_LEN, Family};
use bondlab_core::net::frame_set::Frames;
use bondlab_core::net::frame_template::{FIRST_SOURCE_PORT, FrameError, FrameTemplate, PacketTemplate};
use bondlab_core::net::probe::{PROBE_PORT, Probe};
use bondlab_core::plan::FlowPlan;
use bondlab_core::topology::scenario::{Flow, Socket};

/// Room for frames a queue below holds on to; with less, the sender would meet its own limit before the queue's.
const SEND_BUFFER_BYTES: usize = 64 << 20;

/// Bound with protocol 0, a packet socket receives no copy of anything.
const SENDS_ONLY: u16 = 0;

/// A tag in band, in bytes.
const TAG_LEN: usize = 4;

/// A socket that sends one flow.
pub struct Sender {
    transmit: TransmitSocket,
    accepted: Frames,
    refused: BTreeMap<String, Frames>,
}

enum TransmitSocket {
    Packet {
        socket: OwnedFd,
        template: FrameTemplate,
    },
    Raw {
        socket: OwnedFd,
        to: SockaddrStorage,
        template: PacketTemplate,
    },
    /// One for each source port; frames take them in turn.
    Udp {
        sockets: Vec<UdpSocket>,
        to: SocketAddr,
        payload_len: usize,
    },
    Ping {
        socket: OwnedFd,
        to: SockaddrStorage,
        family: Family,
        payload_len: usize,
    },
}

/// Why a flow's sender could not be made, or gave up.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// A socket call failed before the first frame.
    #[error("{call} for flow {flow}: {source}")]
    Socket { call: &'static str, flow: String, source: io::Error },
    /// The frame cannot be built.
    #[error("flow {flow}: {source}")]
    Frame { flow: String, source: FrameError },
}

/// What failed, and how.
type Failed = (&'static str, io::Error);

impl Sender {
    /// Opens the flow's socket. Must run in the sender's namespace.
    ///
    /// # Errors
    /// When a socket call fails; the device must exist.
    pub fn open(plan: &FlowPlan, ifindex: u32, header: Option<(Mac, Mac)>) -> Result<Self, SendError> {
        let flow = &plan.flow;
        let opened = match flow.socket {
            Socket::Packet | Socket::PacketBypass => packet(plan, ifindex, header),
            Socket::Raw => raw(plan, ifindex),
            Socket::Udp | Socket::UdpRecverr => udp(plan, ifindex),
            Socket::Ping => ping(plan, ifindex),
            Socket::Tcp => {
                Err(("TCP is written to a connection", io::Error::from(io::ErrorKind::Unsupported)))
            }
        };
        let transmit =
            opened.map_err(|(call, source)| SendError::Socket { call, flow: flow.name.clone(), source })?;
        Ok(Self { transmit, accepted: Frames::default(), refused: BTreeMap::new() })
    }

    /// Sends one frame and notes the kernel's answer.
    ///
    /// # Errors
    /// When the frame cannot be built. A refused send is an answer, not an error.
    pub fn send(&mut self, flow: &str, probe: Probe) -> Result<(), SendError> {
        let unbuilt = |source| SendError::Frame { flow: flow.into(), source };
        let answer = match &self.transmit {
            TransmitSocket::Packet { socket, template } => {
                sockopt::send(socket, &template.frame(probe).map_err(unbuilt)?)
            }
            TransmitSocket::Raw { socket, to, template } => {
                send_to(socket, &template.packet(probe).map_err(unbuilt)?, to)
            }
            TransmitSocket::Udp { sockets, to, payload_len } => {
                let socket = &sockets[probe.sequence as usize % sockets.len()];
                socket.send_to(&probe.emit(*payload_len), *to).map(|_| ())
            }
            TransmitSocket::Ping { socket, to, family, payload_len } => {
                send_to(socket, &probe.emit_echo(*family, *payload_len), to)
            }
        };
        match answer {
            Ok(()) => self.accepted.insert(probe.sequence),
            Err(error) => {
                let errno = errno_name(&error);
                self.refused.entry(errno).or_default().insert(probe.sequence)
            }
        };
        Ok(())
    }

    /// What the kernel answered: frames accepted, and frames refused by errno.
    pub fn answers(self) -> (Frames, BTreeMap<String, Frames>) {
        (self.accepted, self.refused)
    }
}

fn send_to(socket: &OwnedFd, bytes: &[u8], to: &SockaddrStorage) -> io::Result<()> {
    socket::sendto(socket.as_raw_fd(), bytes, to, MsgFlags::MSG_DONTWAIT)?;
    Ok(())
}

fn packet(plan: &FlowPlan, ifindex: u32, header: Option<(Mac, Mac)>) -> Result<TransmitSocket, Failed> {
    let no_header = || ("AF_PACKET without Ethernet addresses", io::Error::from(io::ErrorKind::InvalidInput));
    let (source_mac, destination_mac) = header.ok_or_else(no_header)?;
    let flow = &plan.flow;
    let socket = sockopt::packet_socket(SENDS_ONLY, ifindex).map_err(|e| ("AF_PACKET socket", e))?;
    sockopt::send_buffer(&socket, SEND_BUFFER_BYTES).map_err(|e| ("SO_SNDBUFFORCE", e))?;
    if flow.socket == Socket::PacketBypass {
        sockopt::qdisc_bypass(&socket).map_err(|e| ("PACKET_QDISC_BYPASS", e))?;
    }
    if let Some(priority) = flow.shape.priority {
        packet_options::set_priority(&socket, priority).map_err(|e| ("SO_PRIORITY", e))?;
    }
    let tag_len = if flow.tag.is_some() { TAG_LEN } else { 0 };
    let packet = packet_template(plan, flow.len - ETHERNET_LEN - tag_len);
    let template = FrameTemplate { source_mac, destination_mac, tag: flow.tag, packet };
    Ok(TransmitSocket::Packet { socket, template })
}

fn packet_template(plan: &FlowPlan, len: usize) -> PacketTemplate {
    let shape = &plan.flow.shape;
    PacketTemplate {
        source: plan.source,
        destination: shape.group.unwrap_or(plan.destination),
        dont_fragment: shape.pmtudisc.is_some_and(|pmtudisc| pmtudisc.sets_df()),
        tos: shape.tos.unwrap_or(0),
        source_ports: shape.source_ports.map(|ports| ports.get()),
        len,
    }
}

fn raw(plan: &FlowPlan, ifindex: u32) -> Result<TransmitSocket, Failed> {
    let flow = &plan.flow;
    let socket =
        sockopt::raw_socket(flow.shape.family, SockProtocol::Raw).map_err(|e| ("SOCK_RAW socket", e))?;
    sockopt::bind_to_device(&socket, flow.from.name.as_str()).map_err(|e| ("SO_BINDTODEVICE", e))?;
    sockopt::send_buffer(&socket, SEND_BUFFER_BYTES).map_err(|e| ("SO_SNDBUFFORCE", e))?;
    packet_options::shape(&socket, &flow.shape).map_err(|e| ("options of the packets", e))?;
    // The port of a raw socket's address is a protocol number of IPv6, or none (`rawv6_sendmsg()`).
    let to = SockaddrStorage::from(to(plan, ifindex, 0));
    Ok(TransmitSocket::Raw { socket, to, template: packet_template(plan, flow.len - ETHERNET_LEN) })
}

fn udp(plan: &FlowPlan, ifindex: u32) -> Result<TransmitSocket, Failed> {
    let flow = &plan.flow;
    let ports = flow.shape.source_ports.map_or(1, |ports| ports.get());
    let sockets = (0..ports).map(|nth| {
        let port = flow.shape.source_ports.map_or(0, |_| FIRST_SOURCE_PORT.saturating_add(nth));
        udp_socket(flow, SocketAddr::new(if flow.unbound { unspecified(flow) } else { plan.source }, port))
    });
    // Not connected: without a route it is each send that is refused, not the socket.
    Ok(TransmitSocket::Udp {
        sockets: sockets.collect::<Result<_, _>>()?,
        to: to(plan, ifindex, PROBE_PORT),
        payload_len: flow.len - flow.shape.family.headers_len(),
    })
}

fn udp_socket(flow: &Flow, local: SocketAddr) -> Result<UdpSocket, Failed> {
    let socket = UdpSocket::bind(local).map_err(|e| ("bind", e))?;
    if !flow.unbound {
        sockopt::bind_to_device(&socket, flow.from.name.as_str()).map_err(|e| ("SO_BINDTODEVICE", e))?;
    }
    sockopt::send_buffer(&socket, SEND_BUFFER_BYTES).map_err(|e| ("SO_SNDBUFFORCE", e))?;
    if flow.socket == Socket::UdpRecverr {
        packet_options::receive_errors(&socket, flow.shape.family).map_err(|e| ("IP_RECVERR", e))?;
    }
    packet_options::shape(&socket, &flow.shape).map_err(|e| ("options of the packets", e))?;
    socket.set_nonblocking(true).map_err(|e| ("O_NONBLOCK", e))?;
    Ok(socket)
}

fn ping(plan: &FlowPlan, ifindex: u32) -> Result<TransmitSocket, Failed> {
    let (flow, family) = (&plan.flow, plan.flow.shape.family);
    let socket = sockopt::ping_socket(family).map_err(|e| ("ping socket", e))?;
    let local = SockaddrStorage::from(SocketAddr::new(plan.source, 0));
    socket::bind(socket.as_raw_fd(), &local).map_err(|e| ("bind", e.into()))?;
    sockopt::bind_to_device(&socket, flow.from.name.as_str()).map_err(|e| ("SO_BINDTODEVICE", e))?;
    sockopt::send_buffer(&socket, SEND_BUFFER_BYTES).map_err(|e| ("SO_SNDBUFFORCE", e))?;
    packet_options::shape(&socket, &flow.shape).map_err(|e| ("options of the packets", e))?;
    let to = SockaddrStorage::from(to(plan, ifindex, 0));
    Ok(TransmitSocket::Ping { socket, to, family, payload_len: flow.len - family.headers_len() })
}

/// Where datagrams go. A group of link-local scope is one of the sending device's link.
fn to(plan: &FlowPlan, ifindex: u32, port: u16) -> SocketAddr {
    match plan.flow.shape.group.unwrap_or(plan.destination) {
        IpAddr::V6(address) if address.is_multicast() => {
            SocketAddr::V6(SocketAddrV6::new(address, port, 0, ifindex))
        }
        address => SocketAddr::new(address, port),
    }
}

fn unspecified(flow: &Flow) -> IpAddr {
    match flow.shape.family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// `ENOBUFS` for 105: names are the same on every machine, numbers are not.
pub fn errno_name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => format!("{:?}", Errno::from_raw(code)),
        None => error.to_string(),
    }
}
