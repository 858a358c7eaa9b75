//! Bonds and what is asked of them, at their creation and in a step: ports, ranges, and modes that take an option.

use std::ops::Range;

use crate::net::bond::{Bond, BondChange};
use crate::net::link::LinkKind;
use crate::net::mode::BondMode;
use crate::net::name::{DeviceRef, IfName, NsName};
use crate::net::option::{OptionRow, Value};
use crate::topology::Topology;
use crate::topology::check::Checker;
use crate::topology::file::{At, BondOptionsTable, BondTable, PortTable, StepTable};
use crate::topology::scenario::Step;

/// Addresses of the ARP monitor (BOND_MAX_ARP_TARGETS and BOND_MAX_NS_TARGETS, include/net/bonding.h).
const TARGETS_MAX: usize = 16;

/// What is counted in intervals of `miimon`: without it the kernel refuses them.
const DELAYS: [&str; 3] = ["updelay", "downdelay", "peer_notif_delay"];

/// Resolves a bond.
pub fn resolve(ns: &NsName, name: &At<IfName>, table: &BondTable, checker: &mut Checker<'_>) -> Bond {
    let device = DeviceRef::new(ns, &name.value);
    let mode = table.mode.value;
    for port in &table.ports {
        checker.device_in(ns, port);
    }
    let options = table.options();
    let is_lost = checker.lost.field(&name.span, "ports");
    let is_port = |port: &IfName| is_lost || table.ports.iter().any(|known| known.value == *port);
    let place = |key: &str| table.place(key);
    check_values(&device, Some(mode), &options.values(), place, is_port, checker);
    if options.miimon.unwrap_or(0) == 0 && !checker.lost.field(&name.span, "miimon") {
        for (key, span) in DELAYS.iter().filter_map(|key| Some((key, table.place(key)?))) {
            refused(
                &device,
                &span,
                format!("`{key}` without `miimon`"),
                "the kernel refuses it: set `miimon` too",
                checker,
            );
        }
    }
    let mut port_options = indexmap::IndexMap::new();
    for (port, asked) in &table.port {
        if !is_port(&port.value) {
            let message = format!("`{}` is not a port of this bond", port.value);
            checker.problem(&port.span, message, "add it to `ports`");
        }
        let place = |key: &str| asked.place(key);
        let values = asked.options().values();
        check_values(&DeviceRef::new(ns, &port.value), Some(mode), &values, place, is_port, checker);
        port_options.insert(port.value.clone(), asked.options());
    }
    Bond { mode, ports: table.ports.iter().map(|port| port.value.clone()).collect(), options, port_options }
}

/// Resolves a step that changes options.
pub fn resolve_step(
    device: &At<DeviceRef>,
    step: &At<StepTable>,
    topology: &Topology,
    checker: &mut Checker<'_>,
) -> Option<Step> {
    checker.device(device);
    let link = topology.links.get(&device.value)?;
    let wrong = |message: String, checker: &mut Checker<'_>| {
        checker.problem(
            &device.span,
            message,
            "use `bond = { ... }` with a bond, `port = { ... }` with its port",
        );
        None
    };
    let change = match (&step.value.bond, &step.value.port) {
        (Some(asked), None) => {
            let LinkKind::Bond(bond) = &link.kind else {
                return wrong(format!("{} is a {}, not a bond", device.value, link.kind.word()), checker);
            };
            change_of_bond(&device.value, bond, &asked.value, checker)
        }
        (None, Some(asked)) => {
            let bonds = topology.links.values().filter(|link| link.has_port(&device.value));
            let mode = bonds.into_iter().find_map(|link| match &link.kind {
                LinkKind::Bond(bond) => Some(bond.mode),
                _ => None,
            });
            if mode.is_none() {
                let is_lost = topology.links.keys().any(|device| checker.lost_of(device, "ports"));
                return if is_lost {
                    None
                } else {
                    wrong(format!("{} is not a port of a bond", device.value), checker)
                };
            }
            change_of_port(&device.value, mode, &asked.value, checker)
        }
        _ => return wrong("`set` needs one of `bond` and `port`".into(), checker),
    };
    if change.values().is_empty() && !checker.lost.any_field(&step.span) {
        checker.problem(&step.span, "nothing is set", "name an option: bond = { miimon = 100 }");
    }
    Some(Step::Set { device: device.value.clone(), change })
}

