//! `bridge link`, `bridge vlan` and `bridge fdb`, as text and as JSON. Which ports a bridge has is also in the lines that `bridge
//! link` shares with `ip link`.

use crate::import::model::{Model, PortVlan};
use crate::import::text::{Line, after, command};
use crate::import::value::Value;
use crate::net::address::Mac;
use crate::net::name::IfName;

/// Reads all that is there.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    let mut table: Option<Option<IfName>> = None;
    for line in lines {
        let text = line.text.trim();
        if line.begins {
            table = None;
            if command(line.text).is_some() {
                continue;
            }
        }
        if is_heading(text) {
            model.found("bridge vlan", line.number);
            table = Some(None);
            continue;
        }
        if let Some(port) = &mut table {
            if row(line.text, port, model) {
                continue;
            }
            if !text.is_empty() && text != "None" {
                table = None;
            }
        }
        if text.contains("> mtu ") && text.contains(" state ") && text.contains(" priority ") {
            model.found("bridge link", line.number);
            let name = text.split_once(": ").and_then(|(_, rest)| rest.split([':', '@']).next());
            state(name.unwrap_or_default(), after(text, "state").unwrap_or_default(), model);
        } else if is_entry(text) {
            model.found("bridge fdb", line.number);
            entries_seen(model);
        }
    }
}

/// `port  vlan-id`, and before iproute2 5.5 `port  vlan ids`.
fn is_heading(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    matches!(words[..], ["port", "vlan-id"] | ["port", "vlan", "ids"])
}

/// `eth0  1 PVID Egress Untagged`, and the port's other VLANs on lines of their own. Whether it was one.
fn row(line: &str, port: &mut Option<IfName>, model: &mut Model) -> bool {
    let mut words = line.split_whitespace();
    let Some(mut first) = words.next() else { return true };
    if !line.starts_with([' ', '\t']) {
        let Ok(name) = first.parse::<IfName>() else { return false };
        // A heading of `lab capture` begins with signs that a name might have, too.
        if words.clone().next().is_some_and(|word| word != "None" && range(word).is_none()) {
            return false;
        }
        if model.link(name.as_str()).is_none() {
            return false;
        }
        *port = Some(name);
        match words.next() {
            Some(word) => first = word,
            None => return true,
        }
    }
    let (Some(port), Some(range)) = (&port, range(first)) else { return first == "None" };
    let words: Vec<&str> = words.collect();
    let one = PortVlan { pvid: words.contains(&"PVID"), untagged: words.contains(&"Untagged") };
    told(port, range, one, model);
    true
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last <= 4095).then_some((first, last))
}

/// VLANs of all ports together, at the most: a full table of each, written twice.
const VLANS_MAX: usize = 2 * 512 * 4094;

/// A port has VLANs.
pub fn told(port: &IfName, (first, last): (u16, u16), one: PortVlan, model: &mut Model) {
    let ids = first.max(1)..=last.min(4094);
    if model.vlans_read + ids.len() > VLANS_MAX {
        model.note("tables of VLANs: there are too many rows; those of the first ports are read");
    } else if model.bridge_vlans.len() < 512 || model.bridge_vlans.contains_key(port) {
        model.vlans_read += ids.len();
        model.bridge_vlans.entry(port.clone()).or_default().extend(ids.map(|id| (id, one)));
    }
}

/// What `bridge-vids` of ifupdown2 says: `2-4094`, `10 20`.
pub fn told_all(port: &str, text: &str, model: &mut Model) {
    let Ok(port) = port.parse::<IfName>() else { return };
    for range in text.split([' ', ',']).filter_map(range).take(4095) {
        told(&port, range, PortVlan::default(), model);
    }
}

fn state(name: &str, state: &str, model: &mut Model) {
    if matches!(state, "blocking" | "listening" | "learning" | "disabled") {
        model.note(format!("{name}: its bridge has it {state}; bridges of topologies have no spanning tree"));
    }
}

/// `00:00:5e:00:53:01 dev eth0 vlan 70 master br0 static`.
fn is_entry(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let is_mac = words.next().is_some_and(|word| word.parse::<Mac>().is_ok());
    is_mac && words.next() == Some("dev") && words.next().is_some()
}

fn entries_seen(model: &mut Model) {
    model.note("entries of bridge fdb: a bridge learns them again from the frames of the run");
}

/// Whether a document is of this format.
pub fn is_known(value: &Value) -> bool {
    value.items().iter().any(|item| is_table(item) || is_entry_json(item))
}

fn is_table(item: &Value) -> bool {
    item.get("ifname").is_some() && item.items_of("vlans").iter().any(|vlan| vlan.get("vlan").is_some())
}

fn is_entry_json(item: &Value) -> bool {
    item.get("mac").is_some() && item.get("ifname").is_some()
}

/// Reads a document.
pub fn read_json(value: &Value, line: usize, model: &mut Model) {
    for item in value.items() {
        if is_entry_json(item) {
            model.found("bridge -j fdb", line);
            entries_seen(model);
        }
        let Some(name) = item.text_of("ifname").filter(|_| is_table(item)) else { continue };
        model.found("bridge -j vlan", line);
        let Ok(port) = name.parse::<IfName>() else { continue };
        if model.link(name).is_none() {
            continue;
        }
        for vlan in item.items_of("vlans") {
            let first: Option<u16> = vlan.number_of("vlan");
            let last = vlan.number_of("vlanEnd").or(first);
            if let (Some(first), Some(last)) = (first, last)
                && first <= last
            {
                let has = |word: &str| vlan.texts_of("flags").any(|flag| flag.contains(word));
                let one = PortVlan { pvid: has("PVID"), untagged: has("Untagged") };
                told(&port, (first, last), one, model);
            }
        }
    }
}
