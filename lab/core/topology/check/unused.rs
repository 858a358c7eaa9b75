//! What a file has and nothing uses: most often a name that was mistyped elsewhere, or a step that was forgotten.

use std::collections::BTreeSet;

use crate::topology::Topology;
use crate::topology::check::Checker;
use crate::topology::check::scenario::FILE;
use crate::topology::file::{At, ConditionTable, TopologyFile};

/// Notes a topology without a link, and all flows, faults and captures that nothing uses.
///
/// To be asked of a file that has no other mistake: what is unused may be so because of one.
pub fn check(file: &TopologyFile, topology: &Topology, checker: &mut Checker<'_>) {
    if topology.links.is_empty() {
        let hint = "add a link, as [ns.NAME.veth.DEVICE] with its `peer`";
        checker.problem(&FILE, "a topology without a link", hint);
        return;
    }
    let steps = || file.step.iter().map(|step| &step.value);
    let floods = file.report.iter().flat_map(|report| &report.value.floods);
    let sent = names(steps().filter_map(|step| step.flood.as_ref()).chain(floods));
    for name in file.flow.keys().filter(|name| !sent.contains(name.value.as_str())) {
        let hint = "send it, with a [[step]] `flood` or in the report's `floods`, or remove it";
        checker.problem(&name.span, format!("flow `{}` is never sent", name.value), hint);
    }
    let explained = file.hypothesis.values().flat_map(|hypothesis| &hypothesis.inject);
    let breaking = file.expect.iter().filter_map(|condition| condition.value.broken_by.as_ref());
    let injected = names(steps().filter_map(|step| step.inject.as_ref()).chain(explained).chain(breaking));
    let faults = file.fault.names();
    for name in faults.into_iter().filter(|name| !injected.contains(name.value.as_str())) {
        let hint = "use it, with `inject` of a [[step]] or hypothesis or as `broken_by`, or remove it";
        checker.problem(&name.span, format!("fault `{}` is never injected", name.value), hint);
    }
    captures(file, checker);
}

/// Each is counted in every trial and is in the result, whether or not a condition asks for it. What no condition asks for has
/// to say that it is for the result alone: otherwise it looks as if the count were checked.
fn captures(file: &TopologyFile, checker: &mut Checker<'_>) {
    let nothing_happens = file.step.is_empty() && file.report.is_none();
    let asked = conditions(file).filter_map(|condition| condition.capture.as_ref());
    let asked = names(asked);
    for (name, table) in &file.capture {
        if nothing_happens {
            let message = format!("capture `{}` counts nothing: nothing happens", name.value);
            checker.problem(&name.span, message, "add a [[step]], or remove it");
        } else if !asked.contains(name.value.as_str()) && table.recorded != Some(true) {
            let message = format!("capture `{}` is in no condition", name.value);
            let hint = "name it in an [[expect]], an evidence or a `wait`, or say that it is for the result alone: recorded = true";
            checker.problem(&name.span, message, hint);
        }
    }
}

/// Every condition of a file.
fn conditions(file: &TopologyFile) -> impl Iterator<Item = &ConditionTable> {
    let waits = file.step.iter().filter_map(|step| step.value.wait.as_ref());
    let evidence = file.report.iter().flat_map(|report| &report.value.evidence);
    let of_hypotheses = file.hypothesis.values().filter_map(|hypothesis| hypothesis.wait.as_ref());
    let all = file.expect.iter().chain(waits).chain(evidence).chain(of_hypotheses);
    all.map(|condition| &condition.value)
}

fn names<'f>(all: impl Iterator<Item = &'f At<String>>) -> BTreeSet<&'f str> {
    all.map(|name| name.value.as_str()).collect()
}
