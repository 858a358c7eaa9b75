//! Links that have nothing but options, a parent and ports: what each cannot do without, and who is at the other end.

use std::net::IpAddr;

use indexmap::IndexMap;

use crate::net::link::{Link, LinkKind, Virtual};
use crate::net::link_extras::{Macsec, Team};
use crate::net::link_option::words::{TeamMode, VirtualKind};
use crate::net::name::{DeviceRef, NsName};
use crate::net::option::Value;
use crate::topology::check::{Checker, extras};
use crate::topology::file::{NsTable, TopologyFile, VirtualTable};
use crate::topology::parse::document::NOWHERE;

/// What it is, with its ports and its parent.
pub fn kind(ns: &NsName, table: &VirtualTable<'_>, checker: &mut Checker<'_>) -> LinkKind {
    for port in table.ports {
        checker.device_in(ns, port);
    }
    if let Some(parent) = table.parent {
        checker.parent(ns, parent);
        // IFLA_VXLAN_LINK and its like are numbers of the namespace that is asked.
        if parent.value.ns.as_ref().is_some_and(|other| other != ns) {
            let message = format!("a {} stands on a device of its own namespace", table.kind);
            checker.problem(&parent.span, message, "name a device of this namespace");
        }
    }
    required(table, checker);
    LinkKind::Virtual(Virtual {
        kind: table.kind,
        parent: table.parent.map(|parent| parent.value.seen_from(ns)),
        ports: table.ports.iter().map(|port| port.value.clone()).collect(),
    })
}

/// What the kernel refuses to be without, or takes in one form only.
fn required(table: &VirtualTable<'_>, checker: &mut Checker<'_>) {
    let written = |key: &str| table.written.iter().find(|one| one.row.key == key);
    let lost = |checker: &Checker<'_>, key: &str| checker.lost.field(&table.name.span, key);
    let is_external = written("external").is_some_and(|one| one.value == Value::Number(1));
    let needed = match table.kind {
        VirtualKind::Vrf => Some("table"),
        VirtualKind::Vxlan | VirtualKind::Geneve if !is_external => Some("id"),
        _ => None,
    };
    if let Some(key) = needed.filter(|key| written(key).is_none() && !lost(checker, key)) {
        let message = format!("a {} without `{key}`", table.kind);
        checker.problem(&table.name.span, message, format!("add it, for example: {key} = 10"));
    }
    for [one, other] in
        [["remote", "remote6"], ["local", "local6"], ["remote", "local6"], ["local", "remote6"]]
    {
        if let (Some(_), Some(second)) = (written(one), written(other)) {
            let message = format!("`{one}` with `{other}`");
            checker.problem(
                &second.span,
                message,
                "a tunnel is of IPv4 or of IPv6: give both ends of one family",
            );
        }
    }
    if table.kind == VirtualKind::Geneve
        && !is_external
        && ["remote", "remote6"].iter().all(|key| written(key).is_none())
    {
        // geneve_newlink(): EINVAL without a remote.
        let message = "a geneve without `remote`";
        checker.problem(&table.name.span, message, "add it, for example: remote = \"192.0.2.2\"");
    }
    if table.kind == VirtualKind::Macsec {
        extras::macsec_agrees(&table.written, checker);
    }
}

/// A multicast group needs the device that it is joined on.
pub fn groups(ns: &NsName, table: &NsTable, checker: &mut Checker<'_>) {
    for (name, vxlan) in &table.vxlan {
        let v4 = vxlan.remote.as_ref().map(|at| (IpAddr::V4(at.value), &at.span));
        let v6 = vxlan.remote6.as_ref().map(|at| (IpAddr::V6(at.value), &at.span));
        if let Some((group, span)) = v4.or(v6)
            && group.is_multicast()
            && vxlan.parent.is_none()
            && !checker.lost.field(&name.span, "parent")
        {
            let message = format!("{ns}:{} has the group {group} and no device to join it on", name.value);
            checker.problem(span, message, "the kernel refuses it: add `parent`");
        }
    }
}

/// Keys and modes that are no options of the message: once all links are known.
pub fn finish(file: &TopologyFile, links: &mut IndexMap<DeviceRef, Link>, checker: &mut Checker<'_>) {
    for (ns, table) in &file.ns {
        groups(&ns.value, table, checker);
        for (name, macsec) in &table.macsec {
            let device = DeviceRef::new(&ns.value, &name.value);
            let far = file.ns.iter().filter(|(ns, _)| ns.value == macsec.peer.value.ns);
            let far = far
                .flat_map(|(_, table)| &table.macsec)
                .find(|(name, _)| name.value == macsec.peer.value.name);
            let cipher = macsec.cipher.as_ref().map_or(16, |cipher| cipher.value.key_bytes());
            if macsec.key.span != NOWHERE && macsec.key.value.0.len() != cipher {
                let message = format!("a key of {} bytes", macsec.key.value.0.len());
                let hint = format!("the cipher takes {cipher}: {} hexadecimal digits", 2 * cipher);
                checker.problem(&macsec.key.span, message, hint);
            }
            let Some((_, far)) = far else {
                if macsec.peer.span != NOWHERE && !checker.lost.name(macsec.peer.value.name.as_str()) {
                    let message = format!("{} is no macsec", macsec.peer.value);
                    checker.problem(&macsec.peer.span, message, "name the MACsec device at the other end");
                }
                continue;
            };
            if far.key.value != macsec.key.value && far.key.span != NOWHERE && macsec.key.span != NOWHERE {
                let message = format!("{} has another key", macsec.peer.value);
                checker.problem(&macsec.key.span, message, "both ends have one key");
            }
            let (peer_port, peer_sa) = (
                far.port.as_ref().map_or(1, |at| at.value),
                far.encodingsa.as_ref().map_or(0, |at| at.value),
            );
            if let Some(link) = links.get_mut(&device) {
                let (peer, key) = (macsec.peer.value.clone(), macsec.key.value.clone());
                link.extras.macsec = Some(Macsec { peer, peer_port, peer_sa, key });
            }
        }
        for (name, team) in &table.team {
            let mode = team.mode.value;
            if let Some(port) = &team.active_port {
                if !team.ports.iter().any(|known| known.value == port.value) {
                    checker.problem(
                        &port.span,
                        format!("`{}` is not a port of this team", port.value),
                        "add it to `ports`",
                    );
                } else if mode != TeamMode::ActiveBackup {
                    let message = format!("`active_port` has no meaning in mode {mode}");
                    checker.problem(&port.span, message, "use it with activebackup");
                }
            }
            if let Some(link) = links.get_mut(&DeviceRef::new(&ns.value, &name.value)) {
                let active_port = team.active_port.as_ref().map(|port| port.value.clone());
                link.extras.team = Some(Team { mode, active_port });
            }
        }
    }
}
