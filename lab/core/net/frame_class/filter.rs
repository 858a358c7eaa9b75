//! Which frames a capture counts: what they are, in which VLAN, and who sent them.

use std::net::IpAddr;

use crate::net::address::Mac;
use crate::net::frame_class::FrameClass;
use crate::net::frame_class::dissect::Dissected;
use crate::net::name::VlanId;
use crate::net::probe::Probe;

/// All that a frame must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// What it is, behind all its tags.
    pub class: FrameClass,
    /// The VLAN of its outermost tag; `None` counts untagged frames only, and such as have a priority and no VLAN.
    pub vlan: Option<VlanId>,
    /// Its source address; any without.
    pub src_mac: Option<Mac>,
    /// ARP's sender, or the source of its IP header; any without.
    pub src_ip: Option<IpAddr>,
    /// The priority (PCP) of its outermost tag; any without.
    pub pcp: Option<u8>,
    /// The DSCP of its IP header; any without.
    pub dscp: Option<u8>,
    /// The ECN bits of its IP header; any without.
    pub ecn: Option<u8>,
    /// The number of the lab's flow that it is of; any without.
    pub flow: Option<u16>,
}

impl Filter {
    /// Whether it lets a frame through; the frame is read from its Ethernet header on. `beside` is the TCI of a tag in the
    /// skb's metadata.
    pub fn counts(&self, frame: &[u8], beside: Option<u16>) -> bool {
        let Some(frame) = Dissected::of(frame, beside) else { return false };
        frame.vlan == self.vlan.map(VlanId::get)
            && self.src_mac.is_none_or(|mac| mac == frame.source)
            && self.src_ip.is_none_or(|address| frame.sender() == Some(address))
            && self.pcp.is_none_or(|pcp| frame.pcp == Some(pcp))
            && self.dscp.is_none_or(|dscp| frame.tos().is_some_and(|tos| tos >> 2 == dscp))
            && self.ecn.is_none_or(|ecn| frame.tos().is_some_and(|tos| tos & 3 == ecn))
            && self.class.holds(&frame)
            && self.flow.is_none_or(|flow| {
                Probe::parse_packet(frame.ethertype, frame.packet).is_some_and(|probe| probe.flow == flow)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::frame_class::NARROWEST_FIRST;

    const SOURCE: [u8; 6] = [2, 0, 0, 0, 0, 1];

    /// EtherType and packet of one frame of a class, sent by 192.0.2.1 or 2001:db8::1.
    fn packet(class: FrameClass) -> Vec<u8> {
        let arp = |target| {
            [&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1][..], &SOURCE, &[192, 0, 2, 1], &[0; 6], target].concat()
        };
        let ipv4 = |place: [u8; 2], protocol, payload: &[u8]| {
            let header = [
                8, 0, 0x45, 0, 0, 28, 0, 0, place[0], place[1], 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2,
                2,
            ];
            [&header[..], payload].concat()
        };
        let ipv6 = |next: u8, payload: &[u8]| {
            let header = [0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, next, 255];
            let source = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
            [&header[..], &source, &[0; 16], payload].concat()
        };
        match class {
            FrameClass::Lacpdu => vec![0x88, 9, 1, 1],
            FrameClass::Arp => arp(&[192, 0, 2, 2]),
            FrameClass::GratuitousArp => arp(&[192, 0, 2, 1]),
            FrameClass::UnsolicitedNa => ipv6(58, &[136, 0, 0, 0, 0x20, 0, 0, 0]),
            FrameClass::NeighbourDiscovery => ipv6(58, &[135, 0, 0, 0, 0, 0, 0, 0]),
            FrameClass::MulticastMembership => ipv6(0, &[58, 0, 5, 2]),
            FrameClass::Dhcp => ipv4([0, 0], 17, &[0, 68, 0, 67, 0, 8, 0, 0]),
            FrameClass::Tcp => ipv4([0x40, 0], 6, &[0; 20]),
            FrameClass::Icmp => ipv4([0, 0], 1, &[3, 3]),
            FrameClass::Fragment => ipv4([0, 60], 17, &[0; 8]),
            FrameClass::Icmpv6 => ipv6(58, &[2, 0, 0, 0, 0, 0, 0, 0]),
            FrameClass::Probe => ipv4([0, 0], 17, &[&[0; 8][..], &probe(7).emit(16)].concat()),
        }
    }

    fn probe(flow: u16) -> Probe {
        Probe { trial: 0, flow, sequence: 3 }
    }

    #[test]
    fn frames_of_one_flow_are_told_from_those_of_others() {
        let bytes = frame(&[], FrameClass::Probe);
        for (flow, counts) in [(None, true), (Some(7), true), (Some(8), false)] {
            let filter = Filter { flow, ..filter(FrameClass::Probe, None) };
            assert_eq!(filter.counts(&bytes, None), counts, "{flow:?}");
        }
    }

    fn frame(tags: &[u8], class: FrameClass) -> Vec<u8> {
        [&[0xff; 6][..], &SOURCE, tags, &packet(class)].concat()
    }

    fn filter(class: FrameClass, vlan: Option<i64>) -> Filter {
        let vlan = vlan.map(|id| id.try_into().unwrap());
        Filter { class, vlan, src_mac: None, src_ip: None, pcp: None, dscp: None, ecn: None, flow: None }
    }

    /// Tags in band, the TCI in the metadata, and the VLAN that counts such a frame.
    const TAGGED: [(&[u8], Option<u16>, Option<i64>); 12] = [
        (&[], None, None),
        (&[0x81, 0, 0, 70], None, Some(70)),
        (&[0x88, 0xa8, 0, 70], None, Some(70)),
        (&[], Some(70), Some(70)),
        // Priority 7 and DEI above the VLAN.
        (&[0x81, 0, 0xf0, 70], None, Some(70)),
        (&[], Some(0xf046), Some(70)),
        // Two tags: the outer one counts, wherever it is.
        (&[0x88, 0xa8, 0, 70, 0x81, 0, 0, 80], None, Some(70)),
        (&[0x81, 0, 0, 80], Some(70), Some(70)),
        // A priority and no VLAN.
        (&[0x81, 0, 0xe0, 0], None, None),
        (&[], Some(0xe000), None),
        (&[0x81, 0, 0, 70], Some(0xe000), Some(70)),
        (&[0x81, 0, 0xe0, 0, 0x81, 0, 0, 70], None, Some(70)),
    ];

    #[test]
    fn a_tag_decides_wherever_it_is() {
        for class in NARROWEST_FIRST {
            for (tags, beside, vlan) in TAGGED {
                let bytes = frame(tags, class);
                for wanted in [None, Some(70), Some(80)] {
                    let counts = filter(class, wanted).counts(&bytes, beside);
                    assert_eq!(counts, wanted == vlan, "{class} {tags:x?} {beside:?} {wanted:?}");
                }
            }
        }
    }

    #[test]
    fn a_priority_is_that_of_the_outermost_tag() {
        for (tags, beside, vlan, expected) in [
            (&[][..], None, None, None),
            (&[0x81, 0, 0x60, 70], None, Some(70), Some(3)),
            (&[], Some(0xb046), Some(70), Some(5)),
            (&[0x81, 0, 0xe0, 0], None, None, Some(7)),
            (&[0x81, 0, 0, 70], None, Some(70), Some(0)),
            (&[0x88, 0xa8, 0x40, 70, 0x81, 0, 0x20, 80], None, Some(70), Some(2)),
            (&[0x81, 0, 0x20, 80], Some(0x4046), Some(70), Some(2)),
        ] {
            let bytes = frame(tags, FrameClass::Arp);
            let counts =
                |pcp: &u8| Filter { pcp: Some(*pcp), ..filter(FrameClass::Arp, vlan) }.counts(&bytes, beside);
            let all: Vec<u8> = (0..8).filter(counts).collect();
            assert_eq!(all, expected.into_iter().collect::<Vec<u8>>(), "{tags:x?} {beside:?}");
        }
    }

    #[test]
    fn dscp_and_ecn_are_those_of_the_ip_header() {
        let mut v4 = frame(&[], FrameClass::Icmp);
        v4[15] = 46 << 2 | 1;
        let mut v6 = frame(&[], FrameClass::Icmpv6);
        // Version, and 8 bits of traffic class across two bytes.
        v6[14..16].copy_from_slice(&(0x6000_u16 | (46 << 2 | 1) << 4).to_be_bytes());
        for (class, bytes) in [(FrameClass::Icmp, v4), (FrameClass::Icmpv6, v6)] {
            let counts = |dscp, ecn| Filter { dscp, ecn, ..filter(class, None) }.counts(&bytes, None);
            assert!(counts(Some(46), None) && counts(None, Some(1)) && counts(Some(46), Some(1)), "{class}");
            assert!(!counts(Some(0), None) && !counts(None, Some(0)), "{class}");
        }
        let arp = frame(&[], FrameClass::Arp);
        assert!(!Filter { dscp: Some(0), ..filter(FrameClass::Arp, None) }.counts(&arp, None));
    }

    #[test]
    fn what_is_lost_is_the_same_wherever_its_tag_is() {
        for class in NARROWEST_FIRST {
            for (tags, beside, vlan) in TAGGED {
                let expected = (Some(class), vlan.map(|id| u16::try_from(id).unwrap()));
                let bytes = frame(tags, class);
                assert_eq!(FrameClass::of_dropped(0, &bytes, true, beside), expected, "{class} {tags:x?}");
                let protocol = u16::from_be_bytes([bytes[12], bytes[13]]);
                let told = FrameClass::of_dropped(protocol, &bytes[14..], false, beside);
                assert_eq!(told, expected, "without Ethernet header: {class} {tags:x?}");
            }
        }
    }

    #[test]
    fn a_reserved_vlan_is_neither_untagged_nor_another() {
        let bytes = frame(&[0x81, 0, 0x0f, 0xff], FrameClass::Arp);
        assert!(!filter(FrameClass::Arp, None).counts(&bytes, None));
        assert!(!filter(FrameClass::Arp, Some(4094)).counts(&bytes, None));
    }

    #[test]
    fn a_frame_that_ends_in_its_tags_is_nothing() {
        for len in 0..18 {
            let bytes = &frame(&[0x81, 0, 0, 70], FrameClass::Arp)[..len];
            assert!(!filter(FrameClass::Arp, Some(70)).counts(bytes, None), "{len}");
        }
    }

    #[test]
    fn who_sent_is_asked_of_the_frame_and_of_the_packet() {
        for class in NARROWEST_FIRST {
            let bytes = frame(&[0x81, 0, 0, 70], class);
            let asked = |mac: [u8; 6], ip: Option<&str>| {
                let (src_mac, src_ip) = (Some(Mac(mac)), ip.map(|ip| ip.parse().unwrap()));
                Filter { src_mac, src_ip, ..filter(class, Some(70)) }.counts(&bytes, None)
            };
            assert!(asked(SOURCE, None), "{class}");
            assert!(!asked([2, 0, 0, 0, 0, 2], None), "{class}");
            let own: Vec<&str> =
                ["192.0.2.1", "2001:db8::1"].into_iter().filter(|ip| asked(SOURCE, Some(ip))).collect();
            let expected = match packet(class)[..2] {
                [8, _] => vec!["192.0.2.1"],
                [0x86, 0xdd] => vec!["2001:db8::1"],
                _ => vec![],
            };
            assert_eq!(own, expected, "{class}");
            assert!(!asked(SOURCE, Some("192.0.2.2")) && !asked(SOURCE, Some("2001:db8::2")), "{class}");
        }
    }
}
