//! Frames that a kernel sends of its own: which of them a capture counts.
//!
//! `#[inline]`: bondlab-guest asks these for each frame, and is optimised in builds in which this package is not.

pub(crate) mod dissect;
pub(crate) mod filter;

use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::net::frame_class::dissect::Dissected;
pub use crate::net::frame_class::filter::Filter;
use crate::net::probe::Probe;

/// Frames of one kind, with and without VLAN tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FrameClass {
    /// Slow protocols, subtype LACP (IEEE 802.1AX): what 802.3ad bonds tell one another.
    Lacpdu,
    /// Any ARP.
    Arp,
    /// ARP in which sender and target address are the same (RFC 5227): `bond_send_gratuitous_arp()`.
    GratuitousArp,
    /// Unsolicited IPv6 neighbour advertisement (RFC 4861): `ndisc_send_unsol_na()`.
    UnsolicitedNa,
    /// DHCP over IPv4, either way (RFC 2131).
    Dhcp,
    /// Neighbour discovery of IPv6: solicitations, advertisements, redirects (RFC 4861).
    NeighbourDiscovery,
    /// Who listens to which multicast group: IGMP, and MLD (RFC 3810).
    MulticastMembership,
    /// Segments of TCP.
    Tcp,
    /// ICMP over IPv4 but for echo requests.
    Icmp,
    /// Fragments of IP packets without the first, which has the number when the packet is one of the lab's.
    Fragment,
    /// ICMPv6 but for echo requests, neighbour discovery and MLD: "packet too big", and answers.
    Icmpv6,
    /// The lab's own numbered frames. Of what is sent as fragments the first counts.
    Probe,
}

impl fmt::Display for FrameClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lacpdu => "lacpdu",
            Self::Arp => "arp",
            Self::GratuitousArp => "gratuitous-arp",
            Self::UnsolicitedNa => "unsolicited-na",
            Self::Dhcp => "dhcp",
            Self::NeighbourDiscovery => "neighbour-discovery",
            Self::MulticastMembership => "multicast-membership",
            Self::Tcp => "tcp",
            Self::Icmp => "icmp",
            Self::Fragment => "fragment",
            Self::Icmpv6 => "icmpv6",
            Self::Probe => "probe",
        })
    }
}

const ETHER_HEADER_BYTES: usize = 14;
const ETHERTYPE_SLOW: u16 = 0x8809;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// The first byte after the EtherType of slow protocols.
const SUBTYPE_LACP: u8 = 1;
const PROTOCOL_UDP: u8 = 17;
const DHCP_PORTS: [u16; 2] = [crate::net::dhcp::SERVER_PORT, crate::net::dhcp::CLIENT_PORT];
const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_IGMP: u8 = 2;
const PROTOCOL_TCP: u8 = 6;
const ICMP_ECHO_REQUEST: u8 = 8;
/// Of the field that has three flags above it.
const FRAGMENT_OFFSET: u16 = 0x1fff;
const NEXT_HEADER_HOP_BY_HOP: u8 = 0;
const NEXT_HEADER_ICMPV6: u8 = 58;
const NEXT_HEADER_FRAGMENT: u8 = 44;
/// IP6_OFFSET, include/net/ipv6.h.
const IPV6_FRAGMENT_OFFSET: u16 = 0xfff8;
const ICMPV6_ECHO_REQUEST: u8 = 128;
/// Router solicitation to redirect.
const NEIGHBOUR_DISCOVERY: std::ops::RangeInclusive<u8> = 133..=137;
/// A frame that several classes hold is the first one's.
const NARROWEST_FIRST: [FrameClass; 12] = [
    FrameClass::Lacpdu,
    FrameClass::GratuitousArp,
    FrameClass::Arp,
    FrameClass::UnsolicitedNa,
    FrameClass::NeighbourDiscovery,
    FrameClass::MulticastMembership,
    FrameClass::Fragment,
    FrameClass::Dhcp,
    FrameClass::Tcp,
    FrameClass::Icmp,
    FrameClass::Icmpv6,
    FrameClass::Probe,
];
const ICMPV6_NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// The S flag of a neighbour advertisement: it answers a solicitation.
const SOLICITED: u8 = 0x40;

