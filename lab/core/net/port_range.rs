//! Ranges of UDP ports, as `srcport` of a tunnel has them.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The lowest and the highest port: `"32768-60999"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct PortRange {
    /// The lowest.
    pub low: u16,
    /// The highest.
    pub high: u16,
}

impl PortRange {
    /// As a number that holds both.
    pub fn number(self) -> i64 {
        i64::from(self.low) << 16 | i64::from(self.high)
    }

    /// Of such a number.
    pub fn of_number(number: i64) -> Self {
        let half = |number: i64| u16::try_from(number & 0xffff).unwrap_or_default();
        Self { low: half(number >> 16), high: half(number) }
    }
}

impl FromStr for PortRange {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not a range of ports: write `\"32768-60999\"`, the lower one first");
        let (low, high) = text.split_once('-').ok_or_else(wrong)?;
        let port = |text: &str| -> Result<u16, String> {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| text.parse().ok()).flatten().ok_or_else(wrong)
        };
        let (low, high) = (port(low)?, port(high)?);
        if low == 0 || low > high { Err(wrong()) } else { Ok(Self { low, high }) }
    }
}

impl TryFrom<String> for PortRange {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_and_written_alike() {
        for text in ["1-1", "32768-60999", "1-65535"] {
            let range: PortRange = text.parse().unwrap();
            assert_eq!(range.to_string(), text);
            assert_eq!(PortRange::of_number(range.number()), range);
        }
        for wrong in ["", "1", "2-1", "0-9", "1-65536", "+1-2", "1-2-3", "a-b", "-"] {
            assert!(wrong.parse::<PortRange>().is_err(), "{wrong:?}");
        }
    }
}
