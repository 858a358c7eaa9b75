//! What a condition may look at beside frames and counters: text that `ip`, `bridge`, `ethtool`, `tc`, `nstat`, `sysctl` and
//! the kernel's log show, and how it is compared.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::net::address::MacSource;
use crate::net::mdb::Group;
use crate::net::name::{DeviceRef, NsName, VlanId};
use crate::net::sysctl::SysctlName;

/// One thing that the kernel shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// What `ip -s -s -d link` shows, by a word of `net::link_show`.
    Link { device: DeviceRef, what: String },
    /// A line of /proc/net/bonding: of a bond, or of the part of a port.
    ProcBonding { device: DeviceRef, line: String },
    /// A feature of `ethtool -k`, by the kernel's name: `on`, `off`, `on [fixed]`, `off [fixed]`.
    Feature { device: DeviceRef, name: String },
    /// State of a neighbour (`ip neighbour`), `none` where there is none.
    Neighbour { device: DeviceRef, to: IpAddr },
    /// A VLAN of a bridge or bridge port: `member`, `pvid`, `untagged` with commas, `none` where it is not in it.
    BridgeVlan { device: DeviceRef, id: VlanId },
    /// An address of the forwarding database: `self`, `master`, `permanent`, `static`, `extern_learn`, `offload`, `sticky`, with commas;
    /// `none` where it is not there.
    Fdb { device: DeviceRef, mac: MacSource },
    /// A group of the multicast database at a port or of a bridge itself: `permanent` or `temp`, `none` where it is not there.
    Mdb { device: DeviceRef, group: Group },
    /// Another field of one of the four above, by its word.
    Detail { of: Box<Shown>, field: String },
    /// A counter of a queueing discipline by its parent, `root` or `1:2`, as `tc -s qdisc` shows it.
    Qdisc { device: DeviceRef, parent: String, counter: String },
    /// A setting.
    Sysctl { ns: NsName, name: SysctlName },
    /// An SNMP counter, as a difference over the trial.
    Snmp { ns: NsName, counter: String },
    /// Lines of the kernel's log since the trial began that hold this; `*` stands for anything.
    KernelLog { pattern: String },
}

impl Shown {
    /// The device that it is of.
    pub fn device(&self) -> Option<&DeviceRef> {
        match self {
            Self::Link { device, .. }
            | Self::ProcBonding { device, .. }
            | Self::Feature { device, .. }
            | Self::Neighbour { device, .. }
            | Self::BridgeVlan { device, .. }
            | Self::Fdb { device, .. }
            | Self::Mdb { device, .. }
            | Self::Qdisc { device, .. } => Some(device),
            Self::Detail { of, .. } => of.device(),
            Self::Sysctl { .. } | Self::Snmp { .. } | Self::KernelLog { .. } => None,
        }
    }

    /// Fields that a condition can name with `detail`, beside what is shown without it.
    pub fn details(&self) -> &'static [&'static str] {
        match self {
            Self::Neighbour { .. } => &NEIGHBOUR_DETAILS,
            Self::BridgeVlan { .. } => &VLAN_DETAILS,
            Self::Fdb { .. } => &FDB_DETAILS,
            Self::Mdb { .. } => &MDB_DETAILS,
            _ => &[],
        }
    }
}

/// Of `ip -d neighbour`.
const NEIGHBOUR_DETAILS: [&str; 4] = ["lladdr", "flags", "proto", "probes"];
/// Of `bridge -s -d vlan`.
const VLAN_DETAILS: [&str; 9] = [
    "state",
    "rx_bytes",
    "rx_packets",
    "tx_bytes",
    "tx_packets",
    "mcast_router",
    "mcast_n_groups",
    "mcast_max_groups",
    "neigh_suppress",
];
/// Of `bridge -d fdb`.
const FDB_DETAILS: [&str; 5] = ["vlan", "dst", "port", "vni", "src_vni"];
/// Of `bridge -d mdb`.
const MDB_DETAILS: [&str; 4] = ["vlan", "flags", "filter_mode", "proto"];

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { device, what } => write!(f, "{device} {what}"),
            Self::ProcBonding { device, line } => write!(f, "{device} `{line}` of /proc/net/bonding"),
            Self::Feature { device, name } => write!(f, "{device} feature {name}"),
            Self::Neighbour { device, to } => write!(f, "{device} neighbour {to}"),
            Self::BridgeVlan { device, id } => write!(f, "{device} bridge vlan {}", id.get()),
            Self::Fdb { device, mac } => write!(f, "{device} fdb {mac}"),
            Self::Mdb { device, group } => write!(f, "{device} mdb {group}"),
            Self::Detail { of, field } => write!(f, "{of} {field}"),
            Self::Qdisc { device, parent, counter } => write!(f, "qdisc {parent} of {device} {counter}"),
            Self::Sysctl { ns, name } => write!(f, "{ns} sysctl {name}"),
            Self::Snmp { ns, counter } => write!(f, "{ns} {counter}"),
            Self::KernelLog { pattern } => write!(f, "kernel log `{pattern}`"),
        }
    }
}

/// How what is shown becomes a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// It is one.
    Number,
    /// Whether it is this: 1 or 0.
    Is(String),
    /// Whether it is something else: 1 or 0.
    IsNot(String),
    /// Whether this word is in it: 1 or 0.
    Has(String),
    /// Whether this word is not in it: 1 or 0.
    Lacks(String),
}

impl Test {
    /// The number of a text; `None` where there is none. What is not shown is no certain text and has no word in it.
    pub fn number(&self, text: Option<&str>) -> Option<u64> {
        let Some(text) = text else {
            return matches!(self, Self::Is(_) | Self::Has(_)).then_some(0);
        };
        let has = |word: &String| text.split([',', ' ']).any(|part| part == word);
        match self {
            Self::Number => text.parse().ok(),
            Self::Is(wanted) => Some((text == wanted).into()),
            Self::IsNot(unwanted) => Some((text != unwanted).into()),
            Self::Has(word) => Some(has(word).into()),
            Self::Lacks(word) => Some((!has(word)).into()),
        }
    }

    /// What is wanted, in words; none where bounds say it.
    pub fn wanted(&self) -> Option<String> {
        match self {
            Self::Number => None,
            Self::Is(text) => Some(text.clone()),
            Self::IsNot(text) => Some(format!("not {text}")),
            Self::Has(word) => Some(format!("with {word}")),
            Self::Lacks(word) => Some(format!("without {word}")),
        }
    }
}

/// What is shown, in pairs: what was asked for, and the text of it, none where the kernel shows none.
pub type ShownValues = Vec<(Shown, Option<String>)>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_a_number() {
        let word = |word: &str| word.to_owned();
        for (test, text, expected) in [
            (Test::Number, Some("17"), Some(17)),
            (Test::Number, Some("UP"), None),
            (Test::Is(word("UP")), Some("UP"), Some(1)),
            (Test::Is(word("UP")), Some("DOWN"), Some(0)),
            (Test::Is(word("UP")), None, Some(0)),
            (Test::IsNot(word("UP")), None, None),
            (Test::Number, None, None),
            (Test::IsNot(word("UP")), Some("DOWN"), Some(1)),
            (Test::Has(word("timeout")), Some("activity,timeout"), Some(1)),
            (Test::Has(word("time")), Some("activity,timeout"), Some(0)),
            (Test::Lacks(word("expired")), Some("activity,timeout"), Some(1)),
            (Test::Lacks(word("expired")), None, None),
        ] {
            assert_eq!(test.number(text), expected, "{test:?} {text:?}");
        }
    }
}
