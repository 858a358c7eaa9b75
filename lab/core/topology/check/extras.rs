//! What is asked of a link beside its kind: options against their rows, features, sysctls, VLANs of bridge ports, entries of
//! forwarding databases.

use std::collections::BTreeSet;
use std::ops::Range;

use indexmap::IndexMap;

use crate::net::link::{Link, LinkKind};
use crate::net::link_extras::{BridgePort, Extras, FdbEntry, Filter, FilterAction, LinkSysctl, PortVlan};
use crate::net::link_option::Settings;
use crate::net::mdb::{self, Group, MdbEntry};
use crate::net::mode::MacvlanMode;
use crate::net::name::{DeviceRef, IfName, NsName};
use crate::net::option::Value;
use crate::topology::check::Checker;
use crate::topology::fault::Hook;
use crate::topology::file::{
    At, BridgeTable, FilterTable, LinkAttributes, MacvlanTable, MdbTable, PortVlanTable, SkbeditTable,
    TopologyFile, Written,
};

/// Addresses of a macvlan in source mode. Each is a search in the kernel's table of 256 lists (MACVLAN_HASH_SIZE).
const SOURCES_MAX: usize = 256;

/// Bits of group_fwd_mask that a bridge refuses, and its port (BR_GROUPFWD_RESTRICTED, BR_GROUPFWD_MACPAUSE).
const BRIDGE_RESTRICTED: i64 = 0b0111;
const PORT_RESTRICTED: i64 = 0b0010;

/// What every link has beside address, MTU and queue.
pub fn common(kind: &LinkKind, attributes: &LinkAttributes<'_>, checker: &mut Checker<'_>) -> Extras {
    for written in attributes.common.iter().filter(|written| !takes(kind, written)) {
        let message = format!("`{}` has no meaning for a {}", written.row.key, kind.word());
        let hint = "only a link that netlink makes has as many queues as it is made with";
        checker.problem(&written.span, message, hint);
    }
    let features = attributes.features.into_iter().flatten();
    let sysctl = |(name, value): (&At<_>, &_)| LinkSysctl {
        name: Clone::clone(&name.value),
        value: Clone::clone(value),
    };
    Extras {
        common: settings(&attributes.common, checker),
        features: features.map(|(name, on)| (name.value.clone(), *on)).collect(),
        sysctls: attributes.sysctl.into_iter().flatten().map(sysctl).collect(),
        ..Extras::default()
    }
}

/// Whether a kind of link takes an option that all have: what netlink does not make has its queues from its driver.
fn takes(kind: &LinkKind, written: &Written) -> bool {
    let is_made = kind.info_kind().is_some() && !matches!(kind, LinkKind::Tun(_));
    is_made || !matches!(written.row.key, "numtxqueues" | "numrxqueues")
}

/// Options against their rows.
pub fn settings(written: &[Written], checker: &mut Checker<'_>) -> Settings {
    for Written { row, value, span } in written {
        match value {
            Value::Number(number) => {
                if let Some((low, high)) = row.range.filter(|(low, high)| !(low..=high).contains(&number)) {
                    let message = format!("{} {number} is out of range: {low} to {high}", row.key);
                    checker.problem(span, message, "the kernel refuses it");
                }
            }
            Value::PriorityMap(map) => {
                // vlan_dev_set_ingress_priority() keeps the lower three bits, vlan_dev_set_egress_priority() shifts them.
                let is_ingress = row.key == "ingress_qos_map";
                for (from, to) in &map.0 {
                    let of_tag = if is_ingress { from } else { to };
                    if *of_tag > 7 {
                        let message = format!("{} {from}:{to}: a tag's priority is 0 to 7", row.key);
                        let hint = "the tag's priority is the first number on the way in, and the second on the way out";
                        checker.problem(span, message, hint);
                    } else if *to == 0 {
                        let message = format!("{} {from}:0 asks for what is so without it", row.key);
                        checker.problem(span, message, "remove it: the kernel does not show it");
                    }
                }
            }
            Value::Macs(all) if !(1..=SOURCES_MAX).contains(&all.len()) => {
                let message = format!("{} addresses are out of range: 1 to {SOURCES_MAX}", all.len());
                checker.problem(span, message, "leave the key away for none");
            }
            _ => {}
        }
    }
    Settings(written.iter().map(|written| (written.row.key.to_owned(), written.value.clone())).collect())
}

