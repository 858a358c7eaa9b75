//! The probe frame: what the lab writes into every frame it sends, and how it is found again.
//!
//! A probe is the payload of a UDP datagram or of an ICMP echo request, so that it passes routers and sockets alike:
//! `magic (8) | trial (2) | flow (2) | sequence (4) | padding`, big endian.
//!
//! `#[inline]`: bondlab-guest asks these for each frame, and is optimised in builds in which this package is not.

use std::net::Ipv4Addr;

use pnet::packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::{Ipv4Packet, MutableIpv4Packet};
use pnet::packet::udp::MutableUdpPacket;
use pnet::util::MacAddr;
use thiserror::Error;

use crate::net::address::Mac;
use crate::net::name::VlanId;

/// Marks a frame as the lab's own. Not ASCII, so that no text protocol carries it by chance.
pub const MAGIC: [u8; 8] = [0xb0, 0x4d, 0x1a, 0xb0, 0x9f, 0xe2, 0x71, 0x0d];
/// Length of a probe without padding, in bytes.
pub const PROBE_LEN: usize = 16;
/// Ethernet, IPv4 and UDP headers before the probe, in bytes, without a tag.
pub const HEADERS_LEN: usize = 14 + 20 + 8;
/// The shortest frame that holds a probe, in bytes, without a tag and without FCS.
pub const FRAME_LEN_MIN: usize = HEADERS_LEN + PROBE_LEN;
/// ICMP_ECHO, include/uapi/linux/icmp.h.
const ECHO_REQUEST: u8 = 8;
/// IP_MF, in the three bits of flags.
const MORE_FRAGMENTS: u8 = 0b001;
/// Length of an ICMP echo request's header, in bytes.
const ECHO_HEADER_LEN: usize = 8;
/// Ethernet, IPv4 and TCP headers before a record of a stream, in bytes: TCP's with timestamps, as Linux sends it.
pub const TCP_HEADERS_LEN: usize = 14 + 20 + 32;
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
    /// (`ping_v4_push_pending_frames()`). `len` is that of the payload behind the header.
    ///
    /// # Panics
    /// As [`Probe::emit`].
    #[inline]
    pub fn emit_echo(&self, len: usize) -> Vec<u8> {
        let mut message = vec![0; ECHO_HEADER_LEN];
        message[0] = ECHO_REQUEST;
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
        let mut at = 12;
        while let [0x81, 0x00] | [0x88, 0xa8] = frame.get(at..at + 2)? {
            at += 4;
        }
        (frame.get(at..at + 2)? == [0x08, 0x00]).then_some(())?;
        Self::parse_ipv4(frame.get(at + 2..)?)
    }

    /// Whether a frame that carries a probe is the first fragment of a longer datagram, whose others may yet be lost.
    #[inline]
    pub fn is_fragment(frame: &[u8]) -> bool {
        ipv4_of(frame).is_some_and(|ip| ip.get_flags() & MORE_FRAGMENTS != 0)
    }

    /// The IPv4 source of a frame that carries a probe, as [`Probe::parse_frame`] finds it.
    #[inline]
    pub fn source_of(frame: &[u8]) -> Option<Ipv4Addr> {
        Some(ipv4_of(frame)?.get_source())
    }

    /// Reads a probe from an IPv4 packet: what `skb->data` points to after `eth_type_trans()`.
    #[inline]
    pub fn parse_ipv4(packet: &[u8]) -> Option<Self> {
        let ip = Ipv4Packet::new(packet)?;
        let header = usize::from(ip.get_header_length()) * 4;
        let carries_probes = match ip.get_next_level_protocol() {
            IpNextHeaderProtocols::Udp => true,
            // An answer would carry the same number, and is the kernel's own.
            IpNextHeaderProtocols::Icmp => *packet.get(header)? == ECHO_REQUEST,
            _ => false,
        };
        (ip.get_version() == 4 && carries_probes).then_some(())?;
        // Both headers have eight bytes.
        Self::parse(packet.get(header + 8..)?)
    }
}

/// The packet in a frame that carries a probe.
#[inline]
fn ipv4_of(frame: &[u8]) -> Option<Ipv4Packet<'_>> {
    let mut at = 12;
    while let [0x81, 0x00] | [0x88, 0xa8] = frame.get(at..at + 2)? {
        at += 4;
    }
    Ipv4Packet::new(frame.get(at + 2..)?)
}

/// Why a frame cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The probe would not fit.
    #[error("a frame of {0} bytes cannot hold a probe: {min} at least", min = FRAME_LEN_MIN)]
    TooShort(usize),
}

/// Everything about a frame but its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameTemplate {
    /// Sender's Ethernet address.
    pub source_mac: Mac,
    /// Next hop's Ethernet address.
    pub destination_mac: Mac,
    /// Sender's address.
    pub source: Ipv4Addr,
    /// Receiver's address.
    pub destination: Ipv4Addr,
    /// A tag written into the frame itself, as a sender without VLAN device would.
    pub tag: Option<VlanId>,
    /// Bytes on the sending device, tag included, FCS not.
    pub len: usize,
}

