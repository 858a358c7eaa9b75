//! Frames that the lab builds itself: Ethernet, IPv4 or IPv6, UDP, and the probe.
//!
//! `#[inline]`: bondlab-guest asks these for each frame, and is optimised in builds in which this package is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet::packet::ethernet::{EtherType, EtherTypes, MutableEthernetPacket};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::{Ipv4Flags, MutableIpv4Packet};
use pnet::packet::ipv6::MutableIpv6Packet;
use pnet::packet::udp::MutableUdpPacket;
use pnet::util::MacAddr;
use thiserror::Error;

use crate::net::address::Mac;
use crate::net::family::{ETHERNET_LEN, Family};
use crate::net::name::VlanId;
use crate::net::probe::{PROBE_PORT, Probe};

/// The first of the source ports that a flow spreads its frames over: IANA's dynamic ports begin there.
pub const FIRST_SOURCE_PORT: u16 = 49_152;
/// Of both versions.
const HOP_LIMIT: u8 = 64;
/// UDP's header, in bytes.
const UDP_LEN: usize = 8;

/// Why a frame cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The probe would not fit.
    #[error("a frame of {len} bytes cannot hold a probe: {min} at least")]
    TooShort {
        /// Its length.
        len: usize,
        /// What its headers and the probe need.
        min: usize,
    },
    /// Both ends must have addresses of one family.
    #[error("a packet from {0} to {1}: two families")]
    Families(IpAddr, IpAddr),
}

/// Everything about an IP packet but its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketTemplate {
    /// Sender's address.
    pub source: IpAddr,
    /// Receiver's address.
    pub destination: IpAddr,
    /// Whether it has IP_DF; IPv6 has no such bit, and is never fragmented on its way.
    pub dont_fragment: bool,
    /// IPv4's type of service, or IPv6's traffic class.
    pub tos: u8,
    /// Over how many source ports the flow's packets are spread, from [`FIRST_SOURCE_PORT`]; [`PROBE_PORT`] alone without.
    pub source_ports: Option<u16>,
    /// Bytes from the IP header on.
    pub len: usize,
}

impl PacketTemplate {
    /// One numbered packet, from its IP header on.
    ///
    /// # Errors
    /// When it is too short for the headers and the probe, or its addresses are of two families.
    #[inline]
    pub fn packet(&self, probe: Probe) -> Result<Vec<u8>, FrameError> {
        let mut packet = vec![0; self.len];
        self.write(probe, &mut packet)?;
        Ok(packet)
    }

    #[inline]
    fn write(&self, probe: Probe, packet: &mut [u8]) -> Result<(), FrameError> {
        let family = Family::of(self.destination);
        let min = family.frame_len_min() - ETHERNET_LEN;
        let too_short = || FrameError::TooShort { len: self.len, min };
        if packet.len() < min {
            return Err(too_short());
        }
        let (header, datagram) = packet.split_at_mut(family.header_len());
        let len = datagram.len();
        let mut udp = MutableUdpPacket::new(datagram).ok_or_else(too_short)?;
        udp.set_source(self.source_port(probe.sequence));
        udp.set_destination(PROBE_PORT);
        udp.set_length(u16::try_from(len).map_err(|_| too_short())?);
        udp.set_payload(&probe.emit(len - UDP_LEN));
        let checksum = match (self.source, self.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                self.write_ipv4(header, len, (from, to)).ok_or_else(too_short)?;
                pnet::packet::udp::ipv4_checksum(&udp.to_immutable(), &from, &to)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                self.write_ipv6(header, len, (from, to)).ok_or_else(too_short)?;
                pnet::packet::udp::ipv6_checksum(&udp.to_immutable(), &from, &to)
            }
            (from, to) => return Err(FrameError::Families(from, to)),
        };
        udp.set_checksum(checksum);
        Ok(())
    }

    /// The source port of a frame: one after the other, so that each has as many frames.
    #[inline]
    fn source_port(&self, sequence: u32) -> u16 {
        match self.source_ports {
            None | Some(0) => PROBE_PORT,
            Some(ports) => {
                let nth = u16::try_from(sequence % u32::from(ports)).unwrap_or_default();
                FIRST_SOURCE_PORT.saturating_add(nth)
            }
        }
    }

    #[inline]
    fn write_ipv4(&self, header: &mut [u8], len: usize, (from, to): (Ipv4Addr, Ipv4Addr)) -> Option<()> {
        let total = u16::try_from(header.len() + len).ok()?;
        let mut ip = MutableIpv4Packet::new(header)?;
        ip.set_version(4);
        ip.set_header_length(5);
        ip.set_dscp(self.tos >> 2);
        ip.set_ecn(self.tos & 0b11);
        ip.set_total_length(total);
        if self.dont_fragment {
            ip.set_flags(Ipv4Flags::DontFragment);
        }
        ip.set_ttl(HOP_LIMIT);
        ip.set_next_level_protocol(IpNextHeaderProtocols::Udp);
        ip.set_source(from);
        ip.set_destination(to);
        let checksum = pnet::packet::ipv4::checksum(&ip.to_immutable());
        ip.set_checksum(checksum);
        Some(())
    }

    #[inline]
    fn write_ipv6(&self, header: &mut [u8], len: usize, (from, to): (Ipv6Addr, Ipv6Addr)) -> Option<()> {
        let mut ip = MutableIpv6Packet::new(header)?;
        ip.set_version(6);
        ip.set_traffic_class(self.tos);
        ip.set_payload_length(u16::try_from(len).ok()?);
        ip.set_next_header(IpNextHeaderProtocols::Udp);
        ip.set_hop_limit(HOP_LIMIT);
        ip.set_source(from);
        ip.set_destination(to);
        Some(())
    }
}