/// Options of a macvlan that only one mode takes.
pub fn macvlan(table: &MacvlanTable, checker: &mut Checker<'_>) -> Settings {
    let written = table.written();
    let mode = table.mode.as_ref().map_or(MacvlanMode::Bridge, |mode| mode.value);
    for one in &written {
        let needed = match one.row.key {
            "nopromisc" => MacvlanMode::Passthru,
            "nodst" | "source_addresses" => MacvlanMode::Source,
            _ => continue,
        };
        if mode != needed {
            let message = format!("`{}` has no meaning in mode {mode}", one.row.key);
            checker.problem(&one.span, message, format!("use it with {needed}"));
        }
    }
    settings(&written, checker)
}

/// Options of a bridge and of its ports.
pub fn bridge(ns: &NsName, name: &At<IfName>, table: &BridgeTable, checker: &mut Checker<'_>) -> Extras {
    let written = table.written();
    masked(&written, BRIDGE_RESTRICTED, "STP, pause and LACP frames: ask a port for 4 (LACP)", checker);
    bpdu_address(&written, checker);
    let filters = table.vlan_filtering.unwrap_or(false);
    let mut ports = IndexMap::new();
    let lost = checker.lost.field(&name.span, "ports");
    for (port, asked) in &table.port {
        if !lost && !table.ports.iter().any(|known| known.value == port.value) {
            checker.problem(
                &port.span,
                format!("`{}` is not a port of this bridge", port.value),
                "add it to `ports`",
            );
        }
        let written = asked.written();
        masked(&written, PORT_RESTRICTED, "pause frames are for the cable alone (802.3x)", checker);
        let vlans = vlans(asked.vlans.as_deref(), checker);
        ports.insert(port.value.clone(), BridgePort { options: settings(&written, checker), vlans });
    }
    let ports_vlans = table.port.values().filter_map(|port| port.vlans.as_ref());
    if let Some(first) = table.vlans.iter().chain(ports_vlans).flatten().next()
        && !filters
        && !checker.lost.field(&name.span, "vlan_filtering")
    {
        let message = format!("the bridge {ns}:{} does not look at VLANs", name.value);
        checker.problem(&first.span, message, "add vlan_filtering = true to the bridge");
    }
    Extras {
        options: settings(&written, checker),
        ports,
        vlans: vlans(table.vlans.as_deref(), checker),
        ..Extras::default()
    }
}

fn masked(written: &[Written], restricted: i64, why: &str, checker: &mut Checker<'_>) {
    for one in written.iter().filter(|one| one.row.key == "group_fwd_mask") {
        if let Value::Number(mask) = one.value
            && mask & restricted != 0
        {
            let message = format!("group_fwd_mask {mask} has bits of {restricted}");
            checker.problem(&one.span, message, format!("the kernel refuses them: {why}"));
        }
    }
}

/// `br_changelink()` and store_group_addr(): an address that bridges do not forward, and none that another protocol has.
fn bpdu_address(written: &[Written], checker: &mut Checker<'_>) {
    for one in written.iter().filter(|one| one.row.key == "group_address") {
        let Value::Mac(mac) = one.value else { continue };
        let is_fit = mac.0[..5] == [0x01, 0x80, 0xc2, 0, 0] && mac.0[5] < 16 && !matches!(mac.0[5], 1..=3);
        if !is_fit {
            let message = format!("{mac} is no address for BPDUs");
            let hint = "the kernel takes 01:80:c2:00:00:0X, and not 01 to 03 (pause, LACP, 802.1X)";
            checker.problem(&one.span, message, hint);
        }
    }
}

