//! What may be asked of a link beside its kind, address, MTU and queue: options, features, sysctls, VLANs of bridge ports,
//! entries of forwarding databases, filters.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::net::address::MacSource;
use crate::net::link_option::words::TeamMode;
use crate::net::link_option::{BRIDGE_PORT_OPTIONS, LINK_OPTIONS, Settings, rows_of};
use crate::net::mdb::MdbEntry;
use crate::net::name::{DeviceRef, IfName, VlanId};
use crate::net::sysctl::{LinkSysctlName, SysctlValue};

/// All of it; empty for most links.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Extras {
    /// Options that every kind of link has.
    #[serde(skip_serializing_if = "Settings::is_empty")]
    pub common: Settings,
    /// Options of its kind.
    #[serde(skip_serializing_if = "Settings::is_empty")]
    pub options: Settings,
    /// Features of `ethtool -K`, by the kernel's name.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub features: IndexMap<FeatureName, bool>,
    /// Settings of the device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sysctls: Vec<LinkSysctl>,
    /// What a bridge says of its ports.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub ports: IndexMap<IfName, BridgePort>,
    /// VLANs of a bridge itself; `None` leaves what vlan_default_pvid gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlans: Option<Vec<PortVlan>>,
    /// Entries of the forwarding database.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fdb: Vec<FdbEntry>,
    /// Entries of the multicast database.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mdb: Vec<MdbEntry>,
    /// Filters of its hooks, in the order that they are asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
    /// Keys of a MACsec device, and its other end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macsec: Option<Macsec>,
    /// What a team does with its ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<Team>,
}

impl Extras {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// In words, for the plan: one text for each thing that is asked for.
    pub fn words(&self, kind: &str) -> Vec<String> {
        let mut all = self.common.words(LINK_OPTIONS);
        all.extend(self.options.words(rows_of(kind)));
        all.extend(self.features.iter().map(|(name, on)| format!("feature {name} {}", on_off(*on))));
        all.extend(self.sysctls.iter().map(|sysctl| format!("sysctl {}={}", sysctl.name, sysctl.value)));
        all.extend(self.vlans.iter().flatten().map(|vlan| format!("vlan {vlan}")));
        all.extend(self.macsec.iter().map(|macsec| format!("peer {}", macsec.peer)));
        all.extend(self.team.iter().map(|team| format!("mode {}", team.mode)));
        all
    }
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// A feature of a device by the kernel's name (`netdev_features_strings` in net/ethtool/common.c): `tx-checksum-ip-generic`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct FeatureName(String);

/// ETH_GSTRING_LEN with its end.
const FEATURE_NAME_MAX: usize = 31;

impl FeatureName {
    /// As the kernel has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FeatureName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=FEATURE_NAME_MAX).contains(&text.len()) && text.bytes().all(is_letter) {
            Ok(Self(text.into()))
        } else {
            Err(format!(
                "`{text}` is no feature's name: write it as the kernel has it, such as `tx-checksum-ip-generic` (ethtool's own short words are no names of the kernel)"
            ))
        }
    }
}

impl TryFrom<String> for FeatureName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<FeatureName> for String {
    fn from(name: FeatureName) -> Self {
        name.0
    }
}

impl fmt::Display for FeatureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A setting of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSysctl {
    /// Which.
    pub name: LinkSysctlName,
    /// What it is set to.
    pub value: SysctlValue,
}

/// What a bridge says of a port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BridgePort {
    /// Options.
    #[serde(skip_serializing_if = "Settings::is_empty")]
    pub options: Settings,
    /// Its VLANs; `None` leaves what vlan_default_pvid gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlans: Option<Vec<PortVlan>>,
}

impl BridgePort {
    /// In the words of `bridge link` and `bridge vlan`.
    pub fn words(&self) -> Vec<String> {
        let mut all = self.options.words(BRIDGE_PORT_OPTIONS);
        match self.vlans.as_deref() {
            Some([]) => all.push("no VLAN".into()),
            Some(vlans) => all.extend(vlans.iter().map(|vlan| format!("vlan {vlan}"))),
            None => {}
        }
        all
    }
}

/// VLANs of a bridge's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortVlan {
    /// The first.
    pub id: VlanId,
    /// The last.
    pub to: VlanId,
    /// Whether untagged frames that come in belong to it.
    pub pvid: bool,
    /// Whether its frames leave without a tag.
    pub untagged: bool,
}

impl PortVlan {
    /// Each of them.
    pub fn ids(self) -> impl Iterator<Item = u16> {
        self.id.get()..=self.to.get()
    }
}

/// As `bridge vlan` writes it.
impl fmt::Display for PortVlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id.get())?;
        if self.to != self.id {
            write!(f, "-{}", self.to.get())?;
        }
        f.write_str(if self.pvid { " pvid" } else { "" })?;
        f.write_str(if self.untagged { " untagged" } else { "" })
    }
}

