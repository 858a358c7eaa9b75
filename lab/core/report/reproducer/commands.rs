//! Operations of a plan as commands.

use crate::net::address::MacSource;
use crate::net::link::Link;
use crate::net::name::{DeviceRef, NsName};
use crate::net::offload::Offload;
use crate::net::route::{Neighbour, Route, RouteExtras};
use crate::plan::moment::When;
use crate::plan::op::{Broken, Op};
use crate::plan::{FlowPlan, Plan};
use crate::report::reproducer::faults::{self, words};
use crate::report::reproducer::links;
use crate::report::reproducer::script::{Script, quoted};
use crate::topology::condition::{Condition, State, Subject};
use crate::topology::scenario::Socket;

/// How long the script waits for carrier, in tenths of a second.
const CARRIER_TENTHS: u32 = 100;

/// Writes what one operation does.
pub fn perform(script: &mut Script, plan: &Plan, op: &Op) {
    match op {
        Op::Namespace(ns) => script.run(format!("new_namespace {}", quoted(ns.as_str()))),
        Op::Sysctls { ns, sysctls } => {
            for sysctl in sysctls {
                set(script, ns, &sysctl.name.file(), &sysctl.value.to_string());
            }
        }
        Op::Forward(ns) => set(script, ns, "net/ipv4/ip_forward", "1"),
        Op::Create { link, peer } => links::create(script, link, peer.as_ref()),
        Op::Addresses(link) => addresses(script, link),
        Op::Route { ns, route } => script.run(route_command(ns, route)),
        Op::Neighbour { ns, neighbour } => script.run(neighbour_command(ns, neighbour)),
        Op::Ready { devices } => {
            devices.iter().for_each(|device| wait_for(script, device, "carrier", 1, CARRIER_TENTHS))
        }
        Op::Count(When::Before) => script.run("count_before"),
        Op::Count(When::After) => script.run("count_after"),
        Op::Inject { name, fault } => faults::inject(script, name, fault),
        Op::Clear { name, fault, standing } => faults::clear(script, name, fault, standing.as_ref()),
        Op::Flood { flow, broken } => flood(script, plan, *flow, broken.as_ref()),
        Op::Wait { until, within_ms, .. } => wait(script, until, *within_ms),
        Op::Pause(ms) => script.run(format!("sleep {}", seconds(*ms))),
        Op::Verify { .. } => script.comment("Here the lab reads back and compares all that was asked for."),
        Op::Capture(capture) => script.comment(&format!("Here the lab begins to count {capture}.")),
        Op::Attach { parts, .. } => {
            parts.iter().flat_map(|part| &part.ops).for_each(|op| perform(script, plan, op));
        }
        Op::Detach { undos, .. } => {
            undos.iter().flat_map(|undo| &undo.ops).for_each(|op| perform(script, plan, op));
        }
        Op::CheckPod { pod, .. } => {
            script.comment(&format!("Here the lab reads back what is in the pod {pod}."))
        }
        Op::Connect { .. } => script.missing(&op.to_string(), "a connection of TCP is no command"),
        Op::Adopt { .. } | Op::AdoptVf { .. } | Op::SwitchPort(_) => {
            script.missing(&op.to_string(), "it is a NIC of the lab's machine, or a substitute for one");
        }
        Op::Serve(_) | Op::Lease(_) | Op::Release(_) => {
            script.missing(&op.to_string(), "DHCP is the lab's own")
        }
        Op::Plugin(_) | Op::Refuse(_) => {
            script.missing(&op.to_string(), "a CNI plugin is no command of ip or tc")
        }
        of_a_link => of_one(script, of_a_link),
    }
}