/// Everything about a frame but its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameTemplate {
    /// Sender's Ethernet address.
    pub source_mac: Mac,
    /// Next hop's Ethernet address.
    pub destination_mac: Mac,
    /// A tag written into the frame itself, as a sender without VLAN device would.
    pub tag: Option<VlanId>,
    /// What it carries; its length and the headers' are the frame's, FCS not included.
    pub packet: PacketTemplate,
}

impl FrameTemplate {
    /// One numbered frame.
    ///
    /// # Errors
    /// As [`PacketTemplate::packet`].
    #[inline]
    pub fn frame(&self, probe: Probe) -> Result<Vec<u8>, FrameError> {
        let tag_len = if self.tag.is_some() { 4 } else { 0 };
        let mut frame = vec![0; ETHERNET_LEN + tag_len + self.packet.len];
        let ethertype = self.ethertype();
        if let Some(mut ethernet) = MutableEthernetPacket::new(&mut frame) {
            ethernet.set_source(pnet_mac(self.source_mac));
            ethernet.set_destination(pnet_mac(self.destination_mac));
            ethernet.set_ethertype(ethertype);
        }
        if let Some(tag) = self.tag {
            frame[12..14].copy_from_slice(&[0x81, 0x00]);
            frame[14..16].copy_from_slice(&tag.get().to_be_bytes());
            frame[16..18].copy_from_slice(&ethertype.0.to_be_bytes());
        }
        self.packet.write(probe, &mut frame[ETHERNET_LEN + tag_len..])?;
        Ok(frame)
    }

    #[inline]
    fn ethertype(&self) -> EtherType {
        match Family::of(self.packet.destination) {
            Family::Ipv4 => EtherTypes::Ipv4,
            Family::Ipv6 => EtherTypes::Ipv6,
        }
    }
}

/// The Ethernet address that packets to a broadcast or group address are sent to: `ip_eth_mc_map()`, `ipv6_eth_mc_map()`. None
/// for one host's.
#[inline]
pub fn group_mac(address: IpAddr) -> Option<Mac> {
    match address {
        IpAddr::V4(to) if to.is_multicast() => {
            let [_, b, c, d] = to.octets();
            Some(Mac([0x01, 0x00, 0x5e, b & 0x7f, c, d]))
        }
        IpAddr::V4(to) if to.is_broadcast() => Some(Mac([0xff; 6])),
        IpAddr::V6(to) if to.is_multicast() => {
            let [.., a, b, c, d] = to.octets();
            Some(Mac([0x33, 0x33, a, b, c, d]))
        }
        _ => None,
    }
}

