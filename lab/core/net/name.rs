//! The vocabulary of links: names, numbers and modes that cannot hold a wrong value.

use std::fmt;
use std::str::FromStr;

use crate::net::text_value::ValueError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// VLAN 0: no tag, where a PF sets one (`ndo_set_vf_vlan`).
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::address::{Cidr, Mac};

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
