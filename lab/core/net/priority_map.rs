//! Maps of priorities, as `ingress-qos-map` and `egress-qos-map` of a VLAN have them.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Priorities by priority: `{ "0" = 1, "5" = 7 }`. On the way in from the tag's (0 to 7) to the kernel's, on the way out from the
/// kernel's to the tag's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "BTreeMap<String, u32>", into = "BTreeMap<String, u32>")]
#[schemars(with = "BTreeMap<String, u32>")]
pub struct PriorityMap(pub BTreeMap<u32, u32>);

impl TryFrom<BTreeMap<String, u32>> for PriorityMap {
    type Error = String;
    fn try_from(map: BTreeMap<String, u32>) -> Result<Self, String> {
        let number = |(from, to): (String, u32)| match from.parse() {
            Ok(from) => Ok((from, to)),
            Err(_) => {
                Err(format!("`{from}` is not a priority: write a whole number in quotes, such as \"5\""))
            }
        };
        map.into_iter().map(number).collect::<Result<_, _>>().map(Self)
    }
}

impl From<PriorityMap> for BTreeMap<String, u32> {
    fn from(map: PriorityMap) -> Self {
        map.0.into_iter().map(|(from, to)| (from.to_string(), to)).collect()
    }
}

/// As `ip -d link` writes it.
impl fmt::Display for PriorityMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self.0.iter().map(|(from, to)| format!("{from}:{to}")).collect();
        f.write_str(&pairs.join(" "))
    }
}