/// VLANs of a port: ranges that do not overlap, and one PVID at the most.
fn vlans(tables: Option<&[At<PortVlanTable>]>, checker: &mut Checker<'_>) -> Option<Vec<PortVlan>> {
    let mut seen: BTreeSet<u16> = BTreeSet::new();
    let mut pvid: Option<u16> = None;
    let mut all = Vec::new();
    for table in tables? {
        let PortVlanTable { id, to, pvid: is_pvid, untagged } = &table.value;
        let last = to.as_ref().unwrap_or(id);
        let range = id.value.get()..=last.value.get();
        if range.is_empty() || id.value.get() == 0 {
            let message = format!("VLANs {} to {} are none", range.start(), range.end());
            checker.problem(&last.span, message, "a port's VLANs are 1 to 4094, the lower one first");
        }
        let twice = range.clone().find(|id| !seen.insert(*id));
        if let Some(id) = twice {
            checker.problem(&table.span, format!("VLAN {id} is there already"), "name it once");
        }
        if let Some(at) = is_pvid.as_ref().filter(|at| at.value) {
            if range.clone().count() > 1 {
                checker.problem(
                    &at.span,
                    "a range as PVID",
                    "untagged frames belong to one VLAN: name that one",
                );
            }
            if let Some(first) = pvid {
                let message = format!("VLAN {first} is the port's PVID already");
                checker.problem(&at.span, message, "untagged frames belong to one VLAN");
            }
            pvid = pvid.or(Some(*range.start()));
        }
        all.push(PortVlan {
            id: id.value,
            to: last.value,
            pvid: is_pvid.as_ref().is_some_and(|at| at.value),
            untagged: untagged.unwrap_or(false),
        });
    }
    Some(all)
}

/// Filters of a device; `checker` knows the devices of the namespace.
pub fn filters(ns: &NsName, attributes: &LinkAttributes<'_>, checker: &mut Checker<'_>) -> Vec<Filter> {
    let mut all = Vec::new();
    for table in attributes.filters {
        let FilterTable { hook, vlan, redirect, mirror, at, skbedit } = &table.value;
        let is_in = |hook: &Option<At<Hook>>| hook.as_ref().is_some_and(|hook| hook.value == Hook::Ingress);
        let action = match (redirect, mirror, skbedit) {
            (Some(to), None, None) | (None, Some(to), None) => {
                checker.device_in(ns, to);
                let copy = mirror.is_some();
                FilterAction::Mirred { to: to.value.clone(), ingress: is_in(at), copy }
            }
            (None, None, Some(asked)) => {
                let SkbeditTable { priority, mark, queue_mapping } = asked.value;
                let is_empty = priority.is_none() && mark.is_none() && queue_mapping.is_none();
                if is_empty && !checker.lost.any_field(&asked.span) {
                    let hint = "name a priority, mark or queue_mapping";
                    checker.problem(&asked.span, "a filter that changes nothing", hint);
                }
                if let Some(at) = at {
                    checker.problem(&at.span, "`at` has no meaning for skbedit", "it is the other device's");
                }
                FilterAction::Skbedit { priority, mark, queue: queue_mapping }
            }
            _ => {
                if !checker.lost.any_field(&table.span) {
                    let hint = "give it one of redirect, mirror and skbedit";
                    checker.problem(&table.span, "a filter with no action, or with more than one", hint);
                }
                continue;
            }
        };
        all.push(Filter { ingress: hook.value == Hook::Ingress, vlan: *vlan, action });
    }
    all
}

