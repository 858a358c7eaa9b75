//! Conditions: which number is meant, what it must be, and where each may stand.

use std::net::IpAddr;

use crate::net::address::Cidr;
use crate::net::ip_address;
use crate::net::layer::Layer;
use crate::net::route::Route;
use crate::topology::check::{Checker, shown};
use crate::topology::condition::{Bounds, Condition, DEVICE_COUNTERS, QDISC_COUNTERS, Subject};
use crate::topology::file::{At, ConditionTable};
use crate::topology::scenario::Scenario;

/// Errnos that a send may end with: those of sendmsg(2), connect(2), packet(7), udp(7), and what a driver may return.
pub const SEND_ERRNOS: [&str; 30] = [
    "EACCES",
    "EADDRNOTAVAIL",
    "EAFNOSUPPORT",
    "EAGAIN",
    "EBADF",
    "EBUSY",
    "ECONNREFUSED",
    "ECONNRESET",
    "EDESTADDRREQ",
    "EFAULT",
    "EHOSTDOWN",
    "EHOSTUNREACH",
    "EINPROGRESS",
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

/// Errnos with which links, ports, addresses and disciplines are refused.
pub(crate) const REFUSAL_ERRNOS: [&str; 23] = [
    "EACCES",
    "EADDRNOTAVAIL",
    "EBUSY",
    "EEXIST",
    "EINVAL",
    "ELOOP",
    "EMSGSIZE",
    "ENETDOWN",
    "ENETUNREACH",
    "ENODATA",
    "ENODEV",
    "ENOENT",
    "ENOMEM",
    "ENOPROTOOPT",
    "ENOSPC",
    "ENOTEMPTY",
    "ENOTSUPP",
    "ENOTUNIQ",
    "ENXIO",
    "EOPNOTSUPP",
    "EPERM",
    "EPROTONOSUPPORT",
    "ERANGE",
];

/// Reasons in results that are the lab's: a queue that still holds frames, and counters that alone tell of them.
const LAB_REASONS: [&str; 2] = ["BACKLOG", "COUNTED"];

/// What a condition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// What must hold after the steps.
    Expect,
    /// What a report observed.
    Evidence,
    /// What a step waits for.
    Wait,
}

/// Resolves a condition.
pub fn resolve_condition(
    table: &At<ConditionTable>,
    purpose: Use,
    scenario: &Scenario,
    checker: &mut Checker<'_>,
) -> Option<Condition> {
    if let Some(under) = table.value.under.as_ref().filter(|_| purpose != Use::Evidence) {
        checker.problem(&under.span, "`under` outside of evidence", "remove it: nothing else is tried here");
    }
    let bounds = resolve_bounds(table, checker);
    let subject = resolve_subject(table, scenario, checker);
    let (bounds, subject) = (bounds?, subject?);
    let wrong = match (purpose, &subject) {
        (
            Use::Wait,
            Subject::State { .. } | Subject::Mac { .. } | Subject::Captured { .. } | Subject::Shown { .. },
        ) => None,
        (Use::Wait, _) => Some((
            "this cannot be waited for",
            "wait for a `state`, `mac`, `capture`, or what is shown: `show`, `feature`, `neighbour`, ...",
        )),
        (Use::Evidence, Subject::Refused { .. }) => {
            Some(("a refusal is no evidence", "what was refused cannot be under any explanation"))
        }
        _ => None,
    };
    if let Some((message, hint)) = wrong {
        checker.problem(&table.span, message, hint);
        return None;
    }
    let name = table.value.name.clone().unwrap_or_else(|| match &subject {
        Subject::Refused { .. } => subject.to_string(),
        Subject::Shown { shown, test } => {
            let wanted = test.wanted().unwrap_or_else(|| bounds.to_string());
            format!("{shown}: {wanted}")
        }
        _ => format!("{subject}: {bounds}"),
    });
    let broken_by = broken_by(table, purpose, scenario, checker);
    if let Some(when) = table.value.when.as_ref().filter(|_| purpose == Use::Wait) {
        let hint = "take `when` away, or give it to an expectation";
        checker.problem(&when.span, "a wait is for every kernel", hint);
    }
    let when = table.value.when.as_ref().map(|when| when.value.clone());
    Some(Condition { name, subject, bounds, broken_by, when })
}

