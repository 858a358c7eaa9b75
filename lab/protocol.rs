//! Frames that a kernel sends of its own: which of them a capture counts.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Frames of one kind. Untagged: none of them is looked for inside a VLAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FrameClass {
    /// Slow protocols, subtype LACP (IEEE 802.1AX): what 802.3ad bonds tell one another.
    Lacpdu,
    /// Any ARP.
    Arp,
    /// ARP in which sender and target address are the same (RFC 5227): `bond_send_gratuitous_arp()`.
    GratuitousArp,
    /// IPv6 neighbour advertisement that nobody asked for (RFC 4861): `ndisc_send_unsol_na()`.
    UnsolicitedNa,
    /// DHCP over IPv4, either way (RFC 2131).
    Dhcp,
}

impl fmt::Display for FrameClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lacpdu => "lacpdu",
            Self::Arp => "arp",
            Self::GratuitousArp => "gratuitous-arp",
            Self::UnsolicitedNa => "unsolicited-na",
            Self::Dhcp => "dhcp",
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
const DHCP_PORTS: [u16; 2] = [crate::dhcp::SERVER_PORT, crate::dhcp::CLIENT_PORT];
const NEXT_HEADER_ICMPV6: u8 = 58;
const ICMPV6_NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// The S flag of a neighbour advertisement: it answers a solicitation.
const SOLICITED: u8 = 0x40;

impl FrameClass {
    /// What a frame is that the kernel dropped; `head` are its first bytes, from the Ethernet header on or without it.
    pub fn of_dropped(protocol: u16, head: &[u8], has_header: bool) -> Option<Self> {
        // UDP has taken the IP header off, and perhaps its own.
        if protocol == ETHERTYPE_IPV4 && !has_header && (has_dhcp_ports(head) || is_bootp(head)) {
            return Some(Self::Dhcp);
        }
        let mut frame = Vec::new();
        if !has_header {
            frame.resize(ETHER_HEADER_BYTES - 2, 0);
            frame.extend(protocol.to_be_bytes());
        }
        frame.extend(head);
        let narrowest_first = [Self::Lacpdu, Self::GratuitousArp, Self::Arp, Self::UnsolicitedNa, Self::Dhcp];
        narrowest_first.into_iter().find(|class| class.holds(&frame))
    }

    /// Whether a frame, from its Ethernet header on, is one of these.
    pub fn holds(self, frame: &[u8]) -> bool {
        let Some(ethertype) = frame.get(12..14).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]])) else {
            return false;
        };
        let body = &frame[ETHER_HEADER_BYTES..];
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
        }
    }
}

/// Whether a UDP header has a server's and a client's port.
fn has_dhcp_ports(header: &[u8]) -> bool {
    let port = |at: usize| Some(u16::from_be_bytes([*header.get(at)?, *header.get(at + 1)?]));
    [port(0), port(2)].iter().all(|port| port.is_some_and(|port| DHCP_PORTS.contains(&port)))
}

/// Whether a payload starts as BOOTP between Ethernet stations does: request or reply, htype 1, hlen 6, no hops.
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

    #[test]
    fn each_class_knows_its_own() {
        use FrameClass::{Arp, Dhcp, GratuitousArp, Lacpdu, UnsolicitedNa};
        for (bytes, expected) in [
            (frame(0x8809, &[1, 1]), vec![Lacpdu]),
            // The marker protocol of 802.1AX.
            (frame(0x8809, &[2, 1]), vec![]),
            (arp(1, 2), vec![Arp]),
            (arp(1, 1), vec![Arp, GratuitousArp]),
            (arp(1, 1)[..41].to_vec(), vec![Arp]),
            (advertisement(0x20), vec![UnsolicitedNa]),
            (advertisement(0x60), vec![]),
            (frame(0x0800, &[0; 60]), vec![]),
            (datagram(68, 67), vec![Dhcp]),
            (datagram(67, 68), vec![Dhcp]),
            (datagram(67, 53), vec![]),
            (vec![0; 5], vec![]),
        ] {
            let all = [Lacpdu, Arp, GratuitousArp, UnsolicitedNa, Dhcp];
            let found: Vec<FrameClass> = all.into_iter().filter(|class| class.holds(&bytes)).collect();
            assert_eq!(found, expected, "{bytes:x?}");
        }
        let garp = arp(1, 1);
        for (head, has_header) in [(&garp[..], true), (&garp[ETHER_HEADER_BYTES..], false)] {
            assert_eq!(FrameClass::of_dropped(ETHERTYPE_ARP, head, has_header), Some(GratuitousArp));
        }
        assert_eq!(FrameClass::of_dropped(0x0800, &[0; 60], false), None);
        let request = datagram(68, 67);
        for head in [&request[ETHER_HEADER_BYTES..], &request[ETHER_HEADER_BYTES + 20..], &[1, 1, 6, 0, 9]] {
            assert_eq!(FrameClass::of_dropped(ETHERTYPE_IPV4, head, false), Some(Dhcp), "{head:?}");
        }
    }
}
