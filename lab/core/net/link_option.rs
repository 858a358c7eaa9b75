//! Options of links: one row for each, from which the file's tables, the checks, the message to the kernel, the comparison
//! with what it answers and the reference are made. Bonds have theirs in [`crate::net::bond_option`].

mod left_out;
mod rows;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub use left_out::LEFT_OUT;
pub(crate) use rows::*;

use crate::net::link_option::words::{
    LabelPolicy, LinkMode, MacsecCipher, MacsecOffload, MacsecValidate, MulticastRouter, StpMode, VxlanDf,
};
use crate::net::option::{OptionRow, Value, Wire};

pub mod words;

/// What is asked of a link beside what its kind cannot do without: values by the key of their row, in the order of the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(pub IndexMap<String, Value>);

impl Settings {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values with their rows.
    pub fn rows(&self, table: &'static [OptionRow]) -> Vec<(&'static OptionRow, Value)> {
        let rows = table.iter().filter_map(|row| Some((row, self.0.get(row.key)?.clone())));
        rows.collect()
    }

    /// In the words of `ip link`: `key value`.
    pub fn words(&self, table: &'static [OptionRow]) -> Vec<String> {
        self.rows(table).iter().map(|(row, value)| format!("{} {}", row.key, row.wire.shown(value))).collect()
    }
}

macro_rules! option_rows {
    ({ $(#[$doc:meta])* $name:ident } $($(#[doc = $about:literal])+ $key:ident: $type:ty as $wire:expr, $number:literal $attribute:ident, $range:expr, $default:literal;)+) => {
        $(#[$doc])*
        pub static $name: &[OptionRow] = &[$(OptionRow {
            key: stringify!($key),
            attribute: stringify!($attribute),
            number: $number,
            wire: $wire,
            range: $range,
            modes: &[],
            default: $default,
            about: &[$($about),+],
        }),+];
    };
}

with_link_options! { option_rows {
    /// What every kind of link has.
    LINK_OPTIONS
} }
with_vlan_options! { option_rows {
    /// Options of a VLAN.
    VLAN_OPTIONS
} }
with_bridge_options! { option_rows {
    /// Options of a bridge.
    BRIDGE_OPTIONS
} }
with_bridge_port_options! { option_rows {
    /// Options of a bridge's port.
    BRIDGE_PORT_OPTIONS
} }
with_macvlan_options! { option_rows {
    /// Options of a macvlan.
    MACVLAN_OPTIONS
} }
with_vrf_options! { option_rows {
    /// Options of a VRF.
    VRF_OPTIONS
} }
with_vxlan_options! { option_rows {
    /// Options of a VXLAN.
    VXLAN_OPTIONS
} }
with_geneve_options! { option_rows {
    /// Options of a Geneve tunnel.
    GENEVE_OPTIONS
} }
with_gre_options! { option_rows {
    /// Options of a GRE tunnel.
    GRE_OPTIONS
} }
with_macsec_options! { option_rows {
    /// Options of a MACsec device.
    MACSEC_OPTIONS
} }

/// Why an attribute is no option of these tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// Another key of the file says it.
    Elsewhere(&'static str),
    /// It is a state, which a condition can name.
    Shown(&'static str),
    /// The lab does not have it.
    Missing(&'static str),
}

/// Attributes that a kernel takes and does not show, or shows otherwise: what is asked for is not compared.
pub const NOT_SHOWN: &[&str] = &[
    // macsec_fill_info() has it in IFLA_MACSEC_SCI.
    "IFLA_MACSEC_PORT",
];

/// The options of a kind of link, by its word.
pub fn rows_of(word: &str) -> &'static [OptionRow] {
    match word {
        "vlan" => VLAN_OPTIONS,
        "bridge" => BRIDGE_OPTIONS,
        "macvlan" => MACVLAN_OPTIONS,
        "vrf" => VRF_OPTIONS,
        "vxlan" => VXLAN_OPTIONS,
        "geneve" => GENEVE_OPTIONS,
        "gre" | "gretap" => GRE_OPTIONS,
        "macsec" => MACSEC_OPTIONS,
        _ => &[],
    }
}

/// All tables with the words of the reference.
pub fn tables() -> [(&'static str, &'static [OptionRow]); 10] {
    [
        ("every link", LINK_OPTIONS),
        ("VLANs", VLAN_OPTIONS),
        ("bridges", BRIDGE_OPTIONS),
        ("ports of bridges", BRIDGE_PORT_OPTIONS),
        ("macvlans", MACVLAN_OPTIONS),
        ("VRFs", VRF_OPTIONS),
        ("VXLANs", VXLAN_OPTIONS),
        ("Geneve tunnels", GENEVE_OPTIONS),
        ("GRE tunnels", GRE_OPTIONS),
        ("MACsec devices", MACSEC_OPTIONS),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Options that are bits of one attribute share its number.
    fn is_bit(wire: Wire) -> bool {
        matches!(
            wire,
            Wire::VlanFlag(_)
                | Wire::Bit16(_)
                | Wire::BoolOption(_)
                | Wire::GreFlag(_)
                | Wire::Interface { .. }
        )
    }

    #[test]
    fn keys_and_attributes_are_unique_in_each_table() {
        for (what, rows) in tables() {
            let keys: BTreeSet<&str> = rows.iter().map(|row| row.key).collect();
            assert_eq!(keys.len(), rows.len(), "{what}");
            let whole: Vec<u16> =
                rows.iter().filter(|row| !is_bit(row.wire) && row.number > 0).map(|row| row.number).collect();
            let numbers: BTreeSet<u16> = whole.iter().copied().collect();
            assert_eq!(numbers.len(), whole.len(), "{what}");
        }
    }

    #[test]
    fn no_option_of_a_kind_has_the_key_of_every_link() {
        for (what, rows) in &tables()[1..] {
            for row in *rows {
                assert!(LINK_OPTIONS.iter().all(|common| common.key != row.key), "{what}: {}", row.key);
            }
        }
    }

    #[test]
    fn a_range_is_within_what_its_attribute_holds() {
        for (what, rows) in tables() {
            for row in rows {
                let Some((low, high)) = row.range else { continue };
                let most = match row.wire {
                    Wire::U8 => i64::from(u8::MAX),
                    Wire::U16 | Wire::U16Be => i64::from(u16::MAX),
                    Wire::U32 | Wire::U32Be | Wire::Speed => i64::from(u32::MAX),
                    _ => i64::MAX,
                };
                assert!(
                    low < high && high <= most && (low >= 0 || row.wire == Wire::I32),
                    "{what}: {}",
                    row.key
                );
            }
        }
    }
}