/// The fault that its author says breaks it.
fn broken_by(
    table: &At<ConditionTable>,
    purpose: Use,
    scenario: &Scenario,
    checker: &mut Checker<'_>,
) -> Option<String> {
    let fault = table.value.broken_by.as_ref()?;
    if purpose != Use::Expect {
        checker.problem(&fault.span, "only an expectation is proven", "take `broken_by` away");
    }
    fault_exists(fault, scenario, checker);
    Some(fault.value.clone())
}

/// Whether nothing can come of it without a step: a state and a refusal are there once the topology stands.
pub fn needs_step(table: &ConditionTable) -> bool {
    table.state.is_none()
        && table.mac.is_none()
        && table.refused.is_none()
        && table.address.is_none()
        && table.routes.is_none()
        && table.ip_address.is_none()
        && !shown::is_shown(table)
}

fn resolve_bounds(table: &At<ConditionTable>, checker: &mut Checker<'_>) -> Option<Bounds> {
    let ConditionTable { equals, at_least, at_most, refused, .. } = &table.value;
    if refused.is_some() {
        for bound in [equals, at_least, at_most].into_iter().flatten() {
            checker.problem(&bound.span, "a refusal has no number", "take the bound away");
        }
        return Some(Bounds { at_least: 1, at_most: Some(1) });
    }
    if let Some(bounds) = shown::bounds(table, checker) {
        return bounds;
    }
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

/// Follows all names: what is wrong with them does not depend on what is meant.
fn follow_names(table: &ConditionTable, scenario: &Scenario, checker: &mut Checker<'_>) {
    if let Some(flow) = &table.flow {
        flow_exists(flow, scenario, checker);
    }
    if let Some(capture) = &table.capture
        && !scenario.captures.contains_key(&capture.value)
    {
        let known: Vec<String> = scenario.captures.keys().cloned().collect();
        checker.dangling(&capture.span, "capture", &capture.value, &known);
    }
    for device in [&table.device, &table.qdisc].into_iter().flatten() {
        checker.device(device);
    }
    if let Some(mac) = &table.mac {
        checker.mac(mac);
    }
    if let Some(errno) = &table.errno {
        known_word(errno, "errno of a send", &SEND_ERRNOS, checker);
    }
    if let Some(layer) = &table.layer {
        known_word(layer, "layer", &Layer::ALL.map(Layer::as_str), checker);
    }
    if let Some(reason) = &table.reason {
        drop_reason(reason, checker);
    }
    if let Some(errno) = &table.refused {
        known_word(errno, "errno of a refusal", &REFUSAL_ERRNOS, checker);
    }
}

/// The keys by which a condition says which number it means.
fn subject_keys(table: &ConditionTable) -> Vec<&'static str> {
    let keys = [
        ("flow", table.flow.is_some()),
        ("field", table.field.is_some()),
        ("errno", table.errno.is_some()),
        ("seen_from", table.seen_from.is_some()),
        ("layer", table.layer.is_some()),
        ("device", table.device.is_some()),
        ("reason", table.reason.is_some()),
        ("qdisc", table.qdisc.is_some()),
        ("kind", table.kind.is_some()),
        ("counter", table.counter.is_some()),
        ("state", table.state.is_some()),
        ("mac", table.mac.is_some()),
        ("address", table.address.is_some()),
        ("ns", table.ns.is_some()),
        ("routes", table.routes.is_some()),
        ("ip_address", table.ip_address.is_some()),
        ("refused", table.refused.is_some()),
        ("capture", table.capture.is_some()),
        ("show", table.show.is_some()),
        ("proc_bonding", table.proc_bonding.is_some()),
        ("feature", table.feature.is_some()),
        ("neighbour", table.neighbour.is_some()),
        ("bridge_vlan", table.bridge_vlan.is_some()),
        ("fdb", table.fdb.is_some()),
        ("mdb", table.mdb.is_some()),
        ("detail", table.detail.is_some()),
        ("parent", table.parent.is_some()),
        ("sysctl", table.sysctl.is_some()),
        ("snmp", table.snmp.is_some()),
        ("kernel_log", table.kernel_log.is_some()),
    ];
    keys.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect()
}

