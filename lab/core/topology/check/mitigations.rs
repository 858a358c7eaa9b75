//! Attempted fixes, resolved and checked.

use crate::net::link::LinkKind;
use crate::net::name::DeviceRef;
use crate::topology::Topology;
use crate::topology::check::{Checker, qdiscs};
use crate::topology::file::{At, ChangeTable, TopologyFile};
use crate::topology::mitigation::{Change, Mitigation};

/// Resolves all fixes, in the order of the file.
pub fn resolve(file: &TopologyFile, topology: &Topology, checker: &mut Checker<'_>) -> Vec<Mitigation> {
    nothing_on_what_comes_later(topology, checker);
    let mut mitigations = Vec::new();
    for (name, table) in &file.mitigation {
        if table.steps.is_empty() && !checker.lost.field(&name.span, "steps") {
            let hint = "name what was tried in `steps`, for example { down = \"node:bond0.70\" }";
            checker.problem(&name.span, "a mitigation that changes nothing", hint);
        }
        let steps = table.steps.iter().filter_map(|step| resolve_change(step, topology, checker)).collect();
        mitigations.push(Mitigation { name: name.value.clone(), about: table.about.clone(), steps });
    }
    mitigations
}

/// A link of the topology cannot stand on one that is not made with it.
fn nothing_on_what_comes_later(topology: &Topology, checker: &mut Checker<'_>) {
    let is_later = |device: &DeviceRef| topology.links.get(device).is_some_and(|link| link.later);
    for link in topology.links.values().filter(|link| !link.later) {
        if let Some(below) = link.below().into_iter().find(is_later)
            && let Some(span) = checker.devices.get(&link.device).cloned()
        {
            let message = format!("{} stands on {below}, which is made later", link.device);
            checker.problem(
                &span,
                message,
                "a mitigation can create it there: { create = ..., parent = ... }",
            );
        }
    }
}

fn resolve_change(step: &At<ChangeTable>, topology: &Topology, checker: &mut Checker<'_>) -> Option<Change> {
    let ChangeTable { down, up, delete, create, parent, device, qdisc, txqueuelen, offload, on } =
        &step.value;
    let of_links = [down, up, delete, create];
    let of_device = [qdisc.is_some(), txqueuelen.is_some(), offload.is_some()];
    let verbs = of_links.iter().filter(|verb| verb.is_some()).count()
        + of_device.iter().filter(|given| **given).count();
    let belong = [
        (parent.is_some(), create.is_some(), "parent", "create"),
        (on.is_some(), offload.is_some(), "on", "offload"),
    ];
    if verbs != 1 {
        if !checker.lost.any_field(&step.span) {
            let hint =
                "one of: down, up, delete, create; or `device` with one of: qdisc, txqueuelen, offload";
            checker.problem(&step.span, "a step does exactly one thing", hint);
        }
        return None;
    }
    for (_, _, key, verb) in belong.into_iter().filter(|(given, belongs, ..)| *given && !belongs) {
        checker.problem(&step.span, format!("`{key}` without `{verb}`"), "remove it");
    }
    let needs_device = of_device.contains(&true);
    if needs_device != device.is_some() && !checker.lost.any_field(&step.span) {
        let hint = "`device` goes with qdisc, txqueuelen and offload, and with nothing else";
        let message = if needs_device { "which device?" } else { "`device` beside another verb" };
        checker.problem(&step.span, message, hint);
        return None;
    }
    for reference in of_links.into_iter().chain([parent, device]).flatten() {
        checker.device(reference);
    }
    let value = |at: &Option<At<DeviceRef>>| at.as_ref().map(|at| at.value.clone());
    if let Some(device) = create {
        return Some(create_change(device, parent.as_ref(), topology, checker));
    }
    let linked = value(down)
        .map(Change::Down)
        .or_else(|| value(up).map(Change::Up))
        .or_else(|| value(delete).map(Change::Delete));
    if linked.is_some() {
        return linked;
    }
    let device = value(device)?;
    match (qdisc, txqueuelen, offload) {
        (Some(table), ..) => qdiscs::resolve(table, checker).map(|qdisc| Change::Qdisc { device, qdisc }),
        (_, Some(len), _) => Some(Change::TxQueueLen { device, len: *len }),
        (_, _, offload) => {
            let on = on.unwrap_or(true);
            offload.map(|offload| Change::Offload { device, offload, on })
        }
    }
}

fn create_change(
    device: &At<DeviceRef>,
    parent: Option<&At<DeviceRef>>,
    topology: &Topology,
    checker: &mut Checker<'_>,
) -> Change {
    let kind = topology.links.get(&device.value).map(|link| &link.kind);
    match kind {
        Some(LinkKind::Veth { .. } | LinkKind::Bond(_) | LinkKind::Bridge { .. }) => {
            let message = format!("{} cannot be made again", device.value);
            checker.problem(&device.span, message, "a vlan, ipvlan, macvlan or dummy can");
        }
        Some(LinkKind::Dummy) => {
            if let Some(parent) = parent {
                checker.problem(&parent.span, format!("{} has no parent", device.value), "remove it");
            }
        }
        _ => {}
    }
    Change::Create { device: device.value.clone(), parent: parent.map(|parent| parent.value.clone()) }
}
