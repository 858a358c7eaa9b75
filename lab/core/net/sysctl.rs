//! Kernel settings of a network namespace (`sysctl`): names that cannot lead out of /proc/sys/net, and values.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The only settings that a network namespace has of its own.
const PREFIX: &str = "net";

/// A setting's name as `sysctl` writes it, such as `net.ipv4.conf.all.rp_filter`. A device whose name has a dot has no name
/// here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct SysctlName(String);

/// Why a text is no name of a setting.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no setting of a network namespace: write, for example, `net.ipv4.conf.all.rp_filter`")]
pub struct SysctlNameError(String);

impl SysctlName {
    /// Its file below /proc/sys.
    pub fn file(&self) -> String {
        self.0.replace('.', "/")
    }
}

impl FromStr for SysctlName {
    type Err = SysctlNameError;
    fn from_str(text: &str) -> Result<Self, SysctlNameError> {
        let is_part = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        let mut parts = text.split('.');
        let fine = parts.next() == Some(PREFIX) && parts.clone().count() > 0 && parts.all(is_part);
        if fine { Ok(Self(text.into())) } else { Err(SysctlNameError(text.into())) }
    }
}

impl TryFrom<String> for SysctlName {
    type Error = SysctlNameError;
    fn try_from(text: String) -> Result<Self, SysctlNameError> {
        text.parse()
    }
}

impl From<SysctlName> for String {
    fn from(name: SysctlName) -> Self {
        name.0
    }
}

impl fmt::Display for SysctlName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A setting of one device, without the device: `ipv4.conf.rp_filter` is net.ipv4.conf.DEVICE.rp_filter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct LinkSysctlName(String);

/// Why a text is no name of a device's setting.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no setting of a device: write, for example, `ipv4.conf.rp_filter` or `ipv6.neigh.ucast_solicit`"
)]
pub struct LinkSysctlNameError(String);

impl LinkSysctlName {
    /// Its file below /proc/sys, for a device of that name: a dot in the name stays.
    pub fn file(&self, device: &str) -> String {
        let (tree, name) = self.0.rsplit_once('.').expect("checked: three parts");
        format!("net/{}/{device}/{name}", tree.replace('.', "/"))
    }
}

impl FromStr for LinkSysctlName {
    type Err = LinkSysctlNameError;
    fn from_str(text: &str) -> Result<Self, LinkSysctlNameError> {
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let mut parts = text.split('.');
        let fine = matches!(parts.next(), Some("ipv4" | "ipv6"))
            && matches!(parts.next(), Some("conf" | "neigh"))
            && parts.next().is_some_and(is_name)
            && parts.next().is_none();
        if fine { Ok(Self(text.into())) } else { Err(LinkSysctlNameError(text.into())) }
    }
}

impl TryFrom<String> for LinkSysctlName {
    type Error = LinkSysctlNameError;
    fn try_from(text: String) -> Result<Self, LinkSysctlNameError> {
        text.parse()
    }
}

impl From<LinkSysctlName> for String {
    fn from(name: LinkSysctlName) -> Self {
        name.0
    }
}

impl fmt::Display for LinkSysctlName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A setting's value: a number, or numbers and words as `sysctl` prints them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a number or a text is expected")]
pub enum SysctlValue {
    /// One number.
    Number(i64),
    /// Anything else, such as `0 2147483647`.
    Text(String),
}

impl SysctlValue {
    /// Whether what is read back is this: white space is the kernel's own.
    pub fn is(&self, read: &str) -> bool {
        self.to_string().split_whitespace().eq(read.split_whitespace())
    }
}

impl fmt::Display for SysctlValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sysctl {
    /// Which.
    pub name: SysctlName,
    /// What it is set to.
    pub value: SysctlValue,
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_proc_sys_net() {
        let name: SysctlName = "net.ipv4.conf.all.rp_filter".parse().unwrap();
        assert_eq!(name.file(), "net/ipv4/conf/all/rp_filter");
        for wrong in
            ["kernel.panic", "net", "net.", "net..x", "net.ipv4/../../kernel", "net.a b", "", "net/ipv4/x"]
        {
            assert_eq!(wrong.parse::<SysctlName>(), Err(SysctlNameError(wrong.into())), "{wrong:?}");
        }
    }

    #[test]
    fn a_setting_of_a_device_keeps_the_dot_of_its_name() {
        let name: LinkSysctlName = "ipv4.conf.rp_filter".parse().unwrap();
        assert_eq!(name.file("bond0.70"), "net/ipv4/conf/bond0.70/rp_filter");
        for wrong in [
            "rp_filter",
            "ipv4.rp_filter",
            "ipv4.conf.all.rp_filter",
            "ipv4.conf.",
            "ipv4.conf.a/b",
            "x.conf.a",
        ] {
            assert!(wrong.parse::<LinkSysctlName>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_value_is_read_back_whatever_white_space_the_kernel_writes() {
        assert!(SysctlValue::Number(1).is("1\n"));
        assert!(SysctlValue::Text("0 2147483647".into()).is("0\t2147483647\n"));
        assert!(!SysctlValue::Number(1).is("2\n"));
    }
}
