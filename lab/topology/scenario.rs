//! The scenario part of a topology file: flows, faults, steps, conditions and hypotheses, resolved and checked.

use std::collections::BTreeSet;
use std::ops::Range;

use indexmap::IndexMap;

use super::Topology;
use super::check::{Checker, join, resolve_qdisc};
use super::file::{At, ConditionTable, FlowTable, HypothesisTable, ReportTable, StepTable, TopologyFile};
use crate::attribution::Layer;
use crate::link::DeviceRef;
use crate::scenario::{
    Bounds, Condition, DEVICE_COUNTERS, FRAMES_MAX, Fault, Flow, Hypothesis, QDISC_COUNTERS, Report,
    Scenario, Socket, Step, Subject,
};
use crate::wire::FRAME_LEN_MIN;

/// Length of the frame of a plain `ping`: 56 bytes of data, ICMP, IPv4 and Ethernet headers.
const FRAME_LEN_DEFAULT: usize = 98;

/// Flows or hypotheses of one topology: a plan numbers both, and the trials, in 16 bits.
const NUMBERED_MAX: usize = 10_000;

/// The place toml gives the file itself as a table.
const FILE: Range<usize> = 0..0;

/// Errnos that a send may end with: those of sendmsg(2), packet(7), udp(7), and what a driver may return.
const SEND_ERRNOS: [&str; 28] = [
    "EACCES",
    "EADDRNOTAVAIL",
    "EAFNOSUPPORT",
    "EAGAIN",
    "EBADF",
    "EBUSY",
    "ECONNREFUSED",
    "EDESTADDRREQ",
    "EFAULT",
    "EHOSTDOWN",
    "EHOSTUNREACH",
    "EINTR",
    "EINVAL",
    "EIO",
    "EMSGSIZE",
    "ENETDOWN",
    "ENETUNREACH",
    "ENOBUFS",
    "ENODEV",
    "ENOENT",
    "ENOMEM",
    "ENOSPC",
    "ENOTCONN",
    "ENXIO",
    "EOPNOTSUPP",
    "EPERM",
    "EPIPE",
    "ETIMEDOUT",
];

/// Resolves everything that happens on a topology.
pub fn resolve(file: &TopologyFile, topology: &Topology, checker: &mut Checker<'_>) -> Scenario {
    let mut scenario = Scenario::default();
    for (name, table) in &file.flow {
        scenario.flows.insert(name.value.clone(), resolve_flow(&name.value, table, topology, checker));
    }
    scenario.faults = resolve_faults(file, checker);
    scenario.steps = file.step.iter().filter_map(|step| resolve_step(step, &scenario, checker)).collect();
    flooded_once(file.step.iter().filter_map(|step| step.value.flood.as_ref()), checker);
    scenario.expect =
        file.expect.iter().filter_map(|condition| resolve_condition(condition, &scenario, checker)).collect();
    scenario.report = file.report.as_ref().map(|report| resolve_report(report, &scenario, checker));
    scenario.hypotheses = file
        .hypothesis
        .iter()
        .map(|(name, table)| resolve_hypothesis(name, table, scenario.report.is_some(), &scenario, checker))
        .collect();
    if let Some(expect) = file.expect.first()
        && file.step.is_empty()
        && !checker.lost.field(&FILE, "step")
    {
        let hint = "add a [[step]] before it";
        checker.problem(&expect.span, "something is expected, but nothing happens", hint);
    }
    bounded(file.flow.keys(), "flows", checker);
    bounded(file.hypothesis.keys(), "hypotheses", checker);
    scenario
}

/// Checks that everything of one kind has a number in the plan.
fn bounded<'a>(mut names: impl Iterator<Item = &'a At<String>>, what: &str, checker: &mut Checker<'_>) {
    if let Some(name) = names.nth(NUMBERED_MAX) {
        let message = format!("more than {NUMBERED_MAX} {what}");
        checker.problem(&name.span, message, "make two topologies of it");
    }
}

