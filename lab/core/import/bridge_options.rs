//! Options of bridges and of their ports, as `ip -d link` shows them, in text and JSON: words of iproute2 (`bridge_print_opt()`,
//! `bridge_slave_print_opt()`) are the keys of a topology.

use indexmap::IndexMap;
use toml::Value as Toml;

use crate::import::model::Model;
use crate::import::value::Value;
use crate::import::virtual_links;
use crate::net::link_option::{BRIDGE_OPTIONS, BRIDGE_PORT_OPTIONS};
use crate::net::option::{OptionRow, Wire};

/// Whose they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// A bridge's own.
    Bridge,
    /// Of its port.
    Port,
}

/// Words that have another one in a topology.
const SPELLINGS: [(&str, &str); 2] = [("mcast_fast_leave", "fastleave"), ("mcast_fastleave", "fastleave")];

/// Reads the words of a line, behind its first one.
pub fn words<'t>(device: &str, of: Of, mut words: impl Iterator<Item = &'t str>, model: &mut Model) {
    while let (Some(word), Some(value)) = (words.next(), words.next()) {
        // Attributes of every link follow.
        if ["addrgenmode", "numtxqueues"].contains(&word) {
            break;
        }
        set(device, of, word, value, model);
    }
}

/// Reads `info_data` or `info_slave_data`.
pub fn json(device: &str, of: Of, data: &Value, model: &mut Model) {
    for (key, value) in data.entries() {
        set(device, of, key, value.text().unwrap_or_default(), model);
    }
}

/// Keeps a value, unless it is what the kernel has without it.
fn set(device: &str, of: Of, word: &str, value: &str, model: &mut Model) {
    let key = SPELLINGS.iter().find(|(spelling, _)| *spelling == word).map_or(word, |(_, key)| key);
    let rows = if of == Of::Bridge { BRIDGE_OPTIONS } else { BRIDGE_PORT_OPTIONS };
    // A port's cost follows from its speed.
    let Some(row) = rows.iter().find(|row| row.key == key && row.key != "cost") else { return };
    let Some(value) = typed(row, value) else { return };
    let is_default = match &value {
        Toml::String(text) => text == row.default,
        // 31.25 s of a kernel with 250 ticks in a second.
        Toml::Integer(3124) if row.default == "3125" => true,
        other => other.to_string() == row.default,
    };
    if is_default {
        if let Some(link) = model.link(device) {
            options_of(link, of).shift_remove(row.key);
        }
    } else if row.key == "stp_state" {
        model.note(format!(
            "{device}: its spanning tree is not carried over: with it no port forwards for twice the forward_delay"
        ));
    } else if let Some(link) = model.link(device) {
        options_of(link, of).insert(row.key, value);
    }
}

fn options_of(link: &mut crate::import::model::Link, of: Of) -> &mut IndexMap<&'static str, Toml> {
    match of {
        Of::Bridge => &mut link.settings,
        Of::Port => &mut link.bridge_port,
    }
}

/// A value as the file has it.
fn typed(row: &OptionRow, value: &str) -> Option<Toml> {
    let lower = value.to_lowercase();
    match row.wire {
        Wire::Flag | Wire::Flag32 | Wire::BoolOption(_) => match lower.as_str() {
            "1" | "on" | "true" => Some(true.into()),
            "0" | "off" | "false" => Some(false.into()),
            _ => None,
        },
        Wire::Word8(words) | Wire::Word32(words) | Wire::Word16Be(words) => {
            let is_one = |(number, word): &&(u32, &str)| {
                word.eq_ignore_ascii_case(value) || number.to_string() == lower
            };
            words.iter().find(is_one).map(|(_, word)| (*word).into())
        }
        Wire::Mac => lower.parse::<crate::net::address::Mac>().ok().map(|mac| mac.to_string().into()),
        Wire::U64 => {
            let (least, most) = row.range?;
            lower.parse::<i64>().ok().filter(|number| (least..=most).contains(number)).map(Toml::Integer)
        }
        _ => virtual_links::typed(row, value),
    }
}
