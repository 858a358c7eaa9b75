//! What a file has and nothing uses: most often a name that was mistyped elsewhere, or a step that was forgotten.

use std::collections::BTreeSet;

use crate::topology::Topology;
use crate::topology::check::Checker;
use crate::topology::check::scenario::FILE;
use crate::topology::file::{At, ConditionTable, TopologyFile};

/// What can be used: its word in messages, and the keys that use it.
struct Kind {
    word: &'static str,
    keys: &'static [&'static str],
}

const FLOWS: Kind = Kind { word: "flow", keys: &["flood", "floods"] };
const FAULTS: Kind = Kind { word: "fault", keys: &["inject", "broken_by"] };
const CAPTURES: Kind = Kind { word: "capture", keys: &["capture"] };

/// Notes a topology without a link, and all flows, faults and captures that nothing uses.
///
/// To be asked last: what another mistake of the file leaves unused is a consequence of that mistake, and not noted.
pub fn check(file: &TopologyFile, topology: &Topology, checker: &mut Checker<'_>) {
    if topology.links.is_empty() && checker.problems.is_empty() {
        let hint = "add a link, as [ns.NAME.veth.DEVICE] with its `peer`";
        checker.problem(&FILE, "a topology without a link", hint);
        return;
    }
    let steps = || file.step.iter().map(|step| &step.value);
    let floods = file.report.iter().flat_map(|report| &report.value.floods);
    let sent = names(steps().filter_map(|step| step.flood.as_ref()).chain(floods));
    for name in unused(file.flow.keys(), &sent, &FLOWS, checker) {
        let hint = "send it, with a [[step]] `flood` or in the report's `floods`, or remove it";
        checker.problem(&name.span, format!("flow `{}` is never sent", name.value), hint);
    }
    let explained = file.hypothesis.values().flat_map(|hypothesis| &hypothesis.inject);
    let breaking = file.expect.iter().filter_map(|condition| condition.value.broken_by.as_ref());
    let injected = names(steps().filter_map(|step| step.inject.as_ref()).chain(explained).chain(breaking));
    let faults = file.fault.names();
    for name in unused(faults, &injected, &FAULTS, checker) {
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
    let unasked: BTreeSet<_> =
        unused(file.capture.keys(), &asked, &CAPTURES, checker).into_iter().map(|name| &name.value).collect();
    for (name, table) in &file.capture {
        if nothing_happens {
            let message = format!("capture `{}` counts nothing: nothing happens", name.value);
            checker.problem(&name.span, message, "add a [[step]], or remove it");
        } else if unasked.contains(&name.value) && table.recorded != Some(true) {
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

/// What of `all` is not `used`, without what a mistake elsewhere may be the reason of: a use that could not be read, or a name
/// that leads nowhere and may have meant it.
fn unused<'f>(
    all: impl IntoIterator<Item = &'f At<String>>,
    used: &BTreeSet<&str>,
    kind: &Kind,
    checker: &Checker<'_>,
) -> Vec<&'f At<String>> {
    let mistyped =
        checker.dangling.iter().filter(|(what, _)| what == kind.word).map(|(_, nearest)| nearest.as_ref());
    let mistyped: Option<Vec<&String>> = mistyped.collect();
    let Some(mistyped) = mistyped else { return Vec::new() };
    let is_explained = |name: &&At<String>| {
        mistyped.contains(&&name.value) || checker.lost.may_mention(&name.value, kind.keys)
    };
    all.into_iter().filter(|name| !used.contains(name.value.as_str()) && !is_explained(name)).collect()
}
