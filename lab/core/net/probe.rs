//! The probe frame: what the lab writes into every frame it sends, and how it is found again.
//!
//! A probe is the payload of a UDP datagram or of an ICMP echo request, so that it passes routers and sockets alike:
//! `magic (8) | trial (2) | flow (2) | sequence (4) | padding`, big endian.
//!
//! `#[inline]`: bondlab-guest asks these for each frame, and is optimised in builds in which this package is not.

use std::net::{IpAddr, Ipv6Addr};

use pnet::packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols};
use pnet::packet::ipv4::Ipv4Packet;
use pnet::packet::ipv6::Ipv6Packet;

use crate::net::family::Family;

/// Marks a frame as the lab's own. Not ASCII, so that no text protocol carries it by chance.
pub const MAGIC: [u8; 8] = [0xb0, 0x4d, 0x1a, 0xb0, 0x9f, 0xe2, 0x71, 0x0d];
/// Length of a probe without padding, in bytes.
pub const PROBE_LEN: usize = 16;
/// ICMP_ECHO, include/uapi/linux/icmp.h.
const ECHO_REQUEST: u8 = 8;
/// ICMPV6_ECHO_REQUEST, include/uapi/linux/icmpv6.h.
const ECHO_REQUEST_V6: u8 = 128;
/// EtherTypes of the packets that carry probes.
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Length of an IPv6 header without extension headers, in bytes.
const IPV6_HEADER_LEN: usize = 40;
/// Length of IPv6's fragment header, in bytes (RFC 8200, 4.5).
const FRAGMENT_HEADER_LEN: usize = 8;
/// IP6_MF and IP6_OFFSET, include/net/ipv6.h.
const MORE_FRAGMENTS_V6: u16 = 0x0001;
const OFFSET_V6: u16 = 0xfff8;
/// IP_MF, in the three bits of flags.
const MORE_FRAGMENTS: u8 = 0b001;
/// Length of the header of UDP, and of an ICMP echo request, in bytes.
const MESSAGE_HEADER_LEN: usize = 8;
/// UDP's discard port: a probe is not answered.
pub const PROBE_PORT: u16 = 9;

/// Which frame it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probe {
    /// Number of the trial in its plan.
    pub trial: u16,
    /// Number of the flow in its plan.
    pub flow: u16,
    /// Number of the frame in its flow, from 0.
    pub sequence: u32,
}

impl Probe {
    /// The probe as a payload of exactly `len` bytes.
    ///
    /// # Panics
    /// When `len` is under [`PROBE_LEN`]: lengths are checked where a flow is read.
    #[inline]
    pub fn emit(&self, len: usize) -> Vec<u8> {
        assert!(len >= PROBE_LEN, "a probe needs {PROBE_LEN} bytes");
        let mut payload = Vec::with_capacity(len);
        payload.extend(MAGIC);
        payload.extend(self.trial.to_be_bytes());
        payload.extend(self.flow.to_be_bytes());
        payload.extend(self.sequence.to_be_bytes());
        payload.resize(len, 0);
        payload
    }

    /// The probe as an ICMP echo request for a ping socket, which fills in identifier and checksum
    /// (`ping_v4_push_pending_frames()`, `ping_v6_sendmsg()`). `len` is that of the payload behind the header.
    ///
    /// # Panics
    /// As [`Probe::emit`].
    #[inline]
    pub fn emit_echo(&self, family: Family, len: usize) -> Vec<u8> {
        let mut message = vec![0; MESSAGE_HEADER_LEN];
        message[0] = echo_request(family);
        message.extend(self.emit(len));
        message
    }

