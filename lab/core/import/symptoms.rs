//! What a report shows beside counters and errnos: pings without an answer, and LACP bonds without a partner.

use std::net::IpAddr;

use crate::import::answers;
use crate::import::evidence::{Focus, Symptom};
use crate::import::far_end::is_dead;
use crate::import::flows::uplink_of;
use crate::import::model::{Kind, Model, Neighbour, Seen};
use crate::net::name::IfName;

/// The longest frame that the lab sends, in bytes without FCS.
const FRAME_MAX: u32 = 1514;

/// The first device through which nothing gets an answer. One that works, too, worked at another time: that is a story, and no state.
pub fn silent(model: &mut Model) -> Option<(IfName, Symptom)> {
    let is_there = |name: &IfName| model.links.contains_key(name) && uplink_of(model, name).is_some();
    let works = |name: &IfName| {
        model.seen.iter().any(|seen| match seen {
            Seen::Works(known) | Seen::UntaggedWorks(known) => known == name,
            _ => false,
        })
    };
    let mut notes = Vec::new();
    let found = model.seen.iter().find_map(|seen| match seen {
        Seen::Silent(name) if is_there(name) && works(name) => {
            notes.push(format!("{name}: a ping got an answer, and another one none; no flow can stand for that"));
            None
        }
        Seen::Silent(name) if is_there(name) => Some((name.clone(), Symptom::Silence)),
        Seen::LargeSilent(name, payload) if is_there(name) => {
            let is_short = payload.saturating_add(14 + 20 + 8) <= FRAME_MAX;
            if !is_short {
                notes.push(format!(
                    "{name}: pings with {payload} bytes got no answer; flows have frames of {FRAME_MAX} bytes at the most"
                ));
            }
            is_short.then(|| (name.clone(), Symptom::LargeSilence(*payload)))
        }
        _ => None,
    });
    if found.is_some() {
        notes.push(
            "a ping without an answer is taken as lost on its way out; that the answer is lost is not tried"
                .into(),
        );
    }
    notes.into_iter().for_each(|note| model.note(note));
    found
}

/// An LACP bond whose ports have carrier, and that has no partner, or not with all of them.
pub fn alone(model: &Model) -> Option<(IfName, Symptom)> {
    let is_alone = |name: &IfName| {
        let link = &model.links[name];
        let ports = model.ports(name);
        let alive = ports.iter().filter(|port| {
            let port = &model.links[*port];
            port.kind == Kind::Nic && !is_dead(port)
        });
        let alive = alive.count();
        let is_lacp = link.options.get("mode").is_some_and(|mode| mode == "802.3ad");
        let is_short = link.aggregator_ports.is_some_and(|count| usize::from(count) < alive);
        is_lacp
            && link.up != Some(false)
            && alive > 0
            && uplink_of(model, name).as_ref() == Some(name)
            && (link.has_partner == Some(false) || is_short)
    };
    model.bonds().into_iter().find(is_alone).map(|bond| (bond, Symptom::NoPartner))
}

fn is_hop(model: &Model, address: IpAddr) -> bool {
    model.routes.iter().any(|route| route.via == Some(address))
}

/// A device by which the next hop of a route is looked for in vain, where no neighbour of it has answered, and no ping: frames that it
/// sends, or answers, are lost.
pub fn unresolved(model: &mut Model) -> Option<(IfName, Symptom)> {
    let found = model.neighbours.iter().find(|entry| {
        entry.has_answered == Some(false)
            && is_hop(model, entry.address)
            && answers::shown(model, &entry.dev).is_none()
            && model
                .links
                .get(&entry.dev)
                .is_some_and(|link| link.up != Some(false) && link.carrier != Some(false))
            && uplink_of(model, &entry.dev).is_some()
    });
    let Neighbour { address, dev, .. } = found?.clone();
    model.note(format!(
        "neighbour {address} of {dev}, which a route leads to, is not found: taken as frames that are lost on their way out"
    ));
    Some((dev, Symptom::Silence))
}

/// Neighbours that are not found, and that are no evidence of their own.
pub fn note_neighbours(model: &mut Model, focus: Option<&(IfName, Symptom)>) {
    let failed = model.neighbours.iter().filter(|entry| entry.has_answered == Some(false));
    let mut notes = Vec::new();
    for Neighbour { address, dev, .. } in failed {
        let works = answers::shown(model, dev);
        notes.push(match (focus, works) {
            // That is what shows it.
            (Some((focus, Symptom::Silence)), None) if focus == dev && is_hop(model, *address) => continue,
            (Some((focus, _)), None) if focus == dev => format!(
                "neighbour {address} of {dev} is not found: what loses the frames of {dev} loses requests for it, too; it is no evidence of its own"
            ),
            (_, Some(works)) => {
                format!("neighbour {address} of {dev} is not found, and {works}: it is no evidence, the machine may be off")
            }
            _ => format!("neighbour {address} of {dev} is not found: no evidence, the machine may be off"),
        });
    }
    notes.into_iter().for_each(|note| model.note(note));
}

/// What the topology is about, in a sentence.
pub fn about(focus: &Focus, has_choices: bool) -> String {
    let what = match focus.symptom {
        Symptom::Counted => format!("{} loses frames that are sent by it", focus.device),
        Symptom::Silence => format!("nothing that is sent by {} gets an answer", focus.device),
        Symptom::LargeSilence(payload) => {
            format!("nothing that is sent by {} with {payload} bytes of payload gets an answer", focus.device)
        }
        Symptom::NoPartner => format!("{} has no LACP partner that takes all of its ports", focus.device),
    };
    let settings = if has_choices { ", and settings of the switch" } else { "" };
    let explanations = format!("the explanations are the catalogue's{settings}");
    format!("Imported: {what}. The evidence is the text's, {explanations}.")
}
