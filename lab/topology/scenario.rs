//! The scenario part of a topology file: flows, faults, steps, conditions and hypotheses, resolved and checked.

use std::ops::Range;

use indexmap::IndexMap;

use super::Topology;
use super::check::{Checker, join, resolve_qdisc};
use super::file::{At, ConditionTable, FlowTable, HypothesisTable, ReportTable, StepTable, TopologyFile};
use crate::link::DeviceRef;
use crate::scenario::{
    Bounds, Condition, DEVICE_COUNTERS, FRAMES_MAX, Fault, Flow, Hypothesis, QDISC_COUNTERS, Report,
    Scenario, Socket, Step, Subject,
};
use crate::wire::FRAME_LEN_MIN;

/// Length of the frame of a plain `ping`: 56 bytes of data, ICMP, IPv4 and Ethernet headers.
const FRAME_LEN_DEFAULT: usize = 98;

/// Resolves everything that happens on a topology.
pub fn resolve(file: &TopologyFile, topology: &Topology, checker: &mut Checker<'_>) -> Scenario {
    let mut scenario = Scenario::default();
    for (name, table) in &file.flow {
        scenario.flows.insert(name.value.clone(), resolve_flow(&name.value, table, topology, checker));
    }
    scenario.faults = resolve_faults(file, checker);
    scenario.steps = file.step.iter().filter_map(|step| resolve_step(step, &scenario, checker)).collect();
    scenario.expect =
        file.expect.iter().filter_map(|condition| resolve_condition(condition, &scenario, checker)).collect();
    scenario.report = file.report.as_ref().map(|report| resolve_report(report, &scenario, checker));
    scenario.hypotheses = file
        .hypothesis
        .iter()
        .map(|(name, table)| resolve_hypothesis(name, table, scenario.report.is_some(), &scenario, checker))
        .collect();
    if let Some(expect) = file.expect.first()
        && scenario.steps.is_empty()
    {
        checker.problem(
            &expect.span,
            "something is expected, but nothing happens",
            "add a [[step]] before it",
        );
    }
    scenario
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
    let known = |device: &DeviceRef| topology.links.contains_key(device);
    if known(&table.to.value) && topology.ipv4_of(&table.to.value).is_none() {
        let message = format!("{} has no IPv4 address to send to", table.to.value);
        checker.problem(&table.to.span, message, "give it one in `addresses`");
    }
    let socket = table.socket.unwrap_or(Socket::Packet);
    let through_ip = matches!(socket, Socket::Udp | Socket::UdpRecverr);
    if through_ip && known(&table.from.value) && topology.ipv4_of(&table.from.value).is_none() {
        let message = format!("{} has no IPv4 address to send from", table.from.value);
        checker.problem(&table.from.span, message, "give it one in `addresses`, or use socket = \"packet\"");
    }
    if through_ip && table.tag.is_some() {
        checker.problem(
            &table.from.span,
            "a UDP socket cannot write a tag",
            "use socket = \"packet\" with `tag`",
        );
    }
    Flow {
        name: name.into(),
        from: table.from.value.clone(),
        to: table.to.value.clone(),
        socket,
        frames: table.frames.value,
        len: table.len.as_ref().map_or(FRAME_LEN_DEFAULT, |len| len.value),
        tag: table.tag,
    }
}

fn resolve_faults(file: &TopologyFile, checker: &mut Checker<'_>) -> IndexMap<String, Fault> {
    let mut faults = IndexMap::new();
    let mut add = |name: &At<String>, fault: Fault, checker: &mut Checker<'_>| {
        if faults.insert(name.value.clone(), fault).is_some() {
            let message = format!("two faults are called `{}`", name.value);
            checker.problem(&name.span, message, "a fault's name must be unique, whatever its kind");
        }
    };
    for (name, table) in &file.fault.qdisc {
        checker.device(&table.device);
        if let Some(qdisc) = resolve_qdisc(&table.qdisc, checker) {
            add(name, Fault::Qdisc { device: table.device.value.clone(), qdisc }, checker);
        }
    }
    for (name, table) in &file.fault.filter {
        checker.device(&table.device);
        let fault = Fault::Filter { device: table.device.value.clone(), hook: table.hook, vlan: table.vlan };
        add(name, fault, checker);
    }
    for (name, table) in &file.fault.down {
        checker.device(&table.device);
        add(name, Fault::Down { device: table.device.value.clone() }, checker);
    }
    faults
}