/// What one command does to one device.
fn of_one(script: &mut Script, op: &Op) {
    let Some((ns, name)) = op.devices().first().map(|device| words(device)) else {
        return script.missing(&op.to_string(), "the script has no command for it");
    };
    match op {
        Op::Join { controller, .. } => {
            let controller = quoted(controller.name.as_str());
            script.run(format!("ip -n {ns} link set {name} master {controller}"));
        }
        Op::Leave(_) => script.run(format!("ip -n {ns} link set {name} nomaster")),
        Op::Up(_) => script.run(format!("ip -n {ns} link set {name} up")),
        Op::Down(_) => script.run(format!("ip -n {ns} link set {name} down")),
        Op::Delete(_) => script.run(format!("ip -n {ns} link del {name}")),
        Op::Address { mac, .. } => script.run(format!("ip -n {ns} link set {name} address {mac}")),
        Op::TxQueueLen { len, .. } => script.run(format!("ip -n {ns} link set {name} txqueuelen {len}")),
        Op::Move { to, .. } => {
            let (there, new) = words(to);
            script.run(format!("ip -n {ns} link set {name} netns {there} name {new}"));
        }
        Op::SetBond { device, change, .. } => {
            links::change(script, device.ns.as_str(), device.name.as_str(), change)
        }
        Op::SetVf { index, settings, .. } => {
            let what = format!("settings of VF {index} of {ns}:{name}: {settings:?}");
            script.missing(&what, "there is no VF in the script");
        }
        Op::Offload { offload, on, .. } => {
            let feature = match offload {
                Offload::TxVlanOffload => "txvlan",
                Offload::RxVlanOffload => "rxvlan",
            };
            let on = if *on { "on" } else { "off" };
            script.run(format!("ip netns exec {ns} ethtool -K {name} {feature} {on}"));
        }
        Op::Qdisc { device, qdisc } => faults::qdisc(script, device, qdisc),
        Op::Masquerade(_) => {
            for what in [
                "add table ip lab_nat".to_owned(),
                "'add chain ip lab_nat out { type nat hook postrouting priority 100; }'".to_owned(),
                format!("add rule ip lab_nat out oifname {name} masquerade"),
            ] {
                script.run(format!("ip netns exec {ns} nft {what}"));
            }
        }
        _ => script.missing(&op.to_string(), "the script has no command for it"),
    }
}

fn set(script: &mut Script, ns: &NsName, file: &str, value: &str) {
    let (ns, file, value) = (quoted(ns.as_str()), quoted(&format!("/proc/sys/{file}")), quoted(value));
    script.run(format!("ip netns exec {ns} sh -c 'echo \"$2\" > \"$1\"' sh {file} {value}"));
}

fn addresses(script: &mut Script, link: &Link) {
    let (ns, name) = words(&link.device);
    for cidr in &link.addresses {
        let nodad = if cidr.address.is_ipv6() { " nodad" } else { "" };
        script.run(format!("ip -n {ns} address add {cidr} dev {name}{nodad}"));
    }
}

fn route_command(ns: &NsName, route: &Route) -> String {
    let to = route.to.map_or_else(|| "default".into(), |to| to.to_string());
    let via = route.via.map(|via| format!(" via {via}")).unwrap_or_default();
    let dev = route.dev.as_ref().map(|dev| format!(" dev {}", quoted(dev.as_str()))).unwrap_or_default();
    let ipv6 = route.to.map(|to| to.address).or(route.via).is_some_and(|address| address.is_ipv6());
    let family = if ipv6 { " -6" } else { "" };
    let RouteExtras { kind, table, metric, src, mtu, onlink } = &route.extras;
    let kind = kind.map(|kind| format!("{kind} ")).unwrap_or_default();
    let mut rest = String::new();
    for (key, value) in [("table", *table), ("metric", *metric), ("mtu", *mtu)] {
        rest += &value.map(|value| format!(" {key} {value}")).unwrap_or_default();
    }
    rest += &src.map(|src| format!(" src {src}")).unwrap_or_default();
    rest += if *onlink { " onlink" } else { "" };
    format!("ip -n {}{family} route add {kind}{to}{via}{dev}{rest} proto static", quoted(ns.as_str()))
}

