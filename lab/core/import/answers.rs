//! Devices that something came back to: a ping that got an answer, a neighbour that was found, counters of both directions. Frames
//! are sent to them, too.

use crate::import::flows::is_sender;
use crate::import::model::{Kind, Model, Place, Seen};
use crate::net::address::Cidr;
use crate::net::link_option::words::VirtualKind;
use crate::net::name::IfName;

/// By what a text shows it; `None` if it does not.
pub fn shown(model: &Model, name: &IfName) -> Option<&'static str> {
    let works =
        |seen: &Seen| matches!(seen, Seen::Works(known) | Seen::UntaggedWorks(known) if known == name);
    if model.seen.iter().any(works) {
        return Some("it is said to work");
    }
    if model.neighbours.iter().any(|entry| entry.dev == *name && entry.has_answered == Some(true)) {
        return Some("a neighbour has answered it");
    }
    let counters = &model.links.get(name)?.counters;
    let counts = |counter: &str| counters.get(counter).is_some_and(|count| *count > 0);
    (counts("rx_packets") && counts("tx_packets")).then_some("its counters show frames of both directions")
}

/// Gives those an address that have none because the text shows no addresses at all: a ping needs one.
pub fn settle(model: &mut Model) {
    if model.links.values().any(|link| !link.addresses.is_empty()) {
        return;
    }
    let is_in_vrf = |name: &IfName| {
        let owner = model.links[name].controller.as_ref().and_then(|owner| model.links.get(owner));
        owner.is_some_and(|owner| owner.is(VirtualKind::Vrf))
    };
    let takes_one = |name: &IfName| {
        let link = &model.links[name];
        let kind =
            link.is_bundle() || matches!(link.kind, Kind::Nic | Kind::Vlan | Kind::Bridge | Kind::Macvlan);
        kind && link.place == Place::Node && is_sender(model, name, link) && !is_in_vrf(name)
    };
    let names: Vec<IfName> = model.links.keys().filter(|name| takes_one(name)).cloned().collect();
    for (number, name) in names.into_iter().enumerate() {
        let Some(why) = shown(model, &name) else { continue };
        // The upper half of 198.18.0.0/15, which is for benchmarks (RFC 2544); the gateway's made-up networks are in the lower one.
        let cidr: Option<Cidr> = format!("198.19.{}.2/24", number % 256).parse().ok();
        let Some((link, cidr)) = model.links.get_mut(&name).zip(cidr) else { continue };
        link.addresses.push(cidr);
        model.note(format!("{name}: its address {cidr} is made up for pings both ways: {why}"));
    }
}
