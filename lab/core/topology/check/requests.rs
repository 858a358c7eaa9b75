//! Steps that ask something of the kernel: what one request may hold, and how it may be refused.

use std::ops::Range;

use crate::net::link::LinkKind;
use crate::net::link_extras::FeatureName;
use crate::net::mode::BondMode;
use crate::net::name::{DeviceRef, IfName, NsName};
use crate::net::qdisc::Qdisc;
use crate::net::route::Route;
use crate::net::sysctl::{Sysctl, SysctlName, SysctlValue};
use crate::topology::Topology;
use crate::topology::check::conditions::{REFUSAL_ERRNOS, known_word};
use crate::topology::check::{Checker, bonds, groups, links, routes};
use crate::topology::file::{At, RouteTable, RouteTo, StepTable, TopologyFile};
use crate::topology::request::{ControllerRequest, LinkRequest, Refused, Request};
use crate::topology::scenario::Step;

/// What says that a link is released from its bond or bridge.
const NOBODY: &str = "none";

/// Devices that steps make under another name or in another namespace: steps and conditions may name them.
pub fn announce(file: &TopologyFile, checker: &mut Checker<'_>) {
    for step in file.step.iter().map(|step| &step.value) {
        let Some(device) = &step.set else { continue };
        if step.name.is_none() && step.ns.is_none() {
            continue;
        }
        let moved = DeviceRef {
            ns: step.ns.as_ref().map_or_else(|| device.value.ns.clone(), |ns| ns.value.clone()),
            name: step.name.as_ref().map_or_else(|| device.value.name.clone(), |name| name.value.clone()),
        };
        checker.devices.entry(moved).or_insert_with(|| device.span.clone());
    }
}

/// Keys of a step that need a verb, each with its place.
fn keys_of_set(step: &StepTable) -> Vec<(&'static str, &Range<usize>)> {
    fn place<T>(at: &Option<At<T>>) -> Option<&Range<usize>> {
        at.as_ref().map(|at| &at.span)
    }
    let keys = [
        ("bond", place(&step.bond)),
        ("port", place(&step.port)),
        ("up", place(&step.up)),
        ("mtu", place(&step.mtu)),
        ("mac", place(&step.mac)),
        ("txqueuelen", place(&step.txqueuelen)),
        ("controller", place(&step.controller)),
        ("name", place(&step.name)),
        ("ns", place(&step.ns)),
        ("features", place(&step.features)),
        ("plug", place(&step.plug)),
        ("add_address", place(&step.add_address)),
        ("delete_address", place(&step.delete_address)),
        ("add_mdb", place(&step.add_mdb)),
        ("delete_mdb", place(&step.delete_mdb)),
        ("join", place(&step.join)),
        ("leave", place(&step.leave)),
    ];
    keys.into_iter().filter_map(|(key, span)| Some((key, span?))).collect()
}

fn keys_of_namespace(step: &StepTable) -> Vec<(&'static str, &Range<usize>)> {
    let keys = [
        ("sysctl", step.sysctl.as_ref().map(|at| &at.span)),
        ("add_route", step.add_route.as_ref().map(|at| &at.span)),
        ("delete_route", step.delete_route.as_ref().map(|at| &at.span)),
        ("add_neighbour", step.add_neighbour.as_ref().map(|at| &at.span)),
        ("delete_neighbour", step.delete_neighbour.as_ref().map(|at| &at.span)),
    ];
    keys.into_iter().filter_map(|(key, span)| Some((key, span?))).collect()
}

/// Notes keys that stand without the verb that they belong to.
pub fn belong(step: &StepTable, checker: &mut Checker<'_>) {
    for (key, span) in keys_of_set(step).into_iter().filter(|_| step.set.is_none()) {
        let message = match key {
            "bond" | "port" => "options without `set`".to_owned(),
            key => format!("`{key}` without `set`"),
        };
        checker.problem(span, message, "name the device: set = \"node:bond0\"");
    }
    for (key, span) in keys_of_namespace(step).into_iter().filter(|_| step.of_ns.is_none()) {
        checker.problem(span, format!("`{key}` without `in`"), "name the namespace: in = \"node\"");
    }
    if let Some(extack) = step.extack.as_ref().filter(|_| step.refused.is_none()) {
        let hint = "say with which errno: refused = \"EBUSY\"";
        checker.problem(&extack.span, "`extack` without `refused`", hint);
    }
    if let Some(when) = step.when.as_ref().filter(|_| step.refused.is_none()) {
        let hint = "it says on which kernels a step is refused";
        checker.problem(&when.span, "`when` without `refused`", hint);
    }
}

