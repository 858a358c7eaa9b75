//! Routes, rules that choose a routing table, and neighbours.

use std::net::IpAddr;
use std::ops::Range;

use crate::net::address::Cidr;
use crate::net::name::NsName;
use crate::net::route::{Neighbour, NeighbourState, RouteExtras, RouteKind, Rule};
use crate::topology::check::Checker;
use crate::topology::file::{At, NeighbourTable, RouteTable, RuleTable};

/// Rules of the kernel's own: local, main and default (`fib_default_rules_init()`).
const KERNELS_OWN: [u32; 3] = [0, 32766, 32767];

/// The least packet that IPv4 takes (`rt_mtu` of net/ipv4/route.c is raised to it).
const MTU_MIN: u32 = 68;

/// What is asked of a route beside network, next hop and device.
pub fn extras(route: &RouteTable, checker: &mut Checker<'_>) -> RouteExtras {
    let is_unicast = is_unicast(route);
    if let (false, Some(span)) = (is_unicast, route.via.as_ref().map(|via| &via.span)) {
        let kind = route.kind.as_ref().map_or(RouteKind::Unicast, |kind| kind.value);
        checker.problem(
            span,
            format!("a next hop of a {kind} route"),
            "its packets go nowhere: take `via` away",
        );
    }
    if let Some(table) = &route.table {
        table_in_range(table.value, &table.span, checker);
    }
    if let Some(mtu) = route.mtu.as_ref().filter(|mtu| mtu.value < MTU_MIN) {
        let message = format!("mtu {} is out of range: {MTU_MIN} to 4294967295", mtu.value);
        checker.problem(&mtu.span, message, "Ethernet's is 1500");
    }
    RouteExtras {
        kind: route.kind.as_ref().map(|kind| kind.value).filter(|kind| *kind != RouteKind::Unicast),
        table: route.table.as_ref().map(|table| table.value),
        metric: route.metric,
        src: route.src.as_ref().map(|src| src.value),
        mtu: route.mtu.as_ref().map(|mtu| mtu.value),
        onlink: route.onlink.unwrap_or(false),
    }
}

/// Whether packets go on by it.
pub fn is_unicast(route: &RouteTable) -> bool {
    route.kind.as_ref().is_none_or(|kind| kind.value == RouteKind::Unicast)
}

fn table_in_range(table: u32, span: &Range<usize>, checker: &mut Checker<'_>) {
    if table == 0 {
        checker.problem(
            span,
            "table 0 is none",
            "main is 254, local 255; any other number is a table of your own",
        );
    }
}

/// A rule.
pub fn rule(ns: &NsName, table: &At<RuleTable>, checker: &mut Checker<'_>) -> Rule {
    let asked = &table.value;
    if KERNELS_OWN.contains(&asked.priority.value) {
        let message = format!("priority {} is a rule of the kernel's own", asked.priority.value);
        checker.problem(&asked.priority.span, message, "choose one from 1 to 32765");
    }
    if let Some(number) = &asked.table {
        table_in_range(number.value, &number.span, checker);
    }
    for device in asked.iif.iter().chain(&asked.oif).filter(|device| device.value.as_str() != "lo") {
        checker.device_in(ns, device);
    }
    let family = |cidr: &Option<At<crate::net::address::Cidr>>| {
        cidr.as_ref().map(|cidr| (cidr.value.address.is_ipv6(), cidr.span.clone()))
    };
    let (from, to) = (family(&asked.from), family(&asked.to));
    if let (Some((one, _)), Some((other, span))) = (&from, &to)
        && one != other
    {
        checker.problem(span, "`to` is of another family than `from`", "make a rule for each family");
    }
    Rule {
        priority: asked.priority.value,
        ipv6: from.or(to).is_some_and(|(is_ipv6, _)| is_ipv6),
        from: asked.from.as_ref().map(|from| from.value),
        to: asked.to.as_ref().map(|to| to.value),
        iif: asked.iif.as_ref().map(|device| device.value.clone()),
        oif: asked.oif.as_ref().map(|device| device.value.clone()),
        fwmark: asked.fwmark,
        table: asked.table.as_ref().map(|table| table.value),
    }
}

/// A neighbour.
pub fn neighbour(ns: &NsName, table: &At<NeighbourTable>, checker: &mut Checker<'_>) -> Neighbour {
    let asked = &table.value;
    checker.device_in(ns, &asked.dev);
    if let Some(mac) = &asked.mac {
        checker.mac(mac);
    }
    let proxy = asked.proxy.as_ref().is_some_and(|proxy| proxy.value);
    match (&asked.mac, proxy) {
        (Some(mac), true) => {
            checker.problem(
                &mac.span,
                "a proxy has no address of its own",
                "take `mac` away: it answers with the device's",
            );
        }
        (None, false) if !checker.lost.any_field(&table.span) => {
            let hint = "add it, for example: mac = \"gateway:eth0\"; or proxy = true";
            checker.problem(&table.span, "missing key `mac`", hint);
        }
        _ => {}
    }
    if let Some(state) = asked.state.as_ref().filter(|_| proxy) {
        checker.problem(&state.span, "a proxy has no state", "take `state` away");
    }
    Neighbour {
        to: asked.to.value,
        dev: asked.dev.value.clone(),
        mac: asked.mac.as_ref().map(|mac| mac.value.clone()),
        state: asked.state.as_ref().map_or(NeighbourState::Permanent, |state| state.value),
        proxy,
    }
}

/// Checks that a network and the next hop to it are of one family.
pub fn one_family(to: Cidr, via: &At<IpAddr>, checker: &mut Checker<'_>) {
    if to.address.is_ipv4() != via.value.is_ipv4() {
        let message = format!("next hop {} is of another family than the network", via.value);
        checker.problem(&via.span, message, "IPv4 networks are reached by IPv4, IPv6 networks by IPv6");
    }
}
