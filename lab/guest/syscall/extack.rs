//! The kernel's own words about a refused request: extended acknowledgements, include/uapi/linux/netlink.h.

use netlink_packet_core::NlasIterator;

// Keep in sync with enum nlmsgerr_attrs of include/uapi/linux/netlink.h.
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_OFFS: u16 = 2;
const NLMSGERR_ATTR_MISS_TYPE: u16 = 5;

/// With NETLINK_CAP_ACK only the header of the request stands before the attributes: `struct nlmsghdr`.
const HEADER_LEN: usize = 16;

/// Attributes of a link message by number, include/uapi/linux/if_link.h.
const LINK: &[(u16, &str)] = &[
    (1, "IFLA_ADDRESS"),
    (3, "IFLA_IFNAME"),
    (4, "IFLA_MTU"),
    (5, "IFLA_LINK"),
    (10, "IFLA_MASTER"),
    (13, "IFLA_TXQLEN"),
    (IFLA_LINKINFO, "IFLA_LINKINFO"),
    (28, "IFLA_NET_NS_FD"),
];
const IFLA_LINKINFO: u16 = 18;
const LINK_INFO: &[(u16, &str)] = &[(1, "IFLA_INFO_KIND"), (2, "IFLA_INFO_DATA")];
const VLAN: &[(u16, &str)] = &[(1, "IFLA_VLAN_ID"), (5, "IFLA_VLAN_PROTOCOL")];
const TC: &[(u16, &str)] = &[(1, "TCA_KIND"), (2, "TCA_OPTIONS")];
const BOND: &[(u16, &str)] = &[
    (1, "IFLA_BOND_MODE"),
    (3, "IFLA_BOND_MIIMON"),
    (4, "IFLA_BOND_UPDELAY"),
    (5, "IFLA_BOND_DOWNDELAY"),
    (6, "IFLA_BOND_USE_CARRIER"),
    (7, "IFLA_BOND_ARP_INTERVAL"),
    (8, "IFLA_BOND_ARP_IP_TARGET"),
    (9, "IFLA_BOND_ARP_VALIDATE"),
    (11, "IFLA_BOND_PRIMARY"),
    (12, "IFLA_BOND_PRIMARY_RESELECT"),
    (13, "IFLA_BOND_FAIL_OVER_MAC"),
    (14, "IFLA_BOND_XMIT_HASH_POLICY"),
    (16, "IFLA_BOND_NUM_PEER_NOTIF"),
    (17, "IFLA_BOND_ALL_SLAVES_ACTIVE"),
    (18, "IFLA_BOND_MIN_LINKS"),
    (21, "IFLA_BOND_AD_LACP_RATE"),
    (22, "IFLA_BOND_AD_SELECT"),
    (27, "IFLA_BOND_TLB_DYNAMIC_LB"),
    (29, "IFLA_BOND_AD_LACP_ACTIVE"),
];

/// What the kernel says about a refused request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtAck {
    /// Its message.
    pub message: Option<String>,
    /// Where in the request the offending attribute begins, in bytes.
    pub offset: Option<u32>,
    /// The number of an attribute that was missing.
    pub missing: Option<u32>,
}

impl ExtAck {
    /// Reads what follows the errno in an NLMSG_ERROR that was asked for with NETLINK_CAP_ACK. What is damaged
    /// is left out: this is only ever an explanation of an error that stands without it.
    pub fn parse(after_errno: &[u8]) -> Self {
        let mut ack = Self::default();
        for nla in NlasIterator::new(after_errno.get(HEADER_LEN..).unwrap_or_default()).flatten() {
            let number = || nla.value().try_into().ok().map(u32::from_ne_bytes);
            match nla.kind() {
                NLMSGERR_ATTR_MSG => {
                    let text = String::from_utf8_lossy(nla.value());
                    ack.message = Some(text.trim_end_matches('\0').to_owned());
                }
                NLMSGERR_ATTR_OFFS => ack.offset = number(),
                NLMSGERR_ATTR_MISS_TYPE => ack.missing = number(),
                _ => {}
            }
        }
        ack
    }

    /// One line about it, with the attribute by name; `None` when the kernel said nothing.
    pub fn describe(&self, request: &[u8]) -> Option<String> {
        let place = self.offset.map(|offset| match path_to(request, offset as usize) {
            Some(path) => format!("at {}", names(request, &path)),
            None => format!("at byte {offset} of the request"),
        });
        let missing = self.missing.map(|number| format!("attribute {number} is missing"));
        let details: Vec<String> = place.into_iter().chain(missing).collect();
        match (&self.message, details.is_empty()) {
            (None, true) => None,
            (Some(message), true) => Some(message.clone()),
            (None, false) => Some(details.join(", ")),
            (Some(message), false) => Some(format!("{message} ({})", details.join(", "))),
        }
    }
}

/// `nlmsg_type` of a request.
fn message_type(request: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(request.get(4..6)?.try_into().ok()?))
}