#[inline]
fn pnet_mac(mac: Mac) -> MacAddr {
    mac.0.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: Probe = Probe { trial: 1, flow: 2, sequence: 0x0003_0d40 };

    fn template(tag: Option<i64>, ends: [&str; 2], len: usize) -> FrameTemplate {
        FrameTemplate {
            source_mac: "02:00:5e:00:53:01".parse().unwrap(),
            destination_mac: "02:00:5e:00:53:02".parse().unwrap(),
            tag: tag.map(|id| VlanId::try_from(id).unwrap()),
            packet: PacketTemplate {
                source: ends[0].parse().unwrap(),
                destination: ends[1].parse().unwrap(),
                dont_fragment: false,
                tos: 0,
                source_ports: None,
                len: len - ETHERNET_LEN - if tag.is_some() { 4 } else { 0 },
            },
        }
    }

    const V4: [&str; 2] = ["192.0.2.1", "192.0.2.2"];
    const V6: [&str; 2] = ["2001:db8::1", "2001:db8::2"];

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
    fn a_frame_is_these_bytes() {
        let mut frame = template(None, V4, 60).frame(PROBE).unwrap();
        assert_eq!(udp_sum(&frame[26..34], &frame[34..]), 0xffff, "the UDP checksum must verify");
        frame[40..42].fill(0);
        assert_eq!(frame, LITERAL);
    }

    /// One's complement sum over the pseudo header and the datagram, as RFC 768 and RFC 8200 (8.1) define it.
    fn udp_sum(ends: &[u8], datagram: &[u8]) -> u32 {
        let mut words: Vec<u8> = ends.to_vec();
        words.extend([0, 17]);
        words.extend(u16::try_from(datagram.len()).unwrap().to_be_bytes());
        words.extend(datagram);
        let mut sum: u32 =
            words.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0))).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum
    }

    #[test]
    fn an_ipv6_frame_has_its_headers_and_a_checksum() {
        let frame = template(None, V6, 98).frame(PROBE).unwrap();
        assert_eq!(frame[12..14], [0x86, 0xdd]);
        // Version 6, 44 bytes behind the header, UDP, hop limit 64.
        assert_eq!(frame[14..22], [0x60, 0, 0, 0, 0, 44, 17, 64]);
        assert_eq!(udp_sum(&frame[22..54], &frame[54..]), 0xffff, "the UDP checksum must verify");
        assert_eq!(Probe::parse_frame(&frame), Some(PROBE));
        assert_eq!(Probe::source_of(&frame), Some("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn a_tag_in_band_is_read_through() {
        let frame = template(Some(70), V4, 64).frame(PROBE).unwrap();
        assert_eq!(frame[12..18], [0x81, 0x00, 0x00, 0x46, 0x08, 0x00]);
        assert_eq!(Probe::parse_frame(&frame), Some(PROBE));
        let frame = template(Some(70), V6, 98).frame(PROBE).unwrap();
        assert_eq!(frame[12..18], [0x81, 0x00, 0x00, 0x46, 0x86, 0xdd]);
        assert_eq!(Probe::parse_frame(&frame), Some(PROBE));
    }

    #[test]
    fn the_fragment_bit_and_the_type_of_service_are_in_the_header() {
        let mut marked = template(None, V4, 60);
        (marked.packet.dont_fragment, marked.packet.tos) = (true, 0xb8);
        let frame = marked.frame(PROBE).unwrap();
        assert_eq!((frame[15], frame[20]), (0xb8, 0x40));
        let mut marked = template(None, V6, 98);
        marked.packet.tos = 0xb8;
        assert_eq!(marked.frame(PROBE).unwrap()[14..16], [0x6b, 0x80]);
    }

    #[test]
    fn frames_are_spread_evenly_over_source_ports() {
        let mut spread = template(None, V4, 60);
        spread.packet.source_ports = Some(3);
        let ports: Vec<u16> = (0..6)
            .map(|sequence| spread.frame(Probe { sequence, ..PROBE }).unwrap())
            .map(|frame| u16::from_be_bytes([frame[34], frame[35]]))
            .collect();
        assert_eq!(ports, [49152, 49153, 49154, 49152, 49153, 49154]);
    }

    #[test]
    fn groups_have_ethernet_addresses_of_their_own() {
        for (address, mac) in [
            ("239.129.2.3", Some("01:00:5e:01:02:03")),
            ("255.255.255.255", Some("ff:ff:ff:ff:ff:ff")),
            ("ff02::1:ff00:2", Some("33:33:ff:00:00:02")),
            ("192.0.2.1", None),
            ("2001:db8::1", None),
        ] {
            assert_eq!(group_mac(address.parse().unwrap()), mac.map(|mac| mac.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn too_short_and_two_families_are_errors() {
        let short = |len, min| Err(FrameError::TooShort { len, min });
        assert_eq!(template(None, V4, 57).frame(PROBE), short(43, 44));
        assert_eq!(template(Some(70), V4, 61).frame(PROBE), short(43, 44));
        assert_eq!(template(None, V6, 77).frame(PROBE), short(63, 64));
        let mixed = template(None, [V4[0], V6[1]], 98).frame(PROBE);
        assert_eq!(
            mixed,
            Err(FrameError::Families("192.0.2.1".parse().unwrap(), "2001:db8::2".parse().unwrap()))
        );
    }
}
