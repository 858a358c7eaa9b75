//! Taps and tuns, and the programs that read them.

use indexmap::IndexMap;

use crate::net::link::{Link, LinkKind, Tun};
use crate::net::name::{DeviceRef, IfName};
use crate::topology::check::Checker;
use crate::topology::file::{At, LinkAttributes, NsTable, TopologyFile};
use crate::topology::parse::document::NOWHERE;
use crate::topology::parse::read::is_lost_name;

/// Those of one namespace.
pub fn links_of(table: &NsTable) -> Vec<(&At<IfName>, LinkKind, LinkAttributes<'_>)> {
    let kind = |is_tap, backpressure: Option<bool>, peer: &Option<At<DeviceRef>>| {
        let peer = peer.as_ref().map(|peer| peer.value.clone());
        LinkKind::Tun(Tun { is_tap, backpressure: backpressure.unwrap_or(false), peer })
    };
    let taps =
        table.tap.iter().map(|(name, tap)| (name, kind(true, tap.backpressure, &tap.peer), tap.attributes()));
    let tuns = table
        .tun
        .iter()
        .map(|(name, tun)| (name, kind(false, tun.backpressure, &tun.peer), tun.attributes()));
    taps.chain(tuns).collect()
}

/// Checks that the two devices of a program name each other, and are of one kind.
pub fn read_by_one_program(
    file: &TopologyFile,
    links: &IndexMap<DeviceRef, Link>,
    checker: &mut Checker<'_>,
) {
    for (ns, table) in &file.ns {
        let taps = table.tap.iter().map(|(name, tap)| (name, &tap.peer));
        let tuns = table.tun.iter().map(|(name, tun)| (name, &tun.peer));
        for (name, peer) in taps.chain(tuns) {
            let near = DeviceRef::new(&ns.value, &name.value);
            let Some(far) = peer.as_ref().filter(|far| far.span != NOWHERE) else { continue };
            if !is_lost_name(near.name.as_str()) {
                names_back(&near, far, links, checker);
            }
        }
    }
}

fn names_back(
    near: &DeviceRef,
    far: &At<DeviceRef>,
    links: &IndexMap<DeviceRef, Link>,
    checker: &mut Checker<'_>,
) {
    let Some(LinkKind::Tun(tun)) = links.get(near).map(|link| &link.kind) else { return };
    let word = if tun.is_tap { "tap" } else { "tun" };
    if far.value == *near {
        let hint = "name the device that gets what the program reads";
        checker.problem(&far.span, "a program that writes to the device that it reads", hint);
        return;
    }
    let Some(peer) = links.get(&far.value) else {
        if !checker.devices.contains_key(&far.value) {
            let message = format!("there is no device {}", far.value);
            let hint = format!("make it a `{word}` whose `peer` is {near}");
            checker.problem(&far.span, message, hint);
        }
        return;
    };
    let hint = "the two devices of a program must name each other";
    match &peer.kind {
        LinkKind::Tun(Tun { is_tap, .. }) if *is_tap != tun.is_tap => {
            let message = format!("{} is a {}, and {near} a {word}", far.value, peer.kind.word());
            let hint = "frames of a tap have an Ethernet header, those of a tun have none";
            checker.problem(&far.span, message, hint);
        }
        LinkKind::Tun(Tun { peer: Some(back), .. }) if back == near => {}
        LinkKind::Tun(Tun { peer: Some(back), .. }) => {
            let message = format!("{} is the peer of {back}, not of {near}", far.value);
            checker.problem(&far.span, message, hint);
        }
        LinkKind::Tun(_) => {
            checker.problem(&far.span, format!("{} names no peer", far.value), hint);
        }
        other => {
            let message = format!("{} is a {}, which no program reads", far.value, other.word());
            checker.problem(&far.span, message, format!("name a `{word}`"));
        }
    }
}