fn neighbour_command(ns: &NsName, neighbour: &Neighbour) -> String {
    let Neighbour { to, dev, mac, state, proxy: _ } = neighbour;
    let (ns, dev) = (quoted(ns.as_str()), quoted(dev.as_str()));
    match mac {
        Some(mac) => {
            let mac = mac_word(mac);
            format!("ip -n {ns} neighbour replace {to} lladdr {mac} dev {dev} nud {state}")
        }
        // Only a proxy has no address of its own.
        None => format!("ip -n {ns} neighbour add proxy {to} dev {dev}"),
    }
}

fn mac_word(mac: &MacSource) -> String {
    match mac {
        MacSource::Literal(mac) => mac.to_string(),
        MacSource::Of(device) => {
            let (ns, name) = words(device);
            format!("\"$(address_of {ns} {name})\"")
        }
    }
}

fn wait_for(script: &mut Script, device: &DeviceRef, file: &str, value: u64, tenths: u32) {
    let (ns, name) = words(device);
    script.run(format!("wait_for {ns} {name} {file} {value} {tenths}"));
}

/// A state that a file of sysfs has is waited for; for others the script waits as long as the lab would at the most.
fn wait(script: &mut Script, until: &Condition, within_ms: u32) {
    let bounds = &until.bounds;
    let exact = (bounds.at_most == Some(bounds.at_least) || bounds.at_least == 1).then_some(bounds.at_least);
    match (&until.subject, exact) {
        (Subject::State { device, state: State::Carrier }, Some(value)) => {
            wait_for(script, device, "carrier", value, within_ms / 100);
        }
        (Subject::State { device, state: State::Mtu }, Some(value)) => {
            wait_for(script, device, "mtu", value, within_ms / 100);
        }
        _ => {
            script.comment(&format!("The lab waits here until {}: {}", until.subject, until.bounds));
            script.run(format!("sleep {}", seconds(within_ms)));
        }
    }
}

fn seconds(ms: u32) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

fn flood(script: &mut Script, plan: &Plan, number: u16, broken: Option<&Broken>) {
    let Some(flow) = plan.flows.get(usize::from(number)) else { return };
    if flow.flow.socket == Socket::Tcp {
        return script.missing(&format!("flow {}", flow.flow.name), "a connection of TCP is no command");
    }
    if flow.flow.socket == Socket::Raw || !flow.flow.shape.is_default() {
        let what = format!("flow {}", flow.flow.name);
        return script.missing(&what, "the script's sender has IPv4 packets of the kernel's own kind only");
    }
    if flow.flow.socket != Socket::Ping {
        let place = format!("{} {}", quoted(flow.flow.to.ns.as_str()), flow.destination);
        let sink = format!("sink {place}");
        if !script.lines.contains(&sink) {
            script.run(sink);
        }
    }
    let Some(Broken { at_frame, name, fault }) = broken else {
        return script.run(send(flow, flow.flow.frames));
    };
    script.run(send(flow, *at_frame));
    faults::inject(script, name, fault);
    script.run(send(flow, flow.flow.frames.saturating_sub(*at_frame)));
}

/// The command that sends so many frames of a flow.
fn send(plan: &FlowPlan, frames: u32) -> String {
    let flow = &plan.flow;
    let (ns, device) = words(&flow.from);
    let next_hop = match &flow.destination_mac {
        Some(mac) => mac_word(mac),
        None => mac_word(&MacSource::Of(flow.to.clone())),
    };
    // An AF_PACKET socket is bound to its device in any case.
    let is_packet = matches!(flow.socket, Socket::Packet | Socket::PacketBypass);
    let device = if flow.unbound && !is_packet { "-".to_owned() } else { device };
    format!(
        "flood {ns} {} {} {device} {} {} {next_hop} {} {} {frames} {}",
        quoted(&flow.name),
        flow.socket,
        plan.source,
        plan.destination,
        flow.tag.map_or(0, |tag| tag.get()),
        flow.len,
        flow.interval_us.unwrap_or(0),
    )
}