fn change_of_bond(
    device: &DeviceRef,
    bond: &Bond,
    asked: &BondOptionsTable,
    checker: &mut Checker<'_>,
) -> BondChange {
    let mode = asked.mode.as_ref().map(|mode| mode.value);
    let options = asked.options();
    let is_port = |port: &IfName| bond.ports.contains(port);
    let place = |key: &str| asked.place(key);
    // A step may have changed the mode before.
    check_values(device, mode.or(Some(bond.mode)), &options.values(), place, is_port, checker);
    BondChange::Bond { mode, options: Box::new(options) }
}

pub(crate) fn change_of_port(
    device: &DeviceRef,
    mode: Option<BondMode>,
    asked: &PortTable,
    checker: &mut Checker<'_>,
) -> BondChange {
    let options = asked.options();
    check_values(device, mode, &options.values(), |key| asked.place(key), |_| true, checker);
    BondChange::Port(options)
}

/// Checks values against their rows.
fn check_values(
    device: &DeviceRef,
    mode: Option<BondMode>,
    values: &[(&'static OptionRow, Value)],
    place: impl Fn(&str) -> Option<Range<usize>>,
    is_port: impl Fn(&IfName) -> bool,
    checker: &mut Checker<'_>,
) {
    for (row, value) in values {
        let Some(span) = place(row.key) else { continue };
        if let (Value::Number(number), Some((low, high))) = (value, row.range)
            && !(low..=high).contains(number)
        {
            let message = format!("{} {number} is out of range: {low} to {high}", row.key);
            refused(device, &span, message, "the kernel refuses it", checker);
        }
        let targets = match value {
            Value::Ipv4s(all) => all.len(),
            Value::Ipv6s(all) => all.len(),
            _ => 1,
        };
        if !(1..=TARGETS_MAX).contains(&targets) {
            let message = format!("{targets} targets are out of range: 1 to {TARGETS_MAX}");
            checker.problem(&span, message, "leave the key away for none");
        }
        // bond_option_ad_actor_system_set(): EINVAL.
        if let Value::Mac(mac) = value
            && mac.0[0] & 1 == 1
        {
            let message = format!("{} {mac} is the address of a group", row.key);
            refused(
                device,
                &span,
                message,
                "the kernel refuses it: a system has an address of its own",
                checker,
            );
        }
        if let Value::Port(port) = value
            && !is_port(port)
        {
            checker.problem(&span, format!("`{port}` is not a port of this bond"), "add it to `ports`");
        }
        if let Some(mode) = mode.filter(|mode| !row.modes.is_empty() && !row.modes.contains(mode)) {
            let message = format!("`{}` has no meaning in mode {mode}", row.key);
            refused(device, &span, message, format!("use it with {}", either(row.modes)), checker);
        }
    }
}

/// Notes what the kernel refuses, unless the file expects it to.
fn refused(
    device: &DeviceRef,
    span: &Range<usize>,
    message: String,
    hint: impl Into<String>,
    checker: &mut Checker<'_>,
) {
    if !checker.refusals.contains(device) {
        checker.problem(span, message, hint);
    }
}

/// `a, b or c`.
fn either(modes: &[BondMode]) -> String {
    match modes {
        [first @ .., last] if !first.is_empty() => {
            let first: Vec<&str> = first.iter().map(|mode| mode.word()).collect();
            format!("{} or {last}", first.join(", "))
        }
        all => all.iter().map(|mode| mode.word()).collect(),
    }
}