fn resolve_flow(name: &str, table: &FlowTable, topology: &Topology, checker: &mut Checker<'_>) -> Flow {
    checker.device(&table.from);
    checker.device(&table.to);
    if !(1..=FRAMES_MAX).contains(&table.frames.value) {
        let message = format!("{} frames are out of range: 1 to {FRAMES_MAX}", table.frames.value);
        checker.problem(&table.frames.span, message, "a thousand show most things");
    }
    let len_min = FRAME_LEN_MIN + if table.tag.is_some() { 4 } else { 0 };
    if let Some(len) = &table.len
        && !(len_min..=65549).contains(&len.value)
    {
        let message = format!("a frame of {} bytes is out of range: {len_min} to 65549", len.value);
        checker.problem(&len.span, message, "headers and the lab's number must fit");
    }
    let lacks_address = |device: &DeviceRef, checker: &Checker<'_>| {
        topology.links.contains_key(device)
            && topology.ipv4_of(device).is_none()
            && !checker.lost_of(device, "addresses")
    };
    if lacks_address(&table.to.value, checker) {
        let message = format!("{} has no IPv4 address to send to", table.to.value);
        checker.problem(&table.to.span, message, "give it one in `addresses`");
    }
    let socket = table.socket.unwrap_or(Socket::Packet);
    let through_ip = matches!(socket, Socket::Udp | Socket::UdpRecverr);
    if through_ip && lacks_address(&table.from.value, checker) {
        let message = format!("{} has no IPv4 address to send from", table.from.value);
        checker.problem(&table.from.span, message, "give it one in `addresses`, or use socket = \"packet\"");
    }
    if let Some(tag) = table.tag.as_ref().filter(|_| through_ip) {
        let hint = "use socket = \"packet\" with `tag`";
        checker.problem(&tag.span, "a UDP socket cannot write a tag", hint);
    }
    Flow {
        name: name.into(),
        from: table.from.value.clone(),
        to: table.to.value.clone(),
        socket,
        frames: table.frames.value,
        len: table.len.as_ref().map_or(FRAME_LEN_DEFAULT, |len| len.value),
        tag: table.tag.as_ref().map(|tag| tag.value),
    }
}

fn resolve_faults(file: &TopologyFile, checker: &mut Checker<'_>) -> IndexMap<String, Fault> {
    let mut found: Vec<(&At<String>, Option<Fault>)> = Vec::new();
    for (name, table) in &file.fault.qdisc {
        checker.device(&table.device);
        let device = table.device.value.clone();
        found.push((name, resolve_qdisc(&table.qdisc, checker).map(|qdisc| Fault::Qdisc { device, qdisc })));
    }
    for (name, table) in &file.fault.filter {
        checker.device(&table.device);
        let fault = Fault::Filter { device: table.device.value.clone(), hook: table.hook, vlan: table.vlan };
        found.push((name, Some(fault)));
    }
    for (name, table) in &file.fault.down {
        checker.device(&table.device);
        found.push((name, Some(Fault::Down { device: table.device.value.clone() })));
    }
    found.sort_by_key(|(name, _)| name.span.start);
    let mut faults = IndexMap::new();
    let mut names = BTreeSet::new();
    for (name, fault) in found {
        if !names.insert(&name.value) {
            let message = format!("two faults are called `{}`", name.value);
            checker.problem(&name.span, message, "a fault's name must be unique, whatever its kind");
        }
        match fault {
            Some(fault) => drop(faults.insert(name.value.clone(), fault)),
            None => checker.lost.add_name(&name.value),
        }
    }
    faults
}

fn flow_exists(name: &At<String>, scenario: &Scenario, checker: &mut Checker<'_>) {
    if !scenario.flows.contains_key(&name.value) {
        let known: Vec<String> = scenario.flows.keys().cloned().collect();
        checker.dangling(&name.span, "flow", &name.value, &known);
    }
}

/// A flow has one account in a trial: sent again, its frames would bear the same numbers.
fn flooded_once<'a>(floods: impl Iterator<Item = &'a At<String>>, checker: &mut Checker<'_>) {
    let mut flooded = BTreeSet::new();
    for flow in floods {
        if !flooded.insert(&flow.value) {
            let message = format!("flow `{}` is flooded twice", flow.value);
            checker.problem(
                &flow.span,
                message,
                "a flow is sent once: add a second [flow.NAME] of the same kind",
            );
        }
    }
}