fn resolve_subject(
    table: &At<ConditionTable>,
    scenario: &Scenario,
    checker: &mut Checker<'_>,
) -> Option<Subject> {
    follow_names(&table.value, scenario, checker);
    let subject = subject(&table.value);
    match &subject {
        Some(Subject::Device { .. }) => {
            table
                .value
                .counter
                .iter()
                .for_each(|word| known_word(word, "device counter", &DEVICE_COUNTERS, checker));
        }
        Some(Subject::Qdisc { .. } | Subject::Clsact { .. }) => {
            let what = "queueing discipline's counter";
            table.value.counter.iter().for_each(|word| known_word(word, what, &QDISC_COUNTERS, checker));
        }
        Some(Subject::Routes { are, .. }) => routes_readable(table, are.len(), checker),
        Some(Subject::Shown { shown, test }) => shown::check(shown, test, table, checker),
        Some(Subject::IpAddrOutput { are, .. }) => shown_readable(table, are.len(), checker),
        Some(_) => {}
        None => unclear_subject(table, checker),
    }
    subject
}

/// What is meant by a condition's keys; `None` when it is not clear.
fn subject(table: &ConditionTable) -> Option<Subject> {
    let value = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    let device = || table.device.as_ref().map(|at| at.value.clone());
    let flow = || value(&table.flow);
    Some(match subject_keys(table)[..] {
        ["flow", "field"] => Subject::Flow { flow: flow()?, field: table.field? },
        ["flow", "errno"] => Subject::Errno { flow: flow()?, errno: value(&table.errno)? },
        ["flow", "seen_from"] => Subject::Source { flow: flow()?, is: table.seen_from? },
        ["flow", "layer"]
        | ["flow", "layer", "device"]
        | ["flow", "layer", "reason"]
        | ["flow", "layer", "device", "reason"] => {
            let (layer, reason) = (value(&table.layer)?, value(&table.reason));
            Subject::Fate { flow: flow()?, layer, device: device(), reason }
        }
        ["device", "counter"] => Subject::Device { device: device()?, counter: value(&table.counter)? },
        ["device", "state"] => Subject::State { device: device()?, state: table.state? },
        ["device", "mac"] => Subject::Mac { device: device()?, is: table.mac.as_ref()?.value.clone() },
        ["device", "address"] => Subject::Address { device: device()?, is: table.address.as_ref()?.value },
        ["ns", "routes"] => {
            let are = table.routes.as_ref()?.value.lines().filter_map(route_line).collect();
            Subject::Routes { ns: table.ns.as_ref()?.value.clone(), are }
        }
        ["ns", "ip_address"] => {
            let are = ip_address::read(&table.ip_address.as_ref()?.value).unwrap_or_default();
            Subject::IpAddrOutput { ns: table.ns.as_ref()?.value.clone(), are }
        }
        ["device", "refused"] => Subject::Refused { device: device()?, errno: value(&table.refused)? },
        ["qdisc", "counter"] => {
            let device = table.qdisc.as_ref()?.value.clone();
            Subject::Qdisc { device, counter: value(&table.counter)? }
        }
        ["qdisc", "kind", "counter"] => {
            let device = table.qdisc.as_ref()?.value.clone();
            Subject::Clsact { device, counter: value(&table.counter)? }
        }
        ["device", "show" | "proc_bonding" | "feature" | "neighbour" | "bridge_vlan" | "fdb" | "mdb"]
        | ["device", "neighbour" | "bridge_vlan" | "fdb" | "mdb", "detail"]
        | ["ns", "sysctl" | "snmp"]
        | ["qdisc", "counter", "parent"]
        | ["kernel_log"] => Subject::Shown { shown: shown::shown(table)?, test: shown::test(table) },
        ["capture"] => Subject::Captured { capture: value(&table.capture)? },
        _ => return None,
    })
}

fn unclear_subject(table: &At<ConditionTable>, checker: &mut Checker<'_>) {
    if checker.lost.any_field(&table.span) {
        return;
    }
    let (message, hint) = if table.value.flow.is_some() {
        (
            "it is not clear which number of the flow is meant",
            "with `flow`, give one of: field, errno, seen_from, layer (and then, if you like, device and reason)",
        )
    } else if table.value.device.is_some() {
        (
            "it is not clear which number of the device is meant",
            "with `device`, give one of: counter, state, mac, refused, show, proc_bonding, feature, neighbour, bridge_vlan, fdb, mdb",
        )
    } else {
        (
            "it is not clear which number is meant",
            "give `flow` with `field`, `errno` or `layer`; or `device` with `counter`, `state`, `mac` or \
             `refused`; or `qdisc` with `counter`; or `capture`; or `ns` with `sysctl` or `snmp`; or `kernel_log`",
        )
    };
    checker.problem(&table.span, message, hint);
}

