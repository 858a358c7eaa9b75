//! `ip -br link` and `ip -br address`: a device in each line, with its state.

use crate::import::ip_text;
use crate::import::model::{Kind, Model};
use crate::import::text::Line;
use crate::net::address::{Cidr, Mac};
use crate::net::name::IfName;

/// States of devices (`oper_states` of iproute2).
const STATES: [&str; 7] = ["UP", "DOWN", "UNKNOWN", "LOWERLAYERDOWN", "DORMANT", "NOTPRESENT", "TESTING"];

/// Reads all that is there.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    // Without an address a line has two words, and might be of anything else.
    let mut is_table = false;
    for line in lines {
        is_table &= !line.begins;
        let words: Vec<&str> = line.words().take(64).collect();
        let Some(row) = Row::of(&words).filter(|row| is_table || row.is_sure()) else {
            is_table = false;
            continue;
        };
        if !is_table {
            model.found("ip -br", line.number);
        }
        is_table = true;
        row.keep(model);
    }
}

/// One line.
struct Row<'t> {
    name: &'t str,
    parent: Option<&'t str>,
    state: &'t str,
    mac: Option<Mac>,
    flags: &'t str,
    addresses: Vec<&'t str>,
}

impl<'t> Row<'t> {
    fn of(words: &[&'t str]) -> Option<Self> {
        let (&[name, state], rest) = words.split_first_chunk::<2>()?;
        let (name, parent) = name.split_once('@').map_or((name, None), |(name, parent)| (name, Some(parent)));
        if !STATES.contains(&state) || name.parse::<IfName>().is_err() {
            return None;
        }
        let mut row = Self { name, parent, state, mac: None, flags: "", addresses: Vec::new() };
        let mut rest = rest.iter().copied();
        while let Some(word) = rest.next() {
            if let Some(flags) = word.strip_prefix('<').and_then(|flags| flags.strip_suffix('>')) {
                row.flags = flags;
            } else if word.parse::<Cidr>().is_ok() {
                row.addresses.push(word);
            } else if word.contains(':') && word.bytes().all(|byte| byte == b':' || byte.is_ascii_hexdigit())
            {
                row.mac = word.parse().ok();
            } else if matches!(word, "metric" | "peer") {
                rest.next()?;
            } else {
                return None;
            }
        }
        Some(row)
    }

    /// Whether it can be nothing else.
    fn is_sure(&self) -> bool {
        !self.addresses.is_empty() || !self.flags.is_empty()
    }

    fn keep(&self, model: &mut Model) {
        if self.name == "lo" {
            return;
        }
        let Some(link) = model.link(self.name) else { return };
        let flags: Vec<&str> = self.flags.split(',').collect();
        if !self.flags.is_empty() {
            link.up = link.up.or(Some(flags.contains(&"UP")));
        }
        link.carrier = link.carrier.or(match self.state {
            "UP" => Some(true),
            "DOWN" | "LOWERLAYERDOWN" if flags.contains(&"NO-CARRIER") || self.flags.is_empty() => {
                Some(false)
            }
            _ => None,
        });
        link.mac = link.mac.or(self.mac);
        link.is_bond_port |= flags.contains(&"SLAVE");
        if let Some(parent) = self.parent {
            ip_text::above(self.name, parent, model);
        } else if flags.contains(&"MASTER") && !flags.contains(&"NOARP") {
            model.kind(self.name, Kind::Bond);
        }
        // A link-local address is made by the kernel.
        let own = self.addresses.iter().filter(|cidr| !cidr.starts_with("fe80:"));
        own.for_each(|cidr| model.address(self.name, cidr));
    }
}
