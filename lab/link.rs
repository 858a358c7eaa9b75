//! The vocabulary of links: names, numbers and modes that cannot hold a wrong value.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a word in a topology is not a value of its kind. Lowercase fragments, made to follow a position.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValueError {
    /// `dev_valid_name()` in net/core/dev.c refuses it.
    #[error("`{0}` is not an interface name: 1 to 15 bytes, no `/`, `:` or `%`, no white space")]
    IfName(String),
    /// A namespace's name stands before a colon and in reports.
    #[error("`{0}` is not a namespace name: 1 to 32 letters, digits, `-` or `_`")]
    NsName(String),
    /// 802.1Q reserves 4095.
    #[error("vlan id {0} is out of range: 0 to 4094")]
    VlanId(i64),
    /// `namespace:device` is expected.
    #[error("`{0}` names no device: write `namespace:device`, for example `node:bond0`")]
    DeviceRef(String),
    /// Six hexadecimal pairs.
    #[error("`{0}` is not a MAC address: write six pairs such as `02:00:5e:00:53:01`")]
    Mac(String),
    /// Address and prefix length.
    #[error("`{0}` is not an address with a prefix length: write `192.0.2.1/24`")]
    Cidr(String),
}

macro_rules! text_value {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = ValueError;
            fn try_from(text: String) -> Result<Self, ValueError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    };
}

/// A network device's name, as `dev_valid_name()` accepts it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct IfName(String);

impl IfName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IfName {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = text.is_empty()
            || text.len() > 15
            || text == "."
            || text == ".."
            || text.bytes().any(is_wrong_in_if_name);
        if wrong { Err(ValueError::IfName(text.into())) } else { Ok(Self(text.into())) }
    }
}

/// The kernel looks at bytes and its isspace() is Latin-1's (lib/ctype.c), which refuses `à` for its second byte.
/// `%` makes a template of a name (`dev_alloc_name()`), and NUL ends it.
fn is_wrong_in_if_name(byte: u8) -> bool {
    matches!(byte, b'/' | b':' | b'%' | b' ' | 0 | 0x09..=0x0d | 0xa0)
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
text_value!(IfName);

/// A namespace of the topology. It exists as a file descriptor only; the name is the lab's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct NsName(String);

impl NsName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NsName {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let fine = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if fine { Ok(Self(text.into())) } else { Err(ValueError::NsName(text.into())) }
    }
}

impl fmt::Display for NsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
text_value!(NsName);

/// One device of one namespace, written `namespace:device`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct DeviceRef {
    /// The namespace it lives in.
    pub ns: NsName,
    /// Its name there.
    pub name: IfName,
}

impl DeviceRef {
    /// The device `name` of namespace `ns`.
    pub fn new(ns: &NsName, name: &IfName) -> Self {
        Self { ns: ns.clone(), name: name.clone() }
    }
}

impl FromStr for DeviceRef {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (ns, name) = text.split_once(':').ok_or_else(|| ValueError::DeviceRef(text.into()))?;
        Ok(Self { ns: ns.parse()?, name: name.parse()? })
    }
}

impl fmt::Display for DeviceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ns, self.name)
    }
}
text_value!(DeviceRef);

/// The device below, as a file names it: `bond0` of the same namespace, or `node:bond0` of another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ParentRef {
    /// `None` is the namespace of the device that stands on it.
    pub ns: Option<NsName>,
    /// Its name there.
    pub name: IfName,
}

impl ParentRef {
    /// The device meant by a link of namespace `ns`.
    pub fn seen_from(&self, ns: &NsName) -> DeviceRef {
        DeviceRef::new(self.ns.as_ref().unwrap_or(ns), &self.name)
    }
}

impl FromStr for ParentRef {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        // A device's name has no colon in it.
        if text.contains(':') {
            text.parse().map(|DeviceRef { ns, name }| Self { ns: Some(ns), name })
        } else {
            text.parse().map(|name| Self { ns: None, name })
        }
    }
}

impl fmt::Display for ParentRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ns {
            Some(ns) => write!(f, "{ns}:{}", self.name),
            None => self.name.fmt(f),
        }
    }
}
text_value!(ParentRef);

/// An 802.1Q VLAN identifier, 0 to 4094.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "i64", into = "i64")]
#[schemars(with = "i64")]
pub struct VlanId(u16);