fn fault_exists(name: &At<String>, scenario: &Scenario, checker: &mut Checker<'_>) {
    if !scenario.faults.contains_key(&name.value) {
        let known: Vec<String> = scenario.faults.keys().cloned().collect();
        checker.dangling(&name.span, "fault", &name.value, &known);
    }
}

fn resolve_step(step: &At<StepTable>, scenario: &Scenario, checker: &mut Checker<'_>) -> Option<Step> {
    match &step.value {
        StepTable { inject: Some(fault), clear: None, flood: None } => {
            fault_exists(fault, scenario, checker);
            Some(Step::Inject(fault.value.clone()))
        }
        StepTable { inject: None, clear: Some(fault), flood: None } => {
            fault_exists(fault, scenario, checker);
            Some(Step::Clear(fault.value.clone()))
        }
        StepTable { inject: None, clear: None, flood: Some(flow) } => {
            flow_exists(flow, scenario, checker);
            Some(Step::Flood(flow.value.clone()))
        }
        StepTable { inject: None, clear: None, flood: None } if checker.lost.any_field(&step.span) => None,
        _ => {
            checker.problem(&step.span, "a step does exactly one thing", "one of: inject, clear, flood");
            None
        }
    }
}

fn resolve_condition(
    table: &At<ConditionTable>,
    scenario: &Scenario,
    checker: &mut Checker<'_>,
) -> Option<Condition> {
    let bounds = resolve_bounds(table, checker);
    let subject = resolve_subject(table, scenario, checker);
    let (bounds, subject) = (bounds?, subject?);
    let name = table.value.name.clone().unwrap_or_else(|| format!("{subject}: {bounds}"));
    Some(Condition { name, subject, bounds })
}

fn resolve_bounds(table: &At<ConditionTable>, checker: &mut Checker<'_>) -> Option<Bounds> {
    let ConditionTable { equals, at_least, at_most, .. } = &table.value;
    match (equals, at_least, at_most) {
        (Some(exactly), None, None) => Some(Bounds { at_least: exactly.value, at_most: Some(exactly.value) }),
        (Some(exactly), _, _) => {
            let hint = "give `equals` alone, or `at_least` and `at_most`";
            checker.problem(&exactly.span, "`equals` together with another bound", hint);
            None
        }
        (None, Some(least), Some(most)) if least.value > most.value => {
            let message = format!("nothing is at least {} and at most {}", least.value, most.value);
            checker.problem(&least.span, message, "swap the two");
            None
        }
        (None, Some(least), None) if least.value == 0 => {
            checker.problem(&least.span, "every number is at least 0", "give a bound that could fail");
            None
        }
        (None, Some(least), most) => {
            Some(Bounds { at_least: least.value, at_most: most.as_ref().map(|most| most.value) })
        }
        (None, None, Some(most)) => Some(Bounds { at_least: 0, at_most: Some(most.value) }),
        (None, None, None) => {
            if !checker.lost.any_field(&table.span) {
                let hint = "give `equals`, or `at_least`, or `at_most`, or the last two together";
                checker.problem(&table.span, "a condition without a bound", hint);
            }
            None
        }
    }
}

