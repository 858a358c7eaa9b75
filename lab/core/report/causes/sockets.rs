//! What each kind of socket returns: the causes that stand before all of them, side by side.

use std::fmt::Write;

use crate::report::behaviour;
use crate::report::causes::{Cause, Seen, groups, told};
use crate::topology::scenario::Socket;

/// Every kind, in the order of the table.
const KINDS: [Socket; 6] =
    [Socket::Packet, Socket::PacketBypass, Socket::Udp, Socket::UdpRecverr, Socket::Ping, Socket::Tcp];

/// One row for each cause that every kind of socket stands before, and behaviour.
pub fn tables(out: &mut String, causes: &[Cause], order: &[String]) {
    let all_kinds = |cause: &&Cause| KINDS.iter().all(|kind| flow_of(cause, *kind).is_some());
    let causes: Vec<&Cause> = causes.iter().filter(all_kinds).collect();
    if causes.is_empty() {
        return;
    }
    out.push_str("\n## What each kind of socket returns\n\n");
    out.push_str("The same frames, lost in the same place, and the error that the sending program gets: *nothing* is success.\n\n");
    let heads: Vec<String> = KINDS.iter().map(|kind| format!("`{kind}`")).collect();
    let _ = writeln!(out, "| cause | kernels | {} |", heads.join(" | "));
    let _ = writeln!(out, "|{}", "---|".repeat(KINDS.len() + 2));
    for cause in causes {
        let name = &cause.topology.name;
        for (number, group) in groups(cause).iter().enumerate() {
            let seen = Seen::of(&group.behaviour);
            let first = if number == 0 { format!("[{name}](#{name})") } else { String::new() };
            let kernels = behaviour::ranges(order, &group.kernels);
            let kernels = if group.kernels.len() == order.len() { "all".to_owned() } else { kernels };
            let cells: Vec<String> = KINDS.iter().map(|kind| cell(cause, &seen, *kind)).collect();
            let _ = writeln!(out, "| {first} | {kernels} | {} |", cells.join(" | "));
        }
    }
}

fn flow_of(cause: &Cause, kind: Socket) -> Option<&str> {
    let flows = cause.topology.scenario.flows.values();
    flows.filter(|flow| flow.socket == kind).map(|flow| flow.name.as_str()).next()
}

fn cell(cause: &Cause, seen: &Seen<'_>, kind: Socket) -> String {
    let flow = seen.flows.iter().find(|(name, _)| Some(*name) == flow_of(cause, kind));
    flow.map_or_else(|| "-".to_owned(), |(_, flow)| told(flow))
}