/// Where the attributes of a request begin: after the header and the fixed part of its family.
fn attributes_start(request: &[u8]) -> Option<usize> {
    let fixed = match message_type(request)? {
        16..=19 => 16,           // struct ifinfomsg
        20..=22 => 8,            // struct ifaddrmsg
        24..=26 | 28..=30 => 12, // struct rtmsg, struct ndmsg
        36..=46 => 20,           // struct tcmsg
        _ => return None,
    };
    Some(HEADER_LEN + fixed)
}

/// The numbers of the attributes around `offset`, outermost first.
fn path_to(request: &[u8], offset: usize) -> Option<Vec<u16>> {
    let mut path = Vec::new();
    let (mut at, mut end) = (attributes_start(request)?, request.len());
    while at + 4 <= end && at <= offset {
        let word = |at: usize| u16::from_ne_bytes([request[at], request[at + 1]]);
        let (len, kind) = (usize::from(word(at)), word(at + 2) & 0x3fff);
        if len < 4 || at + len > end {
            return None;
        }
        if at == offset {
            path.push(kind);
            return Some(path);
        }
        if offset < at + len {
            path.push(kind);
            (at, end) = (at + 4, at + len);
        } else {
            at += len.next_multiple_of(4);
        }
    }
    None
}

fn names(request: &[u8], path: &[u16]) -> String {
    let link = matches!(message_type(request), Some(16..=19));
    let tc = matches!(message_type(request), Some(36..=46));
    let holds = |kind: &[u8]| request.windows(kind.len()).any(|window| window == kind);
    let word = |depth: usize, number: u16| {
        let table = match (depth, &path[..depth]) {
            (0, _) if link => LINK,
            (0, _) if tc => TC,
            (1, [IFLA_LINKINFO]) if link => LINK_INFO,
            (2, [IFLA_LINKINFO, 2]) if link && holds(b"bond\0") => BOND,
            (2, [IFLA_LINKINFO, 2]) if link && holds(b"vlan\0") => VLAN,
            _ => &[],
        };
        match table.iter().find(|(known, _)| *known == number) {
            Some((_, name)) => (*name).to_owned(),
            None => format!("attribute {number}"),
        }
    };
    path.iter().enumerate().map(|(depth, &number)| word(depth, number)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RTM_NEWLINK of a bond: IFLA_IFNAME "b0", IFLA_LINKINFO { kind bond, data { mode 1, lacp rate 1 } }.
    const REQUEST: &[u8] = &[
        72, 0, 0, 0, 16, 0, 5, 6, 1, 0, 0, 0, 0, 0, 0, 0, // nlmsghdr
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // ifinfomsg
        7, 0, 3, 0, b'b', b'0', 0, 0, // IFLA_IFNAME at 32
        36, 0, 18, 0, // IFLA_LINKINFO at 40
        9, 0, 1, 0, b'b', b'o', b'n', b'd', 0, 0, 0, 0, // IFLA_INFO_KIND at 44
        20, 0, 2, 0, // IFLA_INFO_DATA at 56
        5, 0, 1, 0, 1, 0, 0, 0, // IFLA_BOND_MODE at 60
        5, 0, 21, 0, 1, 0, 0, 0, // IFLA_BOND_AD_LACP_RATE at 68
    ];

    #[test]
    fn message_and_offset_are_read_after_the_capped_header() {
        let mut error = REQUEST[..16].to_vec();
        error.extend([20, 0, 1, 0]);
        error.extend(b"not in mode 1 :(\0"[..16].iter());
        error.extend([8, 0, 2, 0, 68, 0, 0, 0]);
        let ack = ExtAck::parse(&error);
        assert_eq!(ack, ExtAck { message: Some("not in mode 1 :(".into()), offset: Some(68), missing: None });
        assert_eq!(
            ack.describe(REQUEST).unwrap(),
            "not in mode 1 :( (at IFLA_LINKINFO IFLA_INFO_DATA IFLA_BOND_AD_LACP_RATE)"
        );
    }

    #[test]
    fn places_are_named_as_far_as_they_are_known() {
        for (offset, expected) in [
            (32, "at IFLA_IFNAME"),
            (40, "at IFLA_LINKINFO"),
            (60, "at IFLA_LINKINFO IFLA_INFO_DATA IFLA_BOND_MODE"),
            (61, "at byte 61 of the request"),
            (400, "at byte 400 of the request"),
        ] {
            let ack = ExtAck { offset: Some(offset), ..ExtAck::default() };
            assert_eq!(ack.describe(REQUEST).unwrap(), expected);
        }
    }

    #[test]
    fn silence_and_damage_are_no_text() {
        for bytes in [&[][..], &[0; 16], &[0; 19], &[0; 40]] {
            assert_eq!(ExtAck::parse(bytes).describe(REQUEST), None, "{bytes:?}");
        }
    }
}
