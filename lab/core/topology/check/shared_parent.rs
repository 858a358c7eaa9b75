//! ipvlan and macvlan: devices that share their parent's wire, and what the kernel has them share besides.

use std::collections::BTreeMap;

use crate::net::link::LinkKind;
use crate::net::mode::{IpvlanFlag, IpvlanMode, MacvlanMode};
use crate::net::name::{DeviceRef, NsName};
use crate::topology::check::Checker;
use crate::topology::file::{At, IpvlanTable, MacvlanTable, TopologyFile};
use crate::topology::parse::document::NOWHERE;

/// What an ipvlan is.
pub fn resolve_ipvlan(ns: &NsName, table: &IpvlanTable, checker: &mut Checker<'_>) -> LinkKind {
    checker.parent(ns, &table.parent);
    LinkKind::Ipvlan {
        parent: table.parent.value.seen_from(ns),
        mode: table.mode.as_ref().map_or(IpvlanMode::L2, |mode| mode.value),
        flag: table.flag.as_ref().map_or(IpvlanFlag::Bridge, |flag| flag.value),
    }
}

/// What a macvlan is.
pub fn resolve_macvlan(ns: &NsName, table: &MacvlanTable, checker: &mut Checker<'_>) -> LinkKind {
    checker.parent(ns, &table.parent);
    let mode = table.mode.as_ref().map_or(MacvlanMode::Bridge, |mode| mode.value);
    if let Some(mode) = table.mode.as_ref().filter(|_| mode == MacvlanMode::Passthru && table.mac.is_some()) {
        // macvlan_common_newlink() copies the parent's over it.
        checker.problem(
            &mode.span,
            "a passthru macvlan has its parent's Ethernet address",
            "take `mac` away",
        );
    }
    LinkKind::Macvlan { parent: table.parent.value.seen_from(ns), mode }
}

/// Checks what the devices of one parent have in common.
pub fn agree(file: &TopologyFile, checker: &mut Checker<'_>) {
    let mut ipvlans: BTreeMap<DeviceRef, (DeviceRef, IpvlanMode, IpvlanFlag)> = BTreeMap::new();
    let mut macvlans: BTreeMap<DeviceRef, (DeviceRef, MacvlanMode)> = BTreeMap::new();
    for (ns, table) in &file.ns {
        for (name, ipvlan) in table.ipvlan.iter().filter(|(_, ipvlan)| ipvlan.parent.span != NOWHERE) {
            let device = DeviceRef::new(&ns.value, &name.value);
            let parent = ipvlan.parent.value.seen_from(&ns.value);
            not_on_its_kind(file, &ipvlan.parent.span, &parent, "ipvlan", checker);
            let mode = ipvlan.mode.as_ref().map_or(IpvlanMode::L2, |mode| mode.value);
            let flag = ipvlan.flag.as_ref().map_or(IpvlanFlag::Bridge, |flag| flag.value);
            let (first, first_mode, first_flag) =
                ipvlans.entry(parent.clone()).or_insert_with(|| (device.clone(), mode, flag));
            // ipvlan_link_new(): mode and flags are the port's, "latest update overrides".
            if (*first_mode, *first_flag) != (mode, flag) {
                let message = format!("{first} has given {parent} mode {first_mode}, flag {first_flag}");
                let hint = "all ipvlans of a parent have one mode and one flag: the last one sets it for all";
                checker.problem(&ipvlan.parent.span, message, hint);
            }
        }
        for (name, macvlan) in table.macvlan.iter().filter(|(_, macvlan)| macvlan.parent.span != NOWHERE) {
            let device = DeviceRef::new(&ns.value, &name.value);
            let parent = macvlan.parent.value.seen_from(&ns.value);
            not_on_its_kind(file, &macvlan.parent.span, &parent, "macvlan", checker);
            let mode = macvlan.mode.as_ref().map_or(MacvlanMode::Bridge, |mode| mode.value);
            if let Some((first, first_mode)) = macvlans.get(&parent) {
                if [*first_mode, mode].contains(&MacvlanMode::Passthru) {
                    let message = format!("{parent} has the macvlan {first} already");
                    let hint = "a passthru macvlan is alone on its parent; the kernel answers EINVAL";
                    checker.problem(&macvlan.parent.span, message, hint);
                }
            } else {
                macvlans.insert(parent, (device, mode));
            }
        }
    }
}

/// A kernel that is asked for one on another of its kind puts it on that one's parent (`ipvlan_link_new()`,
/// `macvlan_common_newlink()`).
fn not_on_its_kind(
    file: &TopologyFile,
    span: &std::ops::Range<usize>,
    parent: &DeviceRef,
    kind: &str,
    checker: &mut Checker<'_>,
) {
    let is_of_kind = file.ns.iter().filter(|(ns, _)| ns.value == parent.ns).any(|(_, table)| match kind {
        "ipvlan" => table.ipvlan.keys().any(|name: &At<_>| name.value == parent.name),
        _ => table.macvlan.keys().any(|name: &At<_>| name.value == parent.name),
    });
    if is_of_kind {
        let message = format!("{parent} is {kind} itself");
        checker.problem(span, message, "the kernel would put it beside that: name the same parent as there");
    }
}