impl FrameTemplate {
    /// One numbered frame.
    ///
    /// # Errors
    /// When `len` is too short for the headers and the probe.
    #[inline]
    pub fn frame(&self, probe: Probe) -> Result<Vec<u8>, FrameError> {
        let tag_len = if self.tag.is_some() { 4 } else { 0 };
        if self.len < FRAME_LEN_MIN + tag_len {
            return Err(FrameError::TooShort(self.len));
        }
        let ip_len = self.len - 14 - tag_len;
        let mut frame = vec![0; self.len];
        let mut ethernet = MutableEthernetPacket::new(&mut frame).ok_or(FrameError::TooShort(self.len))?;
        ethernet.set_source(pnet_mac(self.source_mac));
        ethernet.set_destination(pnet_mac(self.destination_mac));
        ethernet.set_ethertype(EtherTypes::Ipv4);
        if let Some(tag) = self.tag {
            frame[12..14].copy_from_slice(&[0x81, 0x00]);
            frame[14..16].copy_from_slice(&tag.get().to_be_bytes());
            frame[16..18].copy_from_slice(&[0x08, 0x00]);
        }
        let payload = probe.emit(ip_len - 28);
        self.write_ipv4(&mut frame[14 + tag_len..], &payload)?;
        Ok(frame)
    }

    #[inline]
    fn write_ipv4(&self, buffer: &mut [u8], payload: &[u8]) -> Result<(), FrameError> {
        let too_short = || FrameError::TooShort(self.len);
        let ip_len = buffer.len();
        let mut ip = MutableIpv4Packet::new(buffer).ok_or_else(too_short)?;
        ip.set_version(4);
        ip.set_header_length(5);
        ip.set_total_length(u16::try_from(ip_len).map_err(|_| too_short())?);
        ip.set_ttl(64);
        ip.set_next_level_protocol(IpNextHeaderProtocols::Udp);
        ip.set_source(self.source);
        ip.set_destination(self.destination);
        let checksum = pnet::packet::ipv4::checksum(&ip.to_immutable());
        ip.set_checksum(checksum);
        let mut udp = MutableUdpPacket::new(&mut buffer[20..]).ok_or_else(too_short)?;
        udp.set_source(PROBE_PORT);
        udp.set_destination(PROBE_PORT);
        udp.set_length(u16::try_from(ip_len - 20).map_err(|_| too_short())?);
        udp.set_payload(payload);
        let checksum = pnet::packet::udp::ipv4_checksum(&udp.to_immutable(), &self.source, &self.destination);
        udp.set_checksum(checksum);
        Ok(())
    }
}

#[inline]
fn pnet_mac(mac: Mac) -> MacAddr {
    mac.0.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(tag: Option<i64>, len: usize) -> FrameTemplate {
        FrameTemplate {
            source_mac: "02:00:5e:00:53:01".parse().unwrap(),
            destination_mac: "02:00:5e:00:53:02".parse().unwrap(),
            source: Ipv4Addr::new(192, 0, 2, 1),
            destination: Ipv4Addr::new(192, 0, 2, 2),
            tag: tag.map(|id| VlanId::try_from(id).unwrap()),
            len,
        }
    }

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
    fn a_frame_is_these_bytes() {
        let mut frame = template(None, 60).frame(PROBE).unwrap();
        assert_eq!(udp_sum(&frame), 0xffff, "the UDP checksum must verify");
        frame[40..42].fill(0);
        assert_eq!(frame, LITERAL);
    }

    /// One's complement sum over the pseudo header and the datagram, as RFC 768 defines it.
    fn udp_sum(frame: &[u8]) -> u32 {
        let datagram = &frame[34..];
        let mut words: Vec<u8> = frame[26..34].to_vec();
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
    fn literal_bytes_are_this_probe() {
        assert_eq!(Probe::parse_frame(&LITERAL), Some(PROBE));
        assert_eq!(Probe::parse_ipv4(&LITERAL[14..]), Some(PROBE));
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
    fn a_tag_in_band_is_read_through() {
        let frame = template(Some(70), 64).frame(PROBE).unwrap();
        assert_eq!(frame[12..18], [0x81, 0x00, 0x00, 0x46, 0x08, 0x00]);
        assert_eq!(Probe::parse_frame(&frame), Some(PROBE));
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
        packet.extend(PROBE.emit_echo(18));
        assert_eq!(Probe::parse_ipv4(&packet), Some(PROBE));
        packet[20] = 0;
        assert_eq!(Probe::parse_ipv4(&packet), None);
    }

    #[test]
    fn too_short_is_an_error() {
        assert_eq!(template(None, 57).frame(PROBE), Err(FrameError::TooShort(57)));
        assert_eq!(template(Some(70), 61).frame(PROBE), Err(FrameError::TooShort(61)));
    }
}