/// How a step must be refused, where it says so.
pub fn refused(step: &StepTable, checker: &mut Checker<'_>) -> Option<Refused> {
    let errno = step.refused.as_ref()?;
    known_word(errno, "errno of a refusal", &REFUSAL_ERRNOS, checker);
    let can_be = [&step.inject, &step.clear].iter().any(|verb| verb.is_some())
        || [&step.set, &step.delete, &step.create, &step.reconcile].iter().any(|verb| verb.is_some())
        || step.of_ns.is_some()
        || step.attach.as_ref().is_some_and(|attach| attach.value.fails.is_some());
    if let Some(when) = step.when.as_ref().filter(|_| step.attach.is_some()) {
        let hint = "what is attached is planned for all kernels alike: make two topologies of it";
        checker.problem(&when.span, "`when` with an attachment", hint);
    }
    if !can_be || step.flood.is_some() {
        let hint =
            "these can be: inject, clear, set, delete, create, reconcile, in; an attachment has `fails`";
        checker.problem(&errno.span, "this step cannot be refused", hint);
    }
    if let Some(at) =
        step.extack.as_ref().filter(|at| at.value.chars().all(|c| c == '*' || c.is_whitespace()))
    {
        checker.problem(&at.span, "it fits every text", "write what the kernel says, or remove it");
    }
    let extack = step.extack.as_ref().map(|at| at.value.clone());
    let when = step.when.as_ref().map(|at| at.value.clone());
    Some(Refused { errno: errno.value.clone(), extack, when })
}

/// Whether a step asks something of the kernel by itself, and not by a fault or a pod.
pub fn is_request(step: &StepTable) -> bool {
    step.set.is_some() || step.of_ns.is_some() || step.create.is_some() || step.delete.is_some()
}

/// Resolves such a step.
pub fn resolve(
    step: &At<StepTable>,
    file: &TopologyFile,
    topology: &Topology,
    checker: &mut Checker<'_>,
) -> Option<Step> {
    let StepTable { set, of_ns, create, delete, .. } = &step.value;
    if let Some(device) = set {
        return resolve_set(device, step, file, topology, checker);
    }
    if let Some(ns) = of_ns {
        return resolve_in(ns, step, topology, checker);
    }
    if let Some(device) = create {
        return resolve_create(device, file, topology, checker);
    }
    let device = delete.as_ref()?;
    checker.device(device);
    is_there(device, step, file, checker);
    Some(Step::Delete(device.value.clone()))
}

/// Notes a device that a step before has deleted, and none has made again. That it is not there can be what the kernel must say.
fn is_there(device: &At<DeviceRef>, step: &At<StepTable>, file: &TopologyFile, checker: &mut Checker<'_>) {
    let before =
        file.step.iter().map(|other| &other.value).take_while(|other| !std::ptr::eq(*other, &step.value));
    let is_it = |at: &Option<At<DeviceRef>>| at.as_ref().is_some_and(|at| at.value == device.value);
    let is_deleted = before
        .filter(|other| other.refused.is_none())
        .fold(false, |is_deleted, other| (is_deleted || is_it(&other.delete)) && !is_it(&other.create));
    if is_deleted && step.value.refused.is_none() {
        let message = format!("{} is deleted by a step before", device.value);
        checker.problem(
            &device.span,
            message,
            "make it again with `create`, or say how the kernel must refuse it",
        );
    }
}