impl VlanId {
    /// VLAN 0: no tag, where a PF is told of one (`ndo_set_vf_vlan`).
    pub const UNTAGGED: Self = Self(0);

    /// The number on the wire.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<i64> for VlanId {
    type Error = ValueError;
    fn try_from(id: i64) -> Result<Self, ValueError> {
        match u16::try_from(id) {
            Ok(id) if id <= 4094 => Ok(Self(id)),
            _ => Err(ValueError::VlanId(id)),
        }
    }
}

impl From<VlanId> for i64 {
    fn from(id: VlanId) -> i64 {
        id.0.into()
    }
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::Mac(text.into());
        let mut bytes = [0; 6];
        let mut pairs = text.split(':');
        for byte in &mut bytes {
            // from_str_radix() takes a sign.
            let is_pair = |pair: &&str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
            let pair = pairs.next().filter(is_pair).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        if pairs.next().is_some() { Err(wrong()) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
text_value!(Mac);

/// An Ethernet address, written out or by the device that has it. A text has one colon for a device, more for an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum MacSource {
    /// Written out.
    Literal(Mac),
    /// Whatever that device has at the moment it is looked at.
    Of(DeviceRef),
}

impl FromStr for MacSource {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.matches(':').count() > 1 {
            text.parse().map(Self::Literal)
        } else {
            text.parse().map(Self::Of)
        }
    }
}

impl fmt::Display for MacSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(mac) => mac.fmt(f),
            Self::Of(device) => device.fmt(f),
        }
    }
}
text_value!(MacSource);

/// An address with its prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Cidr {
    /// The address, host bits included.
    pub address: IpAddr,
    /// 0 to 32, or to 128.
    pub prefix: u8,
}

impl Cidr {
    /// Whether `other` lies in this network.
    pub fn contains(&self, other: IpAddr) -> bool {
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => (32u8, u128::from(u32::from(v4))),
            IpAddr::V6(v6) => (128, u128::from(v6)),
        };
        let ((width, mine), (other_width, theirs)) = (bits(self.address), bits(other));
        let host_bits = u32::from(width - self.prefix);
        width == other_width && (host_bits == 128 || mine >> host_bits == theirs >> host_bits)
    }
}