fn resolve_subject(
    table: &At<ConditionTable>,
    scenario: &Scenario,
    checker: &mut Checker<'_>,
) -> Option<Subject> {
    let ConditionTable { flow, field, errno, layer, device, qdisc, counter, .. } = &table.value;
    // All names are followed first: what is wrong with them does not depend on what is meant.
    if let Some(flow) = flow {
        flow_exists(flow, scenario, checker);
    }
    for device in [device, qdisc].into_iter().flatten() {
        checker.device(device);
    }
    if let Some(errno) = errno {
        known_word(errno, "errno of a send", &SEND_ERRNOS, checker);
    }
    if let Some(layer) = layer {
        known_word(layer, "layer", &Layer::ALL.map(Layer::as_str), checker);
    }
    match (flow, device, qdisc, counter) {
        (Some(flow), device, None, None) => {
            let flow = flow.value.clone();
            match (field, errno, layer, device) {
                (Some(field), None, None, None) => return Some(Subject::Flow { flow, field: *field }),
                (None, Some(errno), None, None) => {
                    return Some(Subject::Errno { flow, errno: errno.value.clone() });
                }
                (None, None, Some(layer), device) => {
                    let device = device.as_ref().map(|device| device.value.clone());
                    return Some(Subject::Fate { flow, layer: layer.value.clone(), device });
                }
                _ => {}
            }
        }
        (None, Some(device), None, Some(counter))
            if field.is_none() && errno.is_none() && layer.is_none() =>
        {
            known_word(counter, "device counter", &DEVICE_COUNTERS, checker);
            return Some(Subject::Device { device: device.value.clone(), counter: counter.value.clone() });
        }
        (None, None, Some(device), Some(counter))
            if field.is_none() && errno.is_none() && layer.is_none() =>
        {
            known_word(counter, "queueing discipline's counter", &QDISC_COUNTERS, checker);
            return Some(Subject::Qdisc { device: device.value.clone(), counter: counter.value.clone() });
        }
        _ => {}
    }
    unclear_subject(table, checker);
    None
}

fn unclear_subject(table: &At<ConditionTable>, checker: &mut Checker<'_>) {
    if checker.lost.any_field(&table.span) {
        return;
    }
    let (message, hint) = match &table.value.flow {
        Some(_) => (
            "it is not clear which number of the flow is meant",
            "with `flow`, give one of: field, errno, layer (and then, if you like, device)",
        ),
        None => (
            "it is not clear which number is meant",
            "give `flow` with `field`, `errno` or `layer`; or `device` with `counter`; or `qdisc` with `counter`",
        ),
    };
    checker.problem(&table.span, message, hint);
}

fn known_word(word: &At<String>, what: &str, known: &[&str], checker: &mut Checker<'_>) {
    if !known.contains(&word.value.as_str()) {
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        checker.dangling(&word.span, what, &word.value, &known);
    }
}

fn resolve_report(table: &At<ReportTable>, scenario: &Scenario, checker: &mut Checker<'_>) -> Report {
    let empty = [("floods", table.value.floods.is_empty()), ("evidence", table.value.evidence.is_empty())];
    for (key, _) in empty.into_iter().filter(|(_, empty)| *empty) {
        if !checker.lost.field(&table.span, key) {
            let hint = "without it every hypothesis would fit";
            checker.problem(&table.span, format!("a report with no {key}"), hint);
        }
    }
    for flow in &table.value.floods {
        flow_exists(flow, scenario, checker);
    }
    flooded_once(table.value.floods.iter(), checker);
    let evidence =
        table.value.evidence.iter().filter_map(|item| resolve_condition(item, scenario, checker)).collect();
    Report { floods: table.value.floods.iter().map(|flow| flow.value.clone()).collect(), evidence }
}

fn resolve_hypothesis(
    name: &At<String>,
    table: &HypothesisTable,
    has_report: bool,
    scenario: &Scenario,
    checker: &mut Checker<'_>,
) -> Hypothesis {
    if !has_report && !checker.lost.field(&FILE, "report") {
        let hint = "add a [report] with floods and evidence";
        checker.problem(&name.span, "a hypothesis without a report", hint);
    }
    if table.inject.is_empty() && !checker.lost.field(&name.span, "inject") {
        let hint = format!("name faults in `inject`; there are: {}", join(scenario.faults.keys()));
        checker.problem(&name.span, "a hypothesis that breaks nothing", hint);
    }
    for fault in &table.inject {
        fault_exists(fault, scenario, checker);
    }
    Hypothesis {
        name: name.value.clone(),
        about: table.about.clone(),
        inject: table.inject.iter().map(|fault| fault.value.clone()).collect(),
        fits: table.fits,
    }
}