fn resolve_set(
    device: &At<DeviceRef>,
    step: &At<StepTable>,
    file: &TopologyFile,
    topology: &Topology,
    checker: &mut Checker<'_>,
) -> Option<Step> {
    checker.device(device);
    is_there(device, step, file, checker);
    let keys = keys_of_set(&step.value);
    let alone =
        ["features", "plug", "add_address", "delete_address", "add_mdb", "delete_mdb", "join", "leave"];
    if let Some((key, span)) = keys.iter().find(|(key, _)| keys.len() > 1 && alone.contains(key)) {
        let hint = "only what goes into one RTM_NEWLINK message stands together: give it a step of its own";
        checker.problem(span, format!("`{key}` is a request of its own"), hint);
        return None;
    }
    let StepTable { features, plug, add_address, delete_address, .. } = &step.value;
    let of = |request: Request| Some(Step::Request(request));
    let device_of = || device.value.clone();
    if let Some(features) = features {
        if features.value.is_empty() {
            checker.problem(
                &features.span,
                "nothing is set",
                "features = { tx-checksum-ip-generic = false }",
            );
        }
        for name in features.value.keys() {
            if let Err(error) = name.parse::<FeatureName>() {
                checker.problem(
                    &features.span,
                    error,
                    "`ethtool -k` lists them: { tx-checksum-ip-generic = false }",
                );
            }
        }
        let features = features.value.iter().map(|(name, on)| (name.clone(), *on)).collect();
        return of(Request::Features { device: device_of(), features });
    }
    if let Some(action) = plug {
        if step.value.refused.is_none() && !has_plug(&device.value, file, topology) {
            let hint =
                "give it `qdisc = { kind = \"plug\", ... }`, or inject a fault.qdisc with a plug before";
            checker.problem(&action.span, format!("{} has no plug", device.value), hint);
        }
        return of(Request::Plug { device: device_of(), action: action.value });
    }
    let address = |at: &At<_>, is_added| Request::Address { device: device_of(), cidr: at.value, is_added };
    if let Some(at) = add_address {
        return of(address(at, true));
    }
    if let Some(at) = delete_address {
        return of(address(at, false));
    }
    if let Some(request) = groups::request(device, step, file, checker) {
        return of(request);
    }
    link(device, step, file, topology, checker)
}

/// Whether a device is made with a plug at its root, or a fault puts one there.
fn has_plug(device: &DeviceRef, file: &TopologyFile, topology: &Topology) -> bool {
    let is_plug = |qdisc: &Qdisc| matches!(qdisc, Qdisc::Plug { .. });
    topology.links.get(device).and_then(|link| link.qdisc.as_ref()).is_some_and(is_plug)
        || file
            .fault
            .qdisc
            .values()
            .any(|fault| fault.device.value == *device && fault.qdisc.value.kind.value == "plug")
}

/// Checks what needs nothing but the topology.
fn values(step: &StepTable, topology: &Topology, checker: &mut Checker<'_>) {
    if let Some(mac) = &step.mac {
        checker.mac(mac);
    }
    if let Some(mtu) = step.mtu.as_ref().filter(|_| step.refused.is_none()) {
        links::mtu_in_range(mtu, checker);
    }
    if let Some(ns) = &step.ns {
        namespace(ns, topology, checker);
    }
}