impl FromStr for Cidr {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::Cidr(text.into());
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        // parse() takes a sign.
        let digits = Some(prefix).filter(|prefix| prefix.bytes().all(|b| b.is_ascii_digit()));
        let prefix: u8 = digits.ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        if prefix > widest { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}
text_value!(Cidr);

/// A set of words with their kernel numbers: one table serves the file format, netlink and reports.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident : $number:ty { $($variant:ident = $value:literal $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[repr($number)]
        pub enum $name {
            $(#[doc = concat!("`", $word, "`")] #[serde(rename = $word)] $variant = $value),+
        }
        impl $name {
            /// The number the kernel knows it by.
            pub fn number(self) -> $number {
                self as $number
            }
            /// The word the kernel and iproute2 use.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! {
    /// `BOND_MODE_*`, include/uapi/linux/if_bonding.h.
    BondMode: u8 {
        BalanceRr = 0 "balance-rr",
        ActiveBackup = 1 "active-backup",
        BalanceXor = 2 "balance-xor",
        Broadcast = 3 "broadcast",
        Ieee8023Ad = 4 "802.3ad",
        BalanceTlb = 5 "balance-tlb",
        BalanceAlb = 6 "balance-alb",
    }
}
words! {
    /// `BOND_XMIT_POLICY_*`, include/uapi/linux/if_bonding.h.
    XmitHashPolicy: u8 {
        Layer2 = 0 "layer2",
        Layer34 = 1 "layer3+4",
        Layer23 = 2 "layer2+3",
        Encap23 = 3 "encap2+3",
        Encap34 = 4 "encap3+4",
        VlanSrcMac = 5 "vlan+srcmac",
    }
}
words! {
    /// `BOND_FOM_*`, include/net/bonding.h.
    FailOverMac: u8 { None = 0 "none", Active = 1 "active", Follow = 2 "follow" }
}
words! {
    /// `AD_LACP_SLOW` and `AD_LACP_FAST`, include/uapi/linux/if_bonding.h.
    LacpRate: u8 { Slow = 0 "slow", Fast = 1 "fast" }
}
words! {
    /// `BOND_AD_*`, include/uapi/linux/if_bonding.h.
    AdSelect: u8 { Stable = 0 "stable", Bandwidth = 1 "bandwidth", Count = 2 "count" }
}
words! {
    /// `BOND_PRI_RESELECT_*`, include/net/bonding.h.
    PrimaryReselect: u8 { Always = 0 "always", Better = 1 "better", Failure = 2 "failure" }
}
words! {
    /// `BOND_ARP_VALIDATE_*`, include/net/bonding.h.
    ArpValidate: u32 {
        None = 0 "none", Active = 1 "active", Backup = 2 "backup", All = 3 "all",
        Filter = 4 "filter", FilterActive = 5 "filter_active", FilterBackup = 6 "filter_backup",
    }
}
words! {
    /// `IPVLAN_MODE_*`, include/uapi/linux/if_link.h.
    IpvlanMode: u16 { L2 = 0 "l2", L3 = 1 "l3", L3s = 2 "l3s" }
}
words! {
    /// Who reaches whom on one parent: none or one of `IPVLAN_F_*`, include/uapi/linux/if_link.h.
    IpvlanFlag: u16 { Bridge = 0 "bridge", Private = 1 "private", Vepa = 2 "vepa" }
}
words! {
    /// `MACVLAN_MODE_*`, include/uapi/linux/if_link.h.
    MacvlanMode: u32 { Private = 1 "private", Vepa = 2 "vepa", Bridge = 4 "bridge", Passthru = 8 "passthru" }
}
words! {
    /// The tag's EtherType, include/uapi/linux/if_ether.h.
    VlanProtocol: u16 { Ieee8021Q = 0x8100 "802.1Q", Ieee8021Ad = 0x88a8 "802.1ad" }
}

words! {
    /// A NIC that QEMU emulates, by the name of its driver in the kernel.
    NicDriver: u8 { Igb = 0 "igb", E1000e = 1 "e1000e" }
}
words! {
    /// What is behind a PF and its VFs.
    Backing: u8 { Hardware = 0 "hardware", Netdevsim = 1 "netdevsim", Switch = 2 "switch" }
}
words! {
    /// `IFLA_VF_LINK_STATE_*`, include/uapi/linux/if_link.h.
    VfLinkState: u32 { Auto = 0 "auto", Enable = 1 "enable", Disable = 2 "disable" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dev_valid_name() {
        for good in ["a", "bond0.70", "123456789012345", "\u{e4}"] {
            assert_eq!(good.parse::<IfName>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "1234567890123456", "a b", "a/b", "a:b", "a\tb", "a\u{b}b"] {
            assert!(bad.parse::<IfName>().is_err(), "{bad:?}");
        }
        // Cut at the NUL, numbered by the kernel, and a Latin-1 space as the second byte of a letter.
        for bad in ["a\0b", "eth%d", "\u{e0}", "a\u{a0}b"] {
            assert!(bad.parse::<IfName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn vlan_ids_end_at_4094() {
        assert_eq!(VlanId::try_from(4094).unwrap().get(), 4094);
        for bad in [-1, 4095, 65536 + 70] {
            assert_eq!(VlanId::try_from(bad), Err(ValueError::VlanId(bad)));
        }
    }

    #[test]
    fn texts_survive_a_round_trip() {
        assert_eq!("02:00:5e:00:53:0a".parse::<Mac>().unwrap().to_string(), "02:00:5e:00:53:0a");
        assert_eq!("192.0.2.1/24".parse::<Cidr>().unwrap().to_string(), "192.0.2.1/24");
        assert_eq!("node:bond0.70".parse::<DeviceRef>().unwrap().to_string(), "node:bond0.70");
        for bad in [
            "02:00:5e:00:53",
            "02:00:5e:00:53:0a:0b",
            "2:0:5e:0:53:a",
            "zz:00:5e:00:53:0a",
            "+1:00:5e:00:53:0a",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
        for bad in
            ["192.0.2.1", "192.0.2.1/33", "2001:db8::/129", "192.0.2/24", "192.0.2.1/+24", "192.0.2.1/"]
        {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_network_contains_its_hosts_only() {
        let net: Cidr = "192.168.70.40/24".parse().unwrap();
        assert!(net.contains("192.168.70.1".parse().unwrap()));
        assert!(!net.contains("192.168.71.1".parse().unwrap()));
        assert!(!net.contains("2001:db8::1".parse().unwrap()));
        assert!("::/0".parse::<Cidr>().unwrap().contains("2001:db8::1".parse().unwrap()));
    }
}