/// An entry of a forwarding database: of a bridge, at one of its ports or at itself, or of a VXLAN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FdbEntry {
    /// The Ethernet address.
    pub mac: MacSource,
    /// In this VLAN.
    pub vlan: Option<VlanId>,
    /// Of a VXLAN: the other end.
    pub dst: Option<IpAddr>,
    /// Whether it is the bridge's (`master`), or the device's own (`self`).
    pub of_controller: bool,
    /// Whether it may age.
    pub dynamic: bool,
}

/// As `bridge fdb` writes it.
impl fmt::Display for FdbEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.mac)?;
        if let Some(vlan) = self.vlan {
            write!(f, " vlan {}", vlan.get())?;
        }
        if let Some(dst) = self.dst {
            write!(f, " dst {dst}")?;
        }
        f.write_str(if self.of_controller { " master" } else { " self" })?;
        f.write_str(if self.dynamic { " dynamic" } else { " static" })
    }
}

/// A filter of clsact that changes frames or sends them elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Whether it is on the way in, and not on the way out.
    pub ingress: bool,
    /// Only frames with this tag.
    pub vlan: Option<VlanId>,
    /// What happens to them.
    pub action: FilterAction,
}

/// What a filter does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterAction {
    /// Sends frames, or copies of them, to another device of the namespace (act_mirred).
    Mirred {
        /// The device.
        to: IfName,
        /// Whether they come in there, and do not leave by it.
        ingress: bool,
        /// Whether the frame itself goes on.
        copy: bool,
    },
    /// Changes what the kernel has beside the frame (act_skbedit).
    Skbedit {
        /// The priority.
        priority: Option<u32>,
        /// The mark.
        mark: Option<u32>,
        /// The transmit queue.
        queue: Option<u16>,
    },
}

impl FilterAction {
    /// `TCA_ACT_KIND`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Mirred { .. } => "mirred",
            Self::Skbedit { .. } => "skbedit",
        }
    }
}

impl Filter {
    /// The classifier that matches its frames.
    pub fn classifier(&self) -> &'static str {
        if self.vlan.is_some() { "flower" } else { "matchall" }
    }
}

/// As `tc filter` writes it.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = |ingress: bool| if ingress { "ingress" } else { "egress" };
        f.write_str(way(self.ingress))?;
        if let Some(vlan) = self.vlan {
            write!(f, " vlan {}", vlan.get())?;
        }
        match &self.action {
            FilterAction::Mirred { to, ingress, copy } => {
                write!(f, " mirred {} {} dev {to}", way(*ingress), if *copy { "mirror" } else { "redirect" })
            }
            FilterAction::Skbedit { priority, mark, queue } => {
                f.write_str(" skbedit")?;
                let mut some =
                    |key: &str, value: Option<u32>| value.map_or(Ok(()), |value| write!(f, " {key} {value}"));
                some("priority", *priority)?;
                some("mark", *mark)?;
                some("queue_mapping", queue.map(u32::from))
            }
        }
    }
}

/// What a MACsec device needs before it carries a frame: one association in each direction, with one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Macsec {
    /// The MACsec device at the other end.
    pub peer: DeviceRef,
    /// The other end's port number.
    pub peer_port: u16,
    /// The association that the other end sends with.
    pub peer_sa: u8,
    /// The key of both directions.
    pub key: MacsecKey,
}

/// A key of 16 or 32 bytes, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct MacsecKey(pub Vec<u8>);

impl FromStr for MacsecKey {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("a key of {} characters: write 32 or 64 hexadecimal digits", text.chars().count());
        if !matches!(text.len(), 32 | 64) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let pair = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong());
        (0..text.len()).step_by(2).map(pair).collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<String> for MacsecKey {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<MacsecKey> for String {
    fn from(key: MacsecKey) -> Self {
        key.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What a team does with its ports; no daemon runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// The mode.
    pub mode: TeamMode,
    /// The port that sends and receives; with activebackup, where no daemon chooses one.
    pub active_port: Option<IfName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_features_are_those_of_the_kernel() {
        assert_eq!(
            "tx-checksum-ip-generic".parse::<FeatureName>().unwrap().as_str(),
            "tx-checksum-ip-generic"
        );
        for wrong in ["", "TSO", "tx checksum", "a/b", &"x".repeat(32)] {
            assert!(wrong.parse::<FeatureName>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_key_has_16_or_32_bytes() {
        let key: MacsecKey = "00112233445566778899aabbccddeeff".parse().unwrap();
        assert_eq!((key.0.len(), key.0[15]), (16, 0xff));
        assert_eq!(String::from(key), "00112233445566778899aabbccddeeff");
        for wrong in ["", "00", "0011223344556677889 aabbccddeeff", &"zz".repeat(16)] {
            assert!(wrong.parse::<MacsecKey>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn vlans_are_shown_as_bridge_vlan_does() {
        let id = |id: i64| VlanId::try_from(id).unwrap();
        let vlan = PortVlan { id: id(10), to: id(12), pvid: false, untagged: true };
        assert_eq!(vlan.to_string(), "10-12 untagged");
        assert_eq!(vlan.ids().collect::<Vec<_>>(), [10, 11, 12]);
    }
}