    /// Reads a probe from the start of a payload; `None` when it is somebody else's.
    #[inline]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let rest = payload.strip_prefix(&MAGIC)?;
        Some(Self {
            trial: u16::from_be_bytes(rest.get(0..2)?.try_into().ok()?),
            flow: u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?),
            sequence: u32::from_be_bytes(rest.get(4..8)?.try_into().ok()?),
        })
    }

    /// Reads a probe from a whole Ethernet frame, with any number of 802.1Q tags in band.
    ///
    /// A frame cut short after the probe (a drop monitor copies only its head) still counts.
    #[inline]
    pub fn parse_frame(frame: &[u8]) -> Option<Self> {
        let (ethertype, packet) = packet_of(frame)?;
        Self::parse_packet(ethertype, packet)
    }

    /// Reads a probe from a packet of this EtherType.
    #[inline]
    pub fn parse_packet(ethertype: u16, packet: &[u8]) -> Option<Self> {
        match ethertype {
            ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => Self::parse_ip(packet),
            _ => None,
        }
    }

    /// Whether a frame that carries a probe is the first fragment of a longer datagram, whose others may yet be lost.
    #[inline]
    pub fn is_fragment(frame: &[u8]) -> bool {
        match packet_of(frame) {
            Some((ETHERTYPE_IPV4, packet)) => {
                Ipv4Packet::new(packet).is_some_and(|ip| ip.get_flags() & MORE_FRAGMENTS != 0)
            }
            Some((ETHERTYPE_IPV6, packet)) => fragment_header(packet).is_some(),
            _ => false,
        }
    }

    /// The source address of a frame that carries a probe, as [`Probe::parse_frame`] finds it.
    #[inline]
    pub fn source_of(frame: &[u8]) -> Option<IpAddr> {
        match packet_of(frame)? {
            (ETHERTYPE_IPV4, packet) => Some(IpAddr::V4(Ipv4Packet::new(packet)?.get_source())),
            (ETHERTYPE_IPV6, packet) => {
                let bytes: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
                Some(IpAddr::V6(Ipv6Addr::from(bytes)))
            }
            _ => None,
        }
    }

    /// Reads a probe from an IP packet: what `skb->data` points to after `eth_type_trans()`.
    #[inline]
    pub fn parse_ip(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::parse_ipv4(packet),
            6 => Self::parse_ipv6(packet),
            _ => None,
        }
    }

    #[inline]
    fn parse_ipv4(packet: &[u8]) -> Option<Self> {
        let ip = Ipv4Packet::new(packet)?;
        let header = usize::from(ip.get_header_length()) * 4;
        Self::parse_message(Family::Ipv4, ip.get_next_level_protocol(), packet.get(header..)?)
    }

    #[inline]
    fn parse_ipv6(packet: &[u8]) -> Option<Self> {
        let (next, at) = match fragment_header(packet) {
            Some(next) => (next, IPV6_HEADER_LEN + FRAGMENT_HEADER_LEN),
            None => (Ipv6Packet::new(packet)?.get_next_header(), IPV6_HEADER_LEN),
        };
        Self::parse_message(Family::Ipv6, next, packet.get(at..)?)
    }

    #[inline]
    fn parse_message(family: Family, protocol: IpNextHeaderProtocol, message: &[u8]) -> Option<Self> {
        match (family, protocol) {
            (_, IpNextHeaderProtocols::Udp) => Self::parse_datagram(message),
            (Family::Ipv4, IpNextHeaderProtocols::Icmp) | (Family::Ipv6, IpNextHeaderProtocols::Icmpv6) => {
                Self::parse_echo_request(family, message)
            }
            _ => None,
        }
    }

    /// Reads a probe from a UDP datagram, its header included: what a raw socket of IPv6 has.
    #[inline]
    pub fn parse_datagram(datagram: &[u8]) -> Option<Self> {
        Self::parse(datagram.get(MESSAGE_HEADER_LEN..)?)
    }

    /// Reads a probe from an ICMP echo request, its header included. An answer would carry the same number, and is the kernel's own.
    #[inline]
    pub fn parse_echo_request(family: Family, message: &[u8]) -> Option<Self> {
        (*message.first()? == echo_request(family)).then_some(())?;
        Self::parse_datagram(message)
    }
}

/// The type of an echo request.
#[inline]
fn echo_request(family: Family) -> u8 {
    match family {
        Family::Ipv4 => ECHO_REQUEST,
        Family::Ipv6 => ECHO_REQUEST_V6,
    }
}

/// What follows the fragment header of an IPv6 packet's first fragment.
#[inline]
fn fragment_header(packet: &[u8]) -> Option<IpNextHeaderProtocol> {
    (Ipv6Packet::new(packet)?.get_next_header() == IpNextHeaderProtocols::Ipv6Frag).then_some(())?;
    let header = packet.get(IPV6_HEADER_LEN..IPV6_HEADER_LEN + FRAGMENT_HEADER_LEN)?;
    let place = u16::from_be_bytes([header[2], header[3]]);
    let is_first = place & OFFSET_V6 == 0 && place & MORE_FRAGMENTS_V6 != 0;
    is_first.then(|| IpNextHeaderProtocol::new(header[0]))
}