impl FrameClass {
    /// What a frame is that the kernel dropped, and the VLAN it was in; `head` are its first bytes, from the Ethernet header
    /// on or without it, and `beside` the TCI of a tag in the skb's metadata.
    #[inline]
    pub fn of_dropped(
        protocol: u16,
        head: &[u8],
        has_header: bool,
        beside: Option<u16>,
    ) -> (Option<Self>, Option<u16>) {
        let mut frame = Vec::new();
        if !has_header {
            frame.resize(ETHER_HEADER_BYTES - 2, 0);
            frame.extend(protocol.to_be_bytes());
        }
        frame.extend(head);
        let Some(frame) = Dissected::of(&frame, beside) else { return (None, None) };
        // UDP has taken the IP header off, and perhaps its own.
        if protocol == ETHERTYPE_IPV4 && !has_header && (has_dhcp_ports(head) || is_bootp(head)) {
            return (Some(Self::Dhcp), frame.vlan);
        }
        (NARROWEST_FIRST.into_iter().find(|class| class.holds(&frame)), frame.vlan)
    }

    /// Whether frames of this class can have a sender of this address's family.
    #[inline]
    pub fn can_be_from(self, sender: IpAddr) -> bool {
        match self {
            Self::Lacpdu => false,
            Self::UnsolicitedNa | Self::NeighbourDiscovery | Self::Icmpv6 => sender.is_ipv6(),
            Self::MulticastMembership | Self::Tcp | Self::Fragment | Self::Probe => true,
            Self::Arp | Self::GratuitousArp | Self::Dhcp | Self::Icmp => sender.is_ipv4(),
        }
    }

    /// Whether frames of this class have an IP header.
    #[inline]
    pub fn is_of_ip(self) -> bool {
        !matches!(self, Self::Lacpdu | Self::Arp | Self::GratuitousArp)
    }

    /// Whether a frame is one of these, whatever its tags.
    #[inline]
    pub fn holds(self, frame: &Dissected<'_>) -> bool {
        let (ethertype, body) = (frame.ethertype, frame.packet);
        match self {
            Self::Lacpdu => ethertype == ETHERTYPE_SLOW && body.first() == Some(&SUBTYPE_LACP),
            Self::Arp => ethertype == ETHERTYPE_ARP,
            // struct arphdr, then sender's MAC and IPv4, target's MAC and IPv4.
            Self::GratuitousArp => {
                ethertype == ETHERTYPE_ARP && body.len() >= 28 && body[14..18] == body[24..28]
            }
            // struct ipv6hdr, then type, code, checksum, flags.
            Self::UnsolicitedNa => {
                ethertype == ETHERTYPE_IPV6
                    && body.len() > 44
                    && body[6] == NEXT_HEADER_ICMPV6
                    && body[40] == ICMPV6_NEIGHBOUR_ADVERTISEMENT
                    && body[44] & SOLICITED == 0
            }
            // struct iphdr without options, then both ports of struct udphdr.
            Self::Dhcp => {
                ethertype == ETHERTYPE_IPV4
                    && body.first() == Some(&0x45)
                    && body.get(9) == Some(&PROTOCOL_UDP)
                    && body.get(20..).is_some_and(has_dhcp_ports)
            }
            Self::NeighbourDiscovery => {
                icmpv6(ethertype, body).is_some_and(|kind| NEIGHBOUR_DISCOVERY.contains(&kind))
            }
            // MLD alone has an option before ICMPv6: router alert.
            Self::MulticastMembership => {
                ethertype == ETHERTYPE_IPV6 && body.get(6) == Some(&NEXT_HEADER_HOP_BY_HOP)
                    || ipv4(ethertype, body).is_some_and(|(protocol, ..)| protocol == PROTOCOL_IGMP)
            }
            Self::Tcp => {
                ethertype == ETHERTYPE_IPV6 && body.get(6) == Some(&PROTOCOL_TCP)
                    || ipv4(ethertype, body)
                        .is_some_and(|(protocol, offset, _)| (protocol, offset) == (PROTOCOL_TCP, 0))
            }
            Self::Icmp => ipv4(ethertype, body).is_some_and(|(protocol, offset, payload)| {
                (protocol, offset) == (PROTOCOL_ICMP, 0)
                    && payload.first().is_some_and(|kind| *kind != ICMP_ECHO_REQUEST)
            }),
            Self::Fragment => {
                ipv4(ethertype, body).is_some_and(|(_, offset, _)| offset > 0)
                    || ipv6_fragment_offset(ethertype, body).is_some_and(|offset| offset > 0)
            }
            Self::Icmpv6 => icmpv6(ethertype, body)
                .is_some_and(|kind| kind != ICMPV6_ECHO_REQUEST && !NEIGHBOUR_DISCOVERY.contains(&kind)),
            Self::Probe => Probe::parse_packet(ethertype, body).is_some(),
        }
    }
}

