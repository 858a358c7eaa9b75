//! Steps about multicast groups: entries of a bridge's database, and sockets that join and leave.

use std::net::IpAddr;

use crate::net::name::DeviceRef;
use crate::topology::check::{Checker, extras};
use crate::topology::file::{At, StepTable, TopologyFile};
use crate::topology::request::Request;

/// What a step asks about a group of this device, where it does.
pub fn request(
    device: &At<DeviceRef>,
    step: &At<StepTable>,
    file: &TopologyFile,
    checker: &mut Checker<'_>,
) -> Option<Request> {
    let StepTable { add_mdb, delete_mdb, join, leave, .. } = &step.value;
    let of = || device.value.clone();
    let entries = add_mdb.iter().map(|at| (at, true)).chain(delete_mdb.iter().map(|at| (at, false)));
    if let Some((entry, is_added)) = entries.into_iter().next() {
        let entry = extras::mdb_entry(entry, checker);
        return Some(Request::Multicast { device: of(), entry, is_added });
    }
    if let Some(group) = join {
        is_group(group, checker);
        return Some(Request::Membership { device: of(), group: group.value, joins: true });
    }
    let group = leave.as_ref()?;
    if is_group(group, checker) && !has_joined(device, step, group.value, file) {
        let message = format!("no step before has joined {} by {}", group.value, device.value);
        checker.problem(&group.span, message, "join it before: join = \"239.0.0.1\"");
    }
    Some(Request::Membership { device: of(), group: group.value, joins: false })
}

fn is_group(at: &At<IpAddr>, checker: &mut Checker<'_>) -> bool {
    let is_group = at.value.is_multicast();
    if !is_group {
        let message = format!("{} is no multicast address", at.value);
        checker.problem(&at.span, message, "give a group as \"239.0.0.1\" or \"ff05::1\"");
    }
    is_group
}

/// Whether a socket is in the group when this step comes.
fn has_joined(device: &At<DeviceRef>, step: &At<StepTable>, group: IpAddr, file: &TopologyFile) -> bool {
    let is_it = |at: &Option<At<IpAddr>>| at.as_ref().is_some_and(|at| at.value == group);
    let all = file.step.iter().map(|other| &other.value);
    let before = all.take_while(|other| !std::ptr::eq(*other, &step.value));
    let of_device = |other: &&StepTable| other.set.as_ref().is_some_and(|at| at.value == device.value);
    before
        .filter(of_device)
        .filter(|other| other.refused.is_none())
        .fold(false, |joined, other| (joined || is_it(&other.join)) && !is_it(&other.leave))
}