/// All that one message asks of a link.
fn link(
    device: &At<DeviceRef>,
    step: &At<StepTable>,
    file: &TopologyFile,
    topology: &Topology,
    checker: &mut Checker<'_>,
) -> Option<Step> {
    let StepTable { bond, port, up, mtu, mac, txqueuelen, controller, name, ns, .. } = &step.value;
    let is_renamed =
        checker.devices.contains_key(&device.value) && !topology.links.contains_key(&device.value);
    if (bond.is_some() || port.is_some()) && is_renamed {
        let hint = "set them before it gets another name";
        checker.problem(&device.span, "options of a device that a step has renamed", hint);
        return None;
    }
    let joined = joined(device, step, file, topology);
    let keys = keys_of_set(&step.value);
    let is_plain = keys.iter().all(|(key, _)| matches!(*key, "bond" | "port"));
    if is_plain && !keys.is_empty() && step.value.refused.is_none() && joined.is_none() {
        return bonds::resolve_step(device, step, topology, checker);
    }
    let new_controller = match controller {
        Some(at) => Some(controlled(device, at, topology, step.value.refused.is_some(), checker)?),
        None => None,
    };
    let change = if bond.is_some() || port.is_some() {
        // What the kernel refuses may be written where that is what is expected.
        let is_new = step.value.refused.is_some() && checker.refusals.insert(device.value.clone());
        let change = match (joined, port) {
            (Some(mode), Some(asked)) => {
                Some(bonds::change_of_port(&device.value, Some(mode), &asked.value, checker))
            }
            _ => match bonds::resolve_step(device, step, topology, checker) {
                Some(Step::Set { change, .. }) => Some(change),
                _ => None,
            },
        };
        if is_new {
            checker.refusals.remove(&device.value);
        }
        Some(change?)
    } else {
        None
    };
    values(&step.value, topology, checker);
    if let Some(name) = name.as_ref().filter(|name| ns.is_none() && name.value == device.value.name) {
        checker.problem(&name.span, format!("{} has that name already", device.value), "give it another one");
    }
    let asked = LinkRequest {
        up: up.as_ref().map(|at| at.value),
        mtu: mtu.as_ref().map(|at| at.value),
        mac: mac.as_ref().map(|at| at.value.clone()),
        txqueuelen: txqueuelen.as_ref().map(|at| at.value),
        controller: new_controller,
        name: name.as_ref().map(|at| at.value.clone()),
        ns: ns.as_ref().map(|at| at.value.clone()),
        change,
    };
    if asked == LinkRequest::default() && !checker.lost.any_field(&step.span) {
        let hint = "give `up`, `mtu`, `mac`, `controller`, `name`, `ns`, `bond`, `port`, ...";
        checker.problem(&device.span, "`set` sets nothing", hint);
    }
    Some(Step::Request(Request::Link { device: device.value.clone(), asked: Box::new(asked) }))
}

/// The mode of the bond that a device joins by this step or has joined by the last one before it.
fn joined(
    device: &At<DeviceRef>,
    step: &At<StepTable>,
    file: &TopologyFile,
    topology: &Topology,
) -> Option<BondMode> {
    let until = |other: &&At<StepTable>| other.span.start <= step.span.start;
    let of_it = file.step.iter().take_while(until).filter(|other| other.value.set.as_ref() == Some(device));
    let controller = of_it.filter_map(|other| other.value.controller.as_ref()).last()?;
    mode_of(topology, &device.value.ns, &controller.value.parse().ok()?)
}

fn mode_of(topology: &Topology, ns: &NsName, bond: &IfName) -> Option<BondMode> {
    match &topology.links.get(&DeviceRef::new(ns, bond))?.kind {
        LinkKind::Bond(bond) => Some(bond.mode),
        _ => None,
    }
}

fn controlled(
    device: &At<DeviceRef>,
    at: &At<String>,
    topology: &Topology,
    is_refused: bool,
    checker: &mut Checker<'_>,
) -> Option<ControllerRequest> {
    if at.value == NOBODY {
        return Some(ControllerRequest::Nobody);
    }
    let ns = &device.value.ns;
    match at.value.parse::<IfName>() {
        Ok(value) => {
            checker.device_in(ns, &At { value: value.clone(), span: at.span.clone() });
            let link = topology.links.get(&DeviceRef::new(ns, &value));
            if let Some(link) = link.filter(|link| !is_refused && !link.kind.takes_ports()) {
                let message = format!("{} is a {}, which has no ports", link.device, link.kind.word());
                let hint = "name a bond, bridge, team or VRF, or say how the kernel must refuse it";
                checker.problem(&at.span, message, hint);
            }
            Some(ControllerRequest::Of(value))
        }
        Err(error) => {
            checker.problem(
                &at.span,
                error.to_string(),
                "a bond or bridge of the same namespace, or \"none\"",
            );
            None
        }
    }
}

fn namespace(ns: &At<NsName>, topology: &Topology, checker: &mut Checker<'_>) {
    if !topology.namespaces.contains_key(&ns.value) {
        let known: Vec<String> = topology.namespaces.keys().map(ToString::to_string).collect();
        checker.dangling(&ns.span, "namespace", ns.value.as_str(), &known);
    }
}

