//! A frame taken apart: in which VLAN it is, who sent it, and the packet behind all tags.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::net::address::Mac;
use crate::net::frame_class::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6};

/// 802.1Q and 802.1ad: `eth_type_vlan()`.
const TPIDS: [u16; 2] = [0x8100, 0x88a8];
/// The VLAN's number in a TCI; priority and DEI are above it.
const VID: u16 = 0x0fff;
/// Destination and source.
const ADDRESSES_BYTES: usize = 12;

/// What the first bytes of a frame say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dissected<'a> {
    /// The VLAN of the outermost tag. A tag with VID 0 has only a priority: the kernel takes it for none
    /// (`__netif_receive_skb_core()`), and looks at the one behind it.
    pub vlan: Option<u16>,
    /// The priority (PCP) of the outermost tag, also of one with VID 0.
    pub pcp: Option<u8>,
    /// Its source address.
    pub source: Mac,
    /// Of the packet.
    pub ethertype: u16,
    /// Behind all tags.
    pub packet: &'a [u8],
}

impl<'a> Dissected<'a> {
    /// Reads a frame from its Ethernet header on. `beside` is the TCI of a tag in the skb's metadata, where
    /// `skb_vlan_untag()` puts a received frame's outermost one; every other tag is in band. `None` for a frame that ends
    /// before its EtherType.
    pub fn of(frame: &'a [u8], beside: Option<u16>) -> Option<Self> {
        let source = Mac(frame.get(6..ADDRESSES_BYTES)?.try_into().ok()?);
        let mut rest = &frame[ADDRESSES_BYTES..];
        let mut pcp = beside.map(pcp_of);
        let mut vlan = beside.map(|tci| tci & VID).filter(|vid| *vid != 0);
        loop {
            let ethertype = u16_at(rest, 0)?;
            if !TPIDS.contains(&ethertype) {
                return Some(Self { vlan, pcp, source, ethertype, packet: &rest[2..] });
            }
            let tci = u16_at(rest, 2)?;
            pcp = pcp.or(Some(pcp_of(tci)));
            let vid = tci & VID;
            vlan = vlan.or((vid != 0).then_some(vid));
            rest = &rest[4..];
        }
    }

    /// IPv4's type of service or IPv6's traffic class: DSCP and ECN.
    pub fn tos(&self) -> Option<u8> {
        match self.ethertype {
            ETHERTYPE_IPV4 => self.packet.get(1).copied(),
            ETHERTYPE_IPV6 => u16_at(self.packet, 0).map(|word| (word >> 4 & 0xff) as u8),
            _ => None,
        }
    }

    /// The address of who sent it: ARP's sender protocol address, or the source of an IP header.
    pub fn sender(&self) -> Option<IpAddr> {
        let v4 = |at: usize| {
            let bytes: [u8; 4] = self.packet.get(at..at + 4)?.try_into().ok()?;
            Some(IpAddr::V4(Ipv4Addr::from(bytes)))
        };
        match self.ethertype {
            // struct arphdr, then the sender's Ethernet address.
            ETHERTYPE_ARP => v4(14),
            ETHERTYPE_IPV4 => v4(12),
            ETHERTYPE_IPV6 => {
                let bytes: [u8; 16] = self.packet.get(8..24)?.try_into().ok()?;
                Some(IpAddr::V6(Ipv6Addr::from(bytes)))
            }
            _ => None,
        }
    }
}

/// The upper three bits of a TCI.
fn pcp_of(tci: u16) -> u8 {
    (tci >> 13) as u8
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}