/// Protocol, place in the whole packet, and payload of an IPv4 packet.
#[inline]
fn ipv4(ethertype: u16, packet: &[u8]) -> Option<(u8, u16, &[u8])> {
    (ethertype == ETHERTYPE_IPV4).then_some(())?;
    let header_bytes = usize::from(packet.first()? & 0x0f) * 4;
    let place = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & FRAGMENT_OFFSET;
    Some((*packet.get(9)?, place, packet.get(header_bytes..)?))
}

/// Where an IPv6 fragment belongs in the whole packet, in bytes.
#[inline]
fn ipv6_fragment_offset(ethertype: u16, packet: &[u8]) -> Option<u16> {
    (ethertype == ETHERTYPE_IPV6 && packet.get(6) == Some(&NEXT_HEADER_FRAGMENT)).then_some(())?;
    Some(u16::from_be_bytes([*packet.get(42)?, *packet.get(43)?]) & IPV6_FRAGMENT_OFFSET)
}

/// The type of an ICMPv6 message that follows its IPv6 header.
#[inline]
fn icmpv6(ethertype: u16, packet: &[u8]) -> Option<u8> {
    (ethertype == ETHERTYPE_IPV6 && packet.get(6) == Some(&NEXT_HEADER_ICMPV6)).then_some(())?;
    packet.get(40).copied()
}

/// Whether a UDP header has a server's and a client's port.
#[inline]
fn has_dhcp_ports(header: &[u8]) -> bool {
    let port = |at: usize| Some(u16::from_be_bytes([*header.get(at)?, *header.get(at + 1)?]));
    [port(0), port(2)].iter().all(|port| port.is_some_and(|port| DHCP_PORTS.contains(&port)))
}