/// EtherType and packet of a frame, behind all its tags.
#[inline]
fn packet_of(frame: &[u8]) -> Option<(u16, &[u8])> {
    let mut at = 12;
    while let [0x81, 0x00] | [0x88, 0xa8] = frame.get(at..at + 2)? {
        at += 4;
    }
    let ethertype = frame.get(at..at + 2)?;
    Some((u16::from_be_bytes([ethertype[0], ethertype[1]]), frame.get(at + 2..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: Probe = Probe { trial: 1, flow: 2, sequence: 0x0003_0d40 };

    /// 60 bytes with the UDP checksum left out; 0xf6bb is the sum of the header words, worked out by hand.
    const LITERAL: [u8; 60] = [
        0x02, 0x00, 0x5e, 0x00, 0x53, 0x02, 0x02, 0x00, 0x5e, 0x00, 0x53, 0x01, 0x08, 0x00, //
        0x45, 0x00, 0x00, 0x2e, 0x00, 0x00, 0x00, 0x00, 0x40, 0x11, 0xf6, 0xbb, 0xc0, 0x00, 0x02,
        0x01, //
        0xc0, 0x00, 0x02, 0x02, //
        0x00, 0x09, 0x00, 0x09, 0x00, 0x1a, 0x00, 0x00, //
        0xb0, 0x4d, 0x1a, 0xb0, 0x9f, 0xe2, 0x71, 0x0d, 0x00, 0x01, 0x00, 0x02, 0x00, 0x03, 0x0d,
        0x40, //
        0x00, 0x00,
    ];

    #[test]
    fn literal_bytes_are_this_probe() {
        assert_eq!(Probe::parse_frame(&LITERAL), Some(PROBE));
        assert_eq!(Probe::parse_ip(&LITERAL[14..]), Some(PROBE));
        assert_eq!(Probe::parse_frame(&LITERAL[..58]), Some(PROBE), "the padding may be cut off");
        assert_eq!(Probe::parse_frame(&LITERAL[..57]), None, "the number may not");
    }

    #[test]
    fn a_first_fragment_is_known() {
        let mut frame = LITERAL;
        assert!(!Probe::is_fragment(&frame));
        frame[20] = 0x40;
        assert!(!Probe::is_fragment(&frame), "DF is no fragment");
        frame[20] = 0x20;
        assert!(Probe::is_fragment(&frame));
        assert_eq!(Probe::parse_frame(&frame), Some(PROBE), "and has the number");
    }

    #[test]
    fn foreign_frames_are_not_probes() {
        for at in [12, 23, 42, 49] {
            let mut frame = LITERAL;
            frame[at] ^= 0xff;
            assert_eq!(Probe::parse_frame(&frame), None, "byte {at} changed");
        }
        assert_eq!(Probe::parse_frame(&[]), None);
    }

    #[test]
    fn an_echo_request_is_a_probe_and_its_answer_is_not() {
        let mut packet = LITERAL[14..34].to_vec();
        packet[9] = 1;
        packet.extend(PROBE.emit_echo(Family::Ipv4, 18));
        assert_eq!(Probe::parse_ip(&packet), Some(PROBE));
        packet[20] = 0;
        assert_eq!(Probe::parse_ip(&packet), None);
    }

    /// An IPv6 packet with the next header and what follows it.
    fn ipv6(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
        packet.resize(IPV6_HEADER_LEN, 0);
        packet.extend(rest);
        packet
    }

    #[test]
    fn ipv6_carries_probes_as_ipv4_does() {
        let udp = [&[0; 8][..], &PROBE.emit(18)].concat();
        assert_eq!(Probe::parse_ip(&ipv6(17, &udp)), Some(PROBE));
        assert_eq!(Probe::parse_ip(&ipv6(6, &udp)), None);
        let mut echo = PROBE.emit_echo(Family::Ipv6, 18);
        assert_eq!(Probe::parse_ip(&ipv6(58, &echo)), Some(PROBE));
        echo[0] = 129;
        assert_eq!(Probe::parse_ip(&ipv6(58, &echo)), None, "the answer is the kernel's own");
        assert_eq!(Probe::parse_ip(&[]), None);
    }

    #[test]
    fn a_first_fragment_of_ipv6_is_known() {
        let udp = [&[0; 8][..], &PROBE.emit(18)].concat();
        let fragment = |place: [u8; 2]| {
            let header = [17, 0, place[0], place[1], 0, 0, 0, 1];
            let packet = ipv6(44, &[&header[..], &udp].concat());
            [&[0; 12][..], &[0x86, 0xdd], &packet].concat()
        };
        let first = fragment([0, 1]);
        assert_eq!((Probe::parse_frame(&first), Probe::is_fragment(&first)), (Some(PROBE), true));
        let later = fragment([0, 9]);
        assert_eq!((Probe::parse_frame(&later), Probe::is_fragment(&later)), (None, false));
    }
}
