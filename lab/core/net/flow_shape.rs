//! What the packets of a flow are like: which version of IP, whether they may be fragmented, their priority, how many source ports
//! they have, and the group that they are sent to.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::net::family::Family;

/// Whether packets may be fragmented, by the words that `ping -M` has: IP_MTU_DISCOVER, IPV6_MTU_DISCOVER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pmtudisc {
    /// They may (IP_PMTUDISC_DONT).
    Dont,
    /// Where the path's MTU is known, what is longer is fragmented here, and nothing on the way (IP_PMTUDISC_WANT).
    Want,
    /// What is longer than the path's MTU is refused with EMSGSIZE (IP_PMTUDISC_DO).
    Do,
    /// As `do`, but only the device's MTU counts, whatever the path's is known to be (IP_PMTUDISC_PROBE).
    Probe,
}

impl Pmtudisc {
    /// The socket option's value, include/uapi/linux/in.h; that of IPv6 is the same.
    pub fn value(self) -> i32 {
        match self {
            Self::Dont => 0,
            Self::Want => 1,
            Self::Do => 2,
            Self::Probe => 3,
        }
    }

    /// Whether packets have IP_DF.
    pub fn sets_df(self) -> bool {
        self != Self::Dont
    }

    /// The word of the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dont => "dont",
            Self::Want => "want",
            Self::Do => "do",
            Self::Probe => "probe",
        }
    }
}

/// What a flow says of its packets besides their length. The default is what the kernel does of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowShape {
    /// The version of IP.
    #[serde(default)]
    pub family: Family,
    /// Whether they may be fragmented; the kernel's choice without, and no IP_DF of an AF_PACKET or raw socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pmtudisc: Option<Pmtudisc>,
    /// SO_PRIORITY: what queueing disciplines and priority maps see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// IPv4's type of service, or IPv6's traffic class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tos: Option<u8>,
    /// Over how many source ports of UDP they are spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ports: Option<NonZeroU16>,
    /// The broadcast or group address that they are sent to; the receiver's own without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<IpAddr>,
}

impl FlowShape {
    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for FlowShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.family == Family::Ipv6).then(|| self.family.to_string()),
            self.pmtudisc.map(|it| format!("pmtudisc {}", it.word())),
            self.priority.map(|it| format!("priority {it}")),
            self.tos.map(|it| format!("tos {it:#04x}")),
            self.source_ports.map(|it| format!("{it} source ports")),
            self.group.map(|it| format!("to the group {it}")),
        ];
        f.write_str(&words.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}