/// Entries of forwarding databases and filters, once all links are known.
pub fn forwarding(file: &TopologyFile, links: &mut IndexMap<DeviceRef, Link>, checker: &mut Checker<'_>) {
    for (ns, table) in &file.ns {
        for (name, entries) in table.links() {
            let device = DeviceRef::new(&ns.value, &name.value);
            let is_port = links
                .values()
                .any(|link| matches!(link.kind, LinkKind::Bridge { .. }) && link.has_port(&device));
            let Some(kind) = links.get(&device).map(|link| link.kind.word()) else { continue };
            let mut resolved = Vec::new();
            for entry in entries.fdb {
                checker.mac(&entry.value.mac);
                if let Some(wrong) =
                    unfit(kind, is_port, &entry.value.dst.as_ref().map(|dst| dst.span.clone()))
                {
                    let place = entry.value.dst.as_ref().map_or(&entry.span, |dst| &dst.span);
                    checker.problem(place, wrong.0, wrong.1);
                }
                resolved.push(FdbEntry {
                    mac: entry.value.mac.value.clone(),
                    vlan: entry.value.vlan,
                    dst: entry.value.dst.as_ref().map(|dst| dst.value),
                    of_controller: is_port && kind != "vxlan",
                    dynamic: entry.value.dynamic.unwrap_or(false),
                });
            }
            let mdb = multicast(kind, is_port, entries.mdb, checker);
            let filters = filters(&ns.value, &entries, checker);
            if let Some(link) = links.get_mut(&device) {
                link.extras.fdb = resolved;
                link.extras.mdb = mdb;
                link.extras.filters = filters;
            }
        }
    }
}

/// Entries of the multicast database at a device.
fn multicast(
    kind: &str,
    is_port: bool,
    entries: &[At<MdbTable>],
    checker: &mut Checker<'_>,
) -> Vec<MdbEntry> {
    if let Some(entry) = entries.first().filter(|_| !is_port && kind != "bridge") {
        let message = format!("a {kind} that is no port of a bridge has no multicast database");
        checker.problem(&entry.span, message, "name a bridge or a bridge's port");
    }
    entries.iter().map(|entry| mdb_entry(entry, checker)).collect()
}

/// One of them; of a step as well.
pub fn mdb_entry(entry: &At<MdbTable>, checker: &mut Checker<'_>) -> MdbEntry {
    let MdbTable { group, vlan, dynamic } = &entry.value;
    if let Some(why) = mdb::unfit(group.value) {
        let hint = "the kernel refuses the entry: give a group as \"239.0.0.1\", \"ff05::1\" or \"01:00:5e:00:00:01\"";
        checker.problem(&group.span, format!("{} {why}", group.value), hint);
    }
    // br_mdb_add_group(): "Only permanent L2 entries allowed".
    if matches!(group.value, Group::Ethernet(_)) && *dynamic == Some(true) {
        let message = format!("{} cannot age", group.value);
        checker.problem(
            &group.span,
            message,
            "the kernel takes only permanent entries of Ethernet addresses",
        );
    }
    MdbEntry { group: group.value, vlan: *vlan, dynamic: dynamic.unwrap_or(false) }
}

/// Why a device has no such entry.
fn unfit(kind: &str, is_port: bool, dst: &Option<Range<usize>>) -> Option<(String, &'static str)> {
    match (kind, dst) {
        ("vxlan", _) => None,
        (_, Some(_)) => {
            Some((format!("`dst` has no meaning for a {kind}"), "it is the other end of a VXLAN"))
        }
        ("bridge", None) => None,
        _ if is_port => None,
        _ => Some((
            format!("a {kind} that is no port of a bridge has no forwarding database"),
            "name a bridge, a bridge's port or a VXLAN",
        )),
    }
}

/// Options that are refused together, or are nothing without another.
pub fn macsec_agrees(written: &[Written], checker: &mut Checker<'_>) {
    let on = |key: &str| {
        written.iter().find(|one| one.row.key == key).is_some_and(|one| one.value != Value::Number(0))
    };
    let at = |key: &str| written.iter().find(|one| one.row.key == key).map(|one| one.span.clone());
    // macsec_validate_attr(): EINVAL.
    if on("replay") && at("window").is_none() {
        let span = at("replay").expect("it is on");
        checker.problem(&span, "`replay` without `window`", "the kernel refuses it: window = 0 is in order");
    }
    let sends = at("send_sci").is_none() || on("send_sci");
    for key in ["end_station", "scb"].into_iter().filter(|key| on(key) && sends) {
        let span = at(key).expect("it is on");
        checker.problem(
            &span,
            format!("`{key}` with `send_sci`"),
            "the kernel refuses it: add send_sci = false",
        );
    }
}
