//! The version of IP that a flow is sent with, and how long its headers are.

use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::net::probe::PROBE_LEN;

/// Ethernet's header without a tag, in bytes.
pub const ETHERNET_LEN: usize = 14;
/// UDP's header, and that of an ICMP echo request, in bytes.
const MESSAGE_LEN: usize = 8;
/// TCP's header with timestamps, as Linux sends it, in bytes.
const TCP_LEN: usize = 32;

/// A version of IP.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    #[default]
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// That of an address.
    #[inline]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// Length of its header without options, in bytes.
    #[inline]
    pub fn header_len(self) -> usize {
        match self {
            Self::Ipv4 => 20,
            Self::Ipv6 => 40,
        }
    }

    /// Ethernet, IP and UDP headers (or those of an echo request) before the probe, in bytes, without a tag.
    #[inline]
    pub fn headers_len(self) -> usize {
        ETHERNET_LEN + self.header_len() + MESSAGE_LEN
    }

    /// Ethernet, IP and TCP headers before a record of a stream, in bytes.
    #[inline]
    pub fn tcp_headers_len(self) -> usize {
        ETHERNET_LEN + self.header_len() + TCP_LEN
    }

    /// The shortest frame that holds a probe, in bytes, without a tag and without FCS.
    #[inline]
    pub fn frame_len_min(self) -> usize {
        self.headers_len() + PROBE_LEN
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_headers() {
        assert_eq!((Family::Ipv4.headers_len(), Family::Ipv4.frame_len_min()), (42, 58));
        assert_eq!((Family::Ipv6.headers_len(), Family::Ipv6.frame_len_min()), (62, 78));
        assert_eq!((Family::Ipv4.tcp_headers_len(), Family::Ipv6.tcp_headers_len()), (66, 86));
    }
}
