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
    fn a_value_is_read_back_whatever_white_space_the_kernel_writes() {
        assert!(SysctlValue::Number(1).is("1\n"));
        assert!(SysctlValue::Text("0 2147483647".into()).is("0\t2147483647\n"));
        assert!(!SysctlValue::Number(1).is("2\n"));
    }
}