/// What changes a namespace's tables.
fn resolve_in(
    ns: &At<NsName>,
    step: &At<StepTable>,
    topology: &Topology,
    checker: &mut Checker<'_>,
) -> Option<Step> {
    namespace(ns, topology, checker);
    let keys = keys_of_namespace(&step.value);
    let [(_, _)] = keys[..] else {
        if !checker.lost.any_field(&step.span) {
            let hint = "one of: sysctl, add_route, delete_route, add_neighbour, delete_neighbour";
            checker.problem(&ns.span, "a step with `in` changes exactly one thing", hint);
        }
        return None;
    };
    let StepTable { sysctl, add_route, delete_route, add_neighbour, delete_neighbour, .. } = &step.value;
    let of_ns = || ns.value.clone();
    if let Some(sysctl) = sysctl {
        let one =
            |(name, value): (&SysctlName, &SysctlValue)| Sysctl { name: name.clone(), value: value.clone() };
        let sysctls: Vec<Sysctl> = sysctl.value.iter().map(one).collect();
        if sysctls.is_empty() {
            checker.problem(&sysctl.span, "nothing is set", "sysctl = { \"net.ipv4.ip_forward\" = 1 }");
        }
        return Some(Step::Sysctls { ns: of_ns(), sysctls });
    }
    if let Some((table, is_added)) = added(add_route, delete_route) {
        let route = route(&ns.value, table, checker);
        return Some(Step::Request(Request::Route { ns: of_ns(), route, is_added }));
    }
    let (table, is_added) = added(add_neighbour, delete_neighbour)?;
    let neighbour = routes::neighbour(&ns.value, table, checker);
    Some(Step::Request(Request::Neighbour { ns: of_ns(), neighbour, is_added }))
}

fn added<'t, T>(add: &'t Option<At<T>>, delete: &'t Option<At<T>>) -> Option<(&'t At<T>, bool)> {
    let add = add.as_ref().map(|at| (at, true));
    add.or_else(|| delete.as_ref().map(|at| (at, false)))
}

fn route(ns: &NsName, table: &At<RouteTable>, checker: &mut Checker<'_>) -> Route {
    let RouteTable { to, via, dev, .. } = &table.value;
    if let Some(dev) = dev {
        checker.device_in(ns, dev);
    }
    if via.is_none()
        && dev.is_none()
        && routes::is_unicast(&table.value)
        && !checker.lost.any_field(&table.span)
    {
        let hint = "name the next hop or the device";
        checker.problem(&to.span, "a route without `via` and without `dev`", hint);
    }
    let to = match to.value {
        RouteTo::Default => None,
        RouteTo::Network(network) => Some(network),
    };
    if let (Some(to), Some(via)) = (to, via) {
        routes::one_family(to, via, checker);
    }
    Route {
        to,
        via: via.as_ref().map(|via| via.value),
        dev: dev.as_ref().map(|dev| dev.value.clone()),
        extras: routes::extras(&table.value, checker),
    }
}

/// What makes a device that the topology describes as made later.
fn resolve_create(
    device: &At<DeviceRef>,
    file: &TopologyFile,
    topology: &Topology,
    checker: &mut Checker<'_>,
) -> Option<Step> {
    checker.device(device);
    let link = topology.links.get(&device.value)?;
    let deletes = |step: &At<StepTable>| {
        step.span.start < device.span.start
            && step.value.delete.as_ref().map(|at| &at.value) == Some(&device.value)
    };
    if !link.later && !file.step.iter().any(deletes) {
        let message = format!("{} is there from the start", device.value);
        let hint = "a VLAN can say `later = true` in its table; or delete it in a step before";
        checker.problem(&device.span, message, hint);
    }
    if let LinkKind::Veth { .. } = link.kind {
        checker.problem(
            &device.span,
            format!("{} cannot be made alone", device.value),
            "a cable has two ends",
        );
    }
    Some(Step::Create(device.value.clone()))
}
