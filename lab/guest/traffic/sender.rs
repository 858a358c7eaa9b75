//! Sends numbered frames through a chosen kind of socket and keeps the kernel's answer to each.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, SockaddrIn};

use crate::syscall::sockopt;
use bondlab_core::net::address::Mac;
use bondlab_core::net::frame_set::Frames;
use bondlab_core::net::probe::{FrameError, FrameTemplate, HEADERS_LEN, PROBE_PORT, Probe};
use bondlab_core::plan::FlowPlan;
use bondlab_core::topology::scenario::Socket;

/// Room for frames a queue below holds on to; with less, the sender would meet its own limit before the queue's.
const SEND_BUFFER_BYTES: usize = 64 << 20;

/// Bound with protocol 0, a packet socket receives no copy of anything.
const SENDS_ONLY: u16 = 0;

/// A socket that sends one flow.
pub struct Sender {
    transmit: TransmitSocket,
    accepted: Frames,
    refused: BTreeMap<String, Frames>,
}

enum TransmitSocket {
    Packet { socket: OwnedFd, template: FrameTemplate },
    Udp { socket: UdpSocket, to: SocketAddrV4, payload_len: usize },
    Ping { socket: OwnedFd, to: SockaddrIn, payload_len: usize },
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

impl Sender {
    /// Opens the flow's socket. Must run in the sender's namespace.
    ///
    /// # Errors
    /// When a socket call fails; the device must exist.
    pub fn open(plan: &FlowPlan, ifindex: u32, source: Mac, next_hop: Mac) -> Result<Self, SendError> {
        let flow = &plan.flow;
        let failed = |call| move |source| SendError::Socket { call, flow: flow.name.clone(), source };
        let transmit = match flow.socket {
            Socket::Packet | Socket::PacketBypass => {
                let socket =
                    sockopt::packet_socket(SENDS_ONLY, ifindex).map_err(failed("AF_PACKET socket"))?;
                sockopt::send_buffer(&socket, SEND_BUFFER_BYTES).map_err(failed("SO_SNDBUFFORCE"))?;
                if flow.socket == Socket::PacketBypass {
                    sockopt::qdisc_bypass(&socket).map_err(failed("PACKET_QDISC_BYPASS"))?;
                }
                let template = FrameTemplate {
                    source_mac: source,
                    destination_mac: next_hop,
                    source: plan.source,
                    destination: plan.destination,
                    tag: flow.tag,
                    len: flow.len,
                };
                TransmitSocket::Packet { socket, template }
            }
            Socket::Udp | Socket::UdpRecverr => {
                let address = if flow.unbound { Ipv4Addr::UNSPECIFIED } else { plan.source };
                let local = SocketAddr::V4(SocketAddrV4::new(address, 0));
                let socket = UdpSocket::bind(local).map_err(failed("bind"))?;
                if !flow.unbound {
                    sockopt::bind_to_device(&socket, flow.from.name.as_str())
                        .map_err(failed("SO_BINDTODEVICE"))?;
                }
                sockopt::send_buffer(&socket, SEND_BUFFER_BYTES).map_err(failed("SO_SNDBUFFORCE"))?;
                if flow.socket == Socket::UdpRecverr {
                    sockopt::receive_errors(&socket).map_err(failed("IP_RECVERR"))?;
                }
                socket.set_nonblocking(true).map_err(failed("O_NONBLOCK"))?;
                // Not connected: without a route it is each send that is refused, not the socket.
                let to = SocketAddrV4::new(plan.destination, PROBE_PORT);
                TransmitSocket::Udp { socket, to, payload_len: flow.len - HEADERS_LEN }
            }
            Socket::Tcp => {
                let source = io::Error::from(io::ErrorKind::Unsupported);
                return Err(failed("TCP is written to a connection")(source));
            }
            Socket::Ping => {
                let socket = sockopt::ping_socket().map_err(failed("ping socket"))?;
                let local = SockaddrIn::from(SocketAddrV4::new(plan.source, 0));
                let from = |errno: Errno| io::Error::from(errno);
                socket::bind(socket.as_raw_fd(), &local).map_err(from).map_err(failed("bind"))?;
                sockopt::bind_to_device(&socket, flow.from.name.as_str())
                    .map_err(failed("SO_BINDTODEVICE"))?;
                sockopt::send_buffer(&socket, SEND_BUFFER_BYTES).map_err(failed("SO_SNDBUFFORCE"))?;
                let to = SockaddrIn::from(SocketAddrV4::new(plan.destination, 0));
                // An echo request's header is as long as UDP's.
                TransmitSocket::Ping { socket, to, payload_len: flow.len - HEADERS_LEN }
            }
        };
        Ok(Self { transmit, accepted: Frames::default(), refused: BTreeMap::new() })
    }

    /// Sends one frame and notes the kernel's answer.
    ///
    /// # Errors
    /// When the frame cannot be built. A refused send is an answer, not an error.
    pub fn send(&mut self, flow: &str, probe: Probe) -> Result<(), SendError> {
        let answer = match &self.transmit {
            TransmitSocket::Packet { socket, template } => {
                let frame =
                    template.frame(probe).map_err(|source| SendError::Frame { flow: flow.into(), source })?;
                sockopt::send(socket, &frame)
            }
            TransmitSocket::Udp { socket, to, payload_len } => {
                socket.send_to(&probe.emit(*payload_len), *to).map(|_| ())
            }
            TransmitSocket::Ping { socket, to, payload_len } => {
                let message = probe.emit_echo(*payload_len);
                let sent = socket::sendto(socket.as_raw_fd(), &message, to, MsgFlags::MSG_DONTWAIT);
                sent.map(|_| ()).map_err(io::Error::from)
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

/// `ENOBUFS` for 105: names are the same on every machine, numbers are not.
pub fn errno_name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => format!("{:?}", Errno::from_raw(code)),
        None => error.to_string(),
    }
}