fn flow_exists(name: &At<String>, scenario: &Scenario, checker: &mut Checker<'_>) {
    if !scenario.flows.contains_key(&name.value) {
        checker.dangling(&name.span, "flow", &name.value, scenario.flows.keys().map(String::as_str));
    }
}

fn fault_exists(name: &At<String>, scenario: &Scenario, checker: &mut Checker<'_>) {
    if !scenario.faults.contains_key(&name.value) {
        checker.dangling(&name.span, "fault", &name.value, scenario.faults.keys().map(String::as_str));
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
        (Some(exactly), None, None) => Some(Bounds { at_least: *exactly, at_most: Some(*exactly) }),
        (None, Some(least), Some(most)) if least > most => {
            let message = format!("nothing is at least {least} and at most {most}");
            checker.problem(&table.span, message, "swap the two");
            None
        }
        (None, Some(least), most) => Some(Bounds { at_least: *least, at_most: *most }),
        (None, None, Some(most)) => Some(Bounds { at_least: 0, at_most: Some(*most) }),
        _ => {
            let hint = "give `equals`, or `at_least`, or `at_most`, or the last two together";
            checker.problem(&table.span, "a condition without a bound that could fail", hint);
            None
        }
    }
}

fn resolve_subject(
    table: &At<ConditionTable>,
    scenario: &Scenario,
    checker: &mut Checker<'_>,
) -> Option<Subject> {
    match &table.value {
        ConditionTable {
            flow: Some(flow), field, errno, layer, device, qdisc: None, counter: None, ..
        } => {
            flow_exists(flow, scenario, checker);
            let flow = flow.value.clone();
            match (field, errno, layer, device) {
                (Some(field), None, None, None) => Some(Subject::Flow { flow, field: *field }),
                (None, Some(errno), None, None) => Some(Subject::Errno { flow, errno: errno.clone() }),
                (None, None, Some(layer), device) => {
                    if let Some(device) = device {
                        checker.device(device);
                    }
                    let device = device.as_ref().map(|device| device.value.clone());
                    Some(Subject::Fate { flow, layer: layer.clone(), device })
                }
                _ => {
                    let hint =
                        "with `flow`, give one of: field, errno, layer (and then, if you like, device)";
                    checker.problem(&table.span, "it is not clear which number of the flow is meant", hint);
                    None
                }
            }
        }
        ConditionTable {
            device: Some(device),
            counter: Some(counter),
            flow: None,
            qdisc: None,
            field: None,
            errno: None,
            layer: None,
            ..
        } => {
            checker.device(device);
            known_counter(counter, "device counter", &DEVICE_COUNTERS, checker);
            Some(Subject::Device { device: device.value.clone(), counter: counter.value.clone() })
        }
        ConditionTable {
            qdisc: Some(device),
            counter: Some(counter),
            flow: None,
            device: None,
            field: None,
            errno: None,
            layer: None,
            ..
        } => {
            checker.device(device);
            known_counter(counter, "queueing discipline's counter", &QDISC_COUNTERS, checker);
            Some(Subject::Qdisc { device: device.value.clone(), counter: counter.value.clone() })
        }
        _ => {
            let hint = "give `flow` with `field`, `errno` or `layer`; or `device` with `counter`; or `qdisc` with `counter`";
            checker.problem(&table.span, "it is not clear which number is meant", hint);
            None
        }
    }
}

fn known_counter(counter: &At<String>, what: &str, known: &[&str], checker: &mut Checker<'_>) {
    if !known.contains(&counter.value.as_str()) {
        checker.dangling(&counter.span, what, &counter.value, known.iter().copied());
    }
}

fn resolve_report(table: &At<ReportTable>, scenario: &Scenario, checker: &mut Checker<'_>) -> Report {
    let empty: Option<(&Range<usize>, &str)> = if table.value.floods.is_empty() {
        Some((&table.span, "floods"))
    } else if table.value.evidence.is_empty() {
        Some((&table.span, "evidence"))
    } else {
        None
    };
    if let Some((span, key)) = empty {
        checker.problem(span, format!("a report with no {key}"), "without it every hypothesis would fit");
    }
    for flow in &table.value.floods {
        flow_exists(flow, scenario, checker);
    }
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
    if !has_report {
        checker.problem(
            &name.span,
            "a hypothesis without a report",
            "add a [report] with floods and evidence",
        );
    }
    if table.inject.is_empty() {
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
