//! `/proc/net/vlan/config` and `/proc/net/vlan/NAME` (net/8021q/vlanproc.c).

use crate::import::model::{Kind, Model};
use crate::import::text::{Line, after};

/// Reads all that is there.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    let mut current: Option<String> = None;
    for line in lines {
        if line.begins {
            current = None;
        }
        let text = line.text.trim();
        let columns: Vec<&str> = text.split('|').map(str::trim).collect();
        if let [name, id, parent] = columns[..]
            && let Ok(id) = id.parse()
            && !name.contains(' ')
        {
            model.found("/proc/net/vlan", line.number);
            vlan(name, id, Some(parent), model);
        } else if let Some(id) = after(text, "VID:").and_then(|id| id.parse().ok()) {
            model.found("/proc/net/vlan", line.number);
            current = text.split_whitespace().next().map(str::to_owned);
            if let Some(name) = &current {
                vlan(name, id, None, model);
            }
        } else if let Some(name) = &current
            && !of_device(name, text, model)
        {
            current = None;
        }
    }
}

fn vlan(name: &str, id: u16, parent: Option<&str>, model: &mut Model) {
    let Some(link) = model.link(name) else { return };
    link.kind = Kind::Vlan;
    link.vlan_id = Some(id);
    if let Some(parent) = parent.and_then(|parent| parent.parse().ok()) {
        link.parent = Some(parent);
    }
}

/// Whether more of the device may follow. Its parent is the last that is read (`vlandev_seq_show()`): `lspci` has a `Device:`, too.
fn of_device(name: &str, text: &str, model: &mut Model) -> bool {
    if let Some(parent) = text.strip_prefix("Device:") {
        if let (Some(link), Ok(parent)) = (model.link(name), parent.trim().parse()) {
            link.parent = Some(parent);
        }
        return false;
    }
    if let Some(sent) = text.strip_prefix("total frames transmitted").and_then(|n| n.trim().parse().ok())
        && let Some(link) = model.link(name)
    {
        link.counters.insert("tx_packets", sent);
    }
    true
}