/// Checks that a word can be a reason of `enum skb_drop_reason`, or of a subsystem. Which there are differs by kernel.
fn drop_reason(reason: &At<String>, checker: &mut Checker<'_>) {
    let word = reason.value.as_str();
    let is_name = word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let hint = if SEND_ERRNOS.contains(&word) {
        "an errno is what the sender got: use `errno` in place of `layer` and `reason`"
    } else if word.starts_with("SKB_DROP_REASON_") {
        "leave SKB_DROP_REASON_ out"
    } else if LAB_REASONS.contains(&word) {
        "it is the lab's word where the kernel dropped nothing, or tells no reason: take `reason` away"
    } else if !is_name {
        "write it as the kernel does, without SKB_DROP_REASON_: QDISC_DROP, NO_SOCKET"
    } else {
        return;
    };
    checker.problem(&reason.span, format!("`{word}` is no drop reason"), hint);
}

/// A line of `ip route list`: destination, next hop and device. An address without length is one host.
fn route_line(line: &str) -> Option<Route> {
    let mut words = line.split_whitespace();
    let to = match words.next()? {
        "default" => None,
        to if to.contains('/') => Some(to.parse::<Cidr>().ok()?),
        to => {
            let address: IpAddr = to.parse().ok()?;
            Some(Cidr { address, prefix: if address.is_ipv4() { 32 } else { 128 } })
        }
    };
    let mut route = Route::new(to, None, None);
    while let Some(word) = words.next() {
        match word {
            "via" => route.via = Some(words.next()?.parse().ok()?),
            "dev" => route.dev = Some(words.next()?.parse().ok()?),
            _ => {}
        }
    }
    Some(route)
}

fn routes_readable(table: &At<ConditionTable>, read: usize, checker: &mut Checker<'_>) {
    let Some(routes) = &table.value.routes else { return };
    let lines = routes.value.lines().filter(|line| !line.trim().is_empty());
    for line in lines.clone().filter(|line| route_line(line).is_none()) {
        let message = format!("`{}` is no line of `ip route list`", line.trim());
        checker.problem(&routes.span, message, "write, for example: 10.0.0.0/8 via 10.13.87.1 dev net1");
    }
    if read == 0 && lines.count() == 0 {
        checker.problem(&routes.span, "no routes at all", "paste what `ip route list` prints");
    }
}

fn shown_readable(table: &At<ConditionTable>, read: usize, checker: &mut Checker<'_>) {
    let Some(text) = &table.value.ip_address else { return };
    let wrong = ip_address::read(&text.value).err().unwrap_or_default();
    for line in &wrong {
        let message = format!("`{line}` is no line of `ip address`");
        checker.problem(&text.span, message, "paste what `ip a` prints, as it stands");
    }
    if read == 0 && wrong.is_empty() {
        checker.problem(&text.span, "no devices at all", "paste what `ip a` prints");
    }
}

/// Checks that a fault exists.
pub fn fault_exists(name: &At<String>, scenario: &Scenario, checker: &mut Checker<'_>) {
    if !scenario.faults.contains_key(&name.value) {
        let known: Vec<String> = scenario.faults.keys().cloned().collect();
        checker.dangling(&name.span, "fault", &name.value, &known);
    }
}

/// Checks that a flow exists.
pub fn flow_exists(name: &At<String>, scenario: &Scenario, checker: &mut Checker<'_>) {
    if !scenario.flows.contains_key(&name.value) {
        let known: Vec<String> = scenario.flows.keys().cloned().collect();
        checker.dangling(&name.span, "flow", &name.value, &known);
    }
}

pub(crate) fn known_word(word: &At<String>, what: &str, known: &[&str], checker: &mut Checker<'_>) {
    if !known.contains(&word.value.as_str()) {
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        checker.dangling(&word.span, what, &word.value, &known);
    }
}
