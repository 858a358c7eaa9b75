//! What a report shows beside counters and errnos: pings without an answer, and LACP bonds without a partner.

use crate::import::evidence::{Focus, Symptom};
use crate::import::far_end::is_dead;
use crate::import::flows::uplink_of;
use crate::import::model::{Kind, Model, Seen};
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