/// Whether a payload starts as BOOTP between Ethernet stations does: request or reply, htype 1, hlen 6, no hops.
#[inline]
fn is_bootp(payload: &[u8]) -> bool {
    matches!(payload, [1 | 2, 1, 6, 0, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(ethertype: u16, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend(ethertype.to_be_bytes());
        frame.extend(body);
        frame
    }

    fn arp(sender: u8, target: u8) -> Vec<u8> {
        let mut body = vec![0, 1, 8, 0, 6, 4, 0, 1];
        body.extend([2; 6]);
        body.extend([192, 0, 2, sender]);
        body.extend([0; 6]);
        body.extend([192, 0, 2, target]);
        frame(0x0806, &body)
    }

    fn advertisement(flags: u8) -> Vec<u8> {
        let mut body = vec![0x60, 0, 0, 0, 0, 24, 58, 255];
        body.resize(40, 0);
        body.extend([136, 0, 0, 0, flags, 0, 0, 0]);
        frame(0x86dd, &body)
    }

    fn datagram(from: u8, to: u8) -> Vec<u8> {
        let mut body = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17];
        body.resize(20, 0);
        body.extend([0, from, 0, to, 0, 8, 0, 0]);
        frame(0x0800, &body)
    }

    /// An IPv4 packet of a protocol, with its flags and fragment offset.
    fn packet(protocol: u8, place: [u8; 2], payload: &[u8]) -> Vec<u8> {
        let mut body = vec![0x45, 0, 0, 28, 0, 0, place[0], place[1], 64, protocol];
        body.resize(20, 0);
        body.extend(payload);
        frame(0x0800, &body)
    }

    fn packet_v6(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut body = vec![0x60, 0, 0, 0, 0, 24, next, 64];
        body.resize(40, 0);
        body.extend(payload);
        frame(0x86dd, &body)
    }

    fn holds(class: FrameClass, bytes: &[u8]) -> bool {
        Dissected::of(bytes, None).is_some_and(|frame| class.holds(&frame))
    }

    #[test]
    fn each_class_knows_its_own() {
        use FrameClass::{
            Arp, Dhcp, Fragment, GratuitousArp, Icmp, Icmpv6, Lacpdu, MulticastMembership,
            NeighbourDiscovery, Tcp, UnsolicitedNa,
        };
        for (bytes, expected) in [
            (frame(0x8809, &[1, 1]), vec![Lacpdu]),
            // The marker protocol of 802.1AX.
            (frame(0x8809, &[2, 1]), vec![]),
            (arp(1, 2), vec![Arp]),
            (arp(1, 1), vec![GratuitousArp, Arp]),
            (arp(1, 1)[..41].to_vec(), vec![Arp]),
            (advertisement(0x20), vec![UnsolicitedNa, NeighbourDiscovery]),
            (advertisement(0x60), vec![NeighbourDiscovery]),
            // MLD: hop-by-hop options come first.
            (frame(0x86dd, &[0x60, 0, 0, 0, 0, 36, 0, 1]), vec![MulticastMembership]),
            (packet(2, [0, 0], &[0x16]), vec![MulticastMembership]),
            (packet(6, [0x40, 0], &[0; 20]), vec![Tcp]),
            (packet(1, [0, 0], &[3, 3]), vec![Icmp]),
            (packet(1, [0, 0], &[8, 0]), vec![]),
            (packet(17, [0x20, 0], &[0; 8]), vec![]),
            (packet(17, [0x20, 60], &[0; 8]), vec![Fragment]),
            (packet(6, [0, 60], &[0; 8]), vec![Fragment]),
            (packet_v6(6, &[0; 20]), vec![Tcp]),
            // "Packet too big", and an echo request.
            (packet_v6(58, &[2, 0]), vec![Icmpv6]),
            (packet_v6(58, &[128, 0]), vec![]),
            (packet_v6(44, &[17, 0, 0, 1, 0, 0, 0, 1]), vec![]),
            (packet_v6(44, &[17, 0, 0, 8, 0, 0, 0, 1]), vec![Fragment]),
            (frame(0x0800, &[0; 60]), vec![]),
            (datagram(68, 67), vec![Dhcp]),
            (datagram(67, 68), vec![Dhcp]),
            (datagram(67, 53), vec![]),
            (vec![0; 5], vec![]),
        ] {
            let found: Vec<FrameClass> =
                NARROWEST_FIRST.into_iter().filter(|class| holds(*class, &bytes)).collect();
            assert_eq!(found, expected, "{bytes:x?}");
        }
        let garp = arp(1, 1);
        for (head, has_header) in [(&garp[..], true), (&garp[ETHER_HEADER_BYTES..], false)] {
            let told = FrameClass::of_dropped(ETHERTYPE_ARP, head, has_header, None);
            assert_eq!(told, (Some(GratuitousArp), None));
        }
        assert_eq!(FrameClass::of_dropped(0x0800, &[0; 60], false, None), (None, None));
        let request = datagram(68, 67);
        for head in [&request[ETHER_HEADER_BYTES..], &request[ETHER_HEADER_BYTES + 20..], &[1, 1, 6, 0, 9]] {
            let told = FrameClass::of_dropped(ETHERTYPE_IPV4, head, false, Some(70));
            assert_eq!(told, (Some(Dhcp), Some(70)), "{head:?}");
        }
    }
}
