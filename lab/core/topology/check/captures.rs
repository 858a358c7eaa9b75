//! Captures: which frames are counted where, resolved and checked.

use indexmap::IndexMap;

use crate::net::address::{Mac, MacSource};
use crate::net::frame_class::FrameClass;
use crate::net::name::VlanId;
use crate::topology::Topology;
use crate::topology::check::Checker;
use crate::topology::file::{At, CaptureTable, TopologyFile};
use crate::topology::scenario::Capture;

/// Resolves all captures of a file.
pub fn resolve(
    file: &TopologyFile,
    topology: &Topology,
    checker: &mut Checker<'_>,
) -> IndexMap<String, Capture> {
    let mut captures = IndexMap::new();
    for (name, table) in &file.capture {
        checker.device(&table.device);
        askable(table, topology, checker);
        let capture = Capture {
            name: name.value.clone(),
            device: table.device.value.clone(),
            what: table.what,
            vlan: table.vlan.as_ref().map(|vlan| vlan.value),
            src_mac: table.src_mac.as_ref().map(|mac| mac.value.clone()),
            src_ip: table.src_ip.as_ref().map(|address| address.value),
            pcp: table.pcp.as_ref().map(|pcp| up_to(pcp, 7, "a priority (PCP)", checker)),
            dscp: table.dscp.as_ref().map(|dscp| up_to(dscp, 63, "a DSCP", checker)),
            ecn: table.ecn.as_ref().map(|ecn| up_to(ecn, 3, "a value of ECN", checker)),
            flow: table.flow.as_ref().map(|flow| of_flow(flow, table, file, checker)),
        };
        captures.insert(name.value.clone(), capture);
    }
    captures
}

fn up_to(at: &At<u8>, most: u8, what: &str, checker: &mut Checker<'_>) -> u8 {
    if at.value > most {
        let hint = format!(
            "it is 0 to {most}; the type of service has DSCP in its upper six bits, and ECN in the lower two"
        );
        checker.problem(&at.span, format!("{} is not {what}", at.value), hint);
    }
    at.value
}

/// Checks that there can be such frames.
fn askable(table: &CaptureTable, topology: &Topology, checker: &mut Checker<'_>) {
    if let Some(vlan) = table.vlan.as_ref().filter(|vlan| vlan.value == VlanId::UNTAGGED) {
        let hint = "take `vlan` away: a tag with VID 0 has a priority only, and its frame counts as untagged";
        checker.problem(&vlan.span, "VLAN 0 is no VLAN", hint);
    }
    if let Some(mac) = &table.src_mac {
        checker.mac(mac);
        match &mac.value {
            MacSource::Literal(literal) if !can_send(*literal) => {
                let message = format!("no frame is sent from {literal}");
                checker.problem(&mac.span, message, "give one device's address: neither zero nor a group's");
            }
            MacSource::Of(device) if topology.links.get(device).is_some_and(|link| link.later) => {
                let message = format!("{device} is not there before the first step");
                checker.problem(
                    &mac.span,
                    message,
                    "name a device that the topology has, or write the address out",
                );
            }
            _ => {}
        }
    }
    for (key, at) in [("dscp", &table.dscp), ("ecn", &table.ecn)] {
        if let Some(at) = at.as_ref().filter(|_| !table.what.is_of_ip()) {
            let message = format!("frames of the class {} have no `{key}`", table.what);
            checker.problem(&at.span, message, "it is a field of IPv4 and IPv6: use it with another class");
        }
    }
    if let Some(address) = table.src_ip.as_ref().filter(|address| !table.what.can_be_from(address.value)) {
        let (message, hint) = match table.what {
            FrameClass::Lacpdu => (format!("a {} has no IP address", table.what), "use `src_mac`"),
            what => {
                let family = if address.value.is_ipv4() { "IPv4" } else { "IPv6" };
                (
                    format!("no frame of the class {what} is sent from an {family} address"),
                    "use the other family's, or `src_mac`",
                )
            }
        };
        checker.problem(&address.span, message, hint);
    }
}

/// The flow whose frames are counted.
fn of_flow(
    flow: &At<String>,
    table: &CaptureTable,
    file: &TopologyFile,
    checker: &mut Checker<'_>,
) -> String {
    if table.what != FrameClass::Probe {
        let message = format!("no frame of the class {} is of a flow", table.what);
        checker.problem(&flow.span, message, "the lab's own frames are counted with `what = \"probe\"`");
    } else if !file.flow.keys().any(|name| name.value == flow.value) {
        let known: Vec<String> = file.flow.keys().map(|name| name.value.clone()).collect();
        checker.dangling(&flow.span, "flow", &flow.value, &known);
    }
    flow.value.clone()
}

/// Whether it is one station's address: not all zero, and no group's (the I/G bit of IEEE 802).
fn can_send(mac: Mac) -> bool {
    mac.0 != [0; 6] && mac.0[0] & 1 == 0
}
