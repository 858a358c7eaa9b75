//! The plan for people: one operation a line, everything in it that the file or the lab chose.

use std::fmt::{self, Display, Formatter};

use crate::net::address::MacSource;
use crate::net::bond::{Bond, BondChange};
use crate::net::dhcp::Server;
use crate::net::link::{Link, LinkKind};
use crate::net::name::{DeviceRef, NsName};
use crate::net::nic::{Slot, VfSettings};
use crate::net::option::{OptionRow, Value};
use crate::net::route::{Neighbour, NeighbourState, Route, RouteExtras};
use crate::net::switch_port::SwitchPort;
use crate::plan::moment::When;
use crate::plan::op::{Broken, Op, Part, Undo};
use crate::plan::{FlowPlan, Need, Plan, PluginCall, Role};
use crate::topology::condition::Condition;
use crate::topology::fault::{Fault, PartnerScript, PartnerSends};

impl Display for Need {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(kind) => write!(f, "links of kind {kind}"),
            Self::Qdisc(kind) => write!(f, "queueing discipline {kind}"),
            Self::Classifier(kind) => write!(f, "traffic control classifier {kind}"),
            Self::Hook { kind, hook } => write!(f, "{} hook of {}", hook.word(), kind.word()),
            Self::Backlog => f.write_str("net.core.netdev_max_backlog"),
            Self::Masquerade => f.write_str("source NAT of nftables"),
            Self::TeamMode(mode) => write!(f, "teams of mode {mode}"),
            Self::Cipher => f.write_str("the cipher gcm(aes)"),
            Self::Action(kind) => write!(f, "traffic control action {kind}"),
            Self::Gadget => f.write_str("a USB gadget with its host"),
            Self::Tap { backpressure: false } => f.write_str("links of kind tap"),
            Self::Tap { backpressure: true } => f.write_str("links of kind tap with backpressure"),
            Self::Netdevsim { linked: false } => f.write_str("devices of netdevsim"),
            Self::Netdevsim { linked: true } => f.write_str("devices of netdevsim, linked"),
            Self::Plugin(name) => write!(f, "CNI plugin {name}"),
            Self::Processors(count) => write!(f, "processors: {count}"),
            Self::CommandLine(word) => write!(f, "{word} on the kernel command line"),
            Self::Parameter { module, name, value } => write!(f, "{name}={value} of module {module}"),
            Self::WithoutModule(module) => write!(f, "no module {module}"),
            Self::Driver(module) => write!(f, "driver {module}"),
            Self::KernelLog => f.write_str("a kernel's log of its own"),
        }
    }
}

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan {}, IPv6 {}", self.topology, if self.ipv6 { "on" } else { "off" })?;
        for (number, Slot { device, driver, peer }) in self.slots.iter().enumerate() {
            writeln!(f, "slot {number} {driver} {device}, cable to slot {peer}")?;
        }
        if self.options.unobserved {
            writeln!(f, "drops are not watched")?;
        }
        if self.repetitions.get() > 1 {
            writeln!(f, "{} rounds of {} trials", self.repetitions, self.round_len())?;
        }
        for need in &self.needs {
            writeln!(f, "need {need}")?;
        }
        for (number, FlowPlan { flow, source, destination }) in self.flows.iter().enumerate() {
            write!(f, "flow {number} {}: {} frames of {} bytes", flow.name, flow.frames, flow.len)?;
            write_some(f, "tagged", flow.tag.map(|tag| tag.get()))?;
            write_some(f, "interval_us", flow.interval_us)?;
            write_some(f, "keepalive_s", flow.keepalive_s)?;
            writeln!(f, " from {} {source} to {} {destination} by {}", flow.from, flow.to, flow.socket)?;
            if flow.connect_late {
                writeln!(f, "  connects when it is sent")?;
            }
            if !flow.shape.is_default() {
                writeln!(f, "  {}", flow.shape)?;
            }
            if let Some(mac) = &flow.destination_mac {
                writeln!(f, "  addressed to {mac}")?;
            }
            if flow.counts_at != flow.socket.counts_at() {
                writeln!(f, "  counts at the {}", flow.counts_at.word())?;
            }
        }
        for (number, trial) in self.trials.iter().enumerate() {
            writeln!(f, "trial {number} {}", trial.role)?;
            for op in &trial.ops {
                writeln!(f, "  {op}")?;
            }
        }
        Ok(())
    }
}

impl Display for Role {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => f.write_str("main"),
            Self::Control => f.write_str("control"),
            Self::Hypothesis(name) => write!(f, "hypothesis {name}"),
            Self::Mitigation { cause, mitigation } => write!(f, "hypothesis {cause} under {mitigation}"),
            Self::Mutant(label) => write!(f, "mutant: {label}"),
        }
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(ns) => write!(f, "namespace {ns}"),
            Self::Sysctls { ns, sysctls } => write!(f, "sysctl in {ns} {}", list(sysctls)),
            Self::Create { link, peer } => write_create(f, link, peer.as_ref()),
            Self::Adopt { link, slot } => write_adopted(f, &format!("slot {slot} as "), link),
            Self::AdoptVf { link, .. } => write_adopted(f, "", link),
            Self::SetVf { pf, index, settings } => write_vf(f, pf, *index, settings),
            Self::SwitchPort(port) => write_port(f, port),
            Self::SetBond { device, change, .. } => write_change(f, device, change),
            Self::Join { port, controller } => write!(f, "join {port} to {controller}"),
            Self::Up(device) => write!(f, "up {device}"),
            Self::TxQueueLen { device, len } => write!(f, "txqueuelen of {device} {len}"),
            Self::Offload { device, offload, on } => {
                write!(f, "{offload} of {device} {}", if *on { "on" } else { "off" })
            }
            Self::Qdisc { device, qdisc } => write!(f, "qdisc of {device} {qdisc}"),
            Self::Addresses(link) => write!(f, "addresses of {} {}", link.device, list(&link.addresses)),
            Self::Route { ns, route } => write_route(f, ns, route),
            Self::Neighbour { ns, neighbour } => write_neighbour(f, ns, neighbour),
            Self::Configure(_)
            | Self::Secure { .. }
            | Self::BridgePort { .. }
            | Self::BridgeVlans { .. }
            | Self::Forwarding { .. }
            | Self::Multicast { .. }
            | Self::Filter { .. }
            | Self::Rule { .. } => write_extra(f, self),
            Self::Ready { devices } => write!(f, "wait for {}", list(devices)),
            Self::Verify { links } => {
                write!(f, "verify {}", list(links.iter().map(|link| &link.device)))
            }
            Self::Count(When::Before) => f.write_str("count before"),
            Self::Count(When::After) => f.write_str("count after"),
            Self::Inject { name, fault } => write_fault(f, "inject", name, fault),
            Self::Clear { name, fault, .. } => write_fault(f, "clear", name, fault),
            Self::Flood { flow, broken } => write_flood(f, *flow, broken.as_ref()),
            Self::Connect { flow } => write!(f, "connect {flow}"),
            Self::Capture(capture) => write!(f, "capture {}: {capture}", capture.name),
            Self::Wait { until: Condition { subject, bounds, .. }, within_ms, unless_timed_out } => {
                write!(f, "wait until {subject}: {bounds} within_ms {within_ms}")?;
                f.write_str(if *unless_timed_out { " unless one timed out" } else { "" })
            }
            Self::Request(_) | Self::Attempt { .. } | Self::Show(_) => write_asked(f, self),
            Self::Pause(for_ms) => write!(f, "pause_ms {for_ms}"),
            Self::Forward(ns) => write!(f, "forwarding in {ns}"),
            Self::Masquerade(device) => write!(f, "masquerade {device}"),
            Self::Down(device) => write!(f, "down {device}"),
            Self::Leave(device) => write!(f, "leave {device}"),
            Self::Address { device, mac } => write!(f, "address of {device} {mac}"),
            Self::Move { from, to } => write!(f, "move {from} to {to}"),
            Self::Delete(device) => write!(f, "delete {device}"),
            Self::Serve(server) => write_server(f, server),
            Self::Lease(call) => {
                write!(f, "lease of {} from {} as {}", call.device, call.network, call.client)
            }
            Self::Release(call) => write!(f, "release {}", call.device),
            Self::Plugin(call) => write_plugin(f, call),
            Self::Refuse(words) => write!(f, "refuse: {words}"),
            Self::Attach { pod, parts, fails, .. } => write_attach(f, pod, parts, fails.as_ref()),
            Self::Detach { pod, undos } => {
                write!(f, "detach {pod}")?;
                undos.iter().try_for_each(|undo| write_undo(f, undo))
            }
            Self::CheckPod { pod, links } => {
                write!(f, "check {pod}: {}", list(links.iter().map(|link| &link.device)))
            }
        }
    }
}

fn write_create(f: &mut Formatter<'_>, link: &Link, peer: Option<&Link>) -> fmt::Result {
    f.write_str("create ")?;
    write_link(f, link)?;
    peer.map_or(Ok(()), |peer| {
        f.write_str(" with ")?;
        write_link(f, peer)
    })
}

/// What is asked of a link or namespace beside what all have.
fn write_extra(f: &mut Formatter<'_>, op: &Op) -> fmt::Result {
    match op {
        Op::Configure(link) => write!(f, "configure {}", link.device),
        Op::Secure { device, macsec } => write!(f, "secure {device} with {}", macsec.peer),
        Op::BridgePort { port, settings } => {
            write!(f, "bridge port {port} {}", settings.words().join(" "))
        }
        Op::BridgeVlans { bridge, vlans } => write!(f, "bridge {bridge} vlans {}", list(vlans)),
        Op::Forwarding { device, entry } => write!(f, "fdb of {device} {entry}"),
        Op::Multicast { device, entry } => write!(f, "mdb of {device} {entry}"),
        Op::Filter { device, filter, number } => write!(f, "filter {number} of {device} {filter}"),
        Op::Rule { ns, rule } => write!(f, "rule in {ns} {rule}"),
        _ => Ok(()),
    }
}

fn write_asked(f: &mut Formatter<'_>, op: &Op) -> fmt::Result {
    match op {
        Op::Request(request) => request.fmt(f),
        Op::Show(all) => write!(f, "show {}", list(all)),
        Op::Attempt { ops, refused } => {
            write!(f, "{refused}")?;
            ops.iter().try_for_each(|op| write!(f, "\n    {op}"))
        }
        _ => Ok(()),
    }
}

fn write_plugin(f: &mut Formatter<'_>, call: &PluginCall) -> fmt::Result {
    let PluginCall { command, plugin, pod, ifname, .. } = call;
    write!(f, "run {plugin} {command} for {ifname} of {pod}")
}

fn write_neighbour(f: &mut Formatter<'_>, ns: &NsName, neighbour: &Neighbour) -> fmt::Result {
    let Neighbour { to, dev, mac, state, proxy } = neighbour;
    let proxy = if *proxy { "proxy " } else { "" };
    write!(f, "neighbour in {ns} {proxy}{to} dev {dev}")?;
    match mac {
        Some(MacSource::Literal(mac)) => write!(f, " mac {mac}")?,
        Some(MacSource::Of(device)) => write!(f, " mac of {device}")?,
        None => {}
    }
    write_some(f, "state", Some(state).filter(|state| **state != NeighbourState::Permanent))
}

fn write_port(f: &mut Formatter<'_>, port: &SwitchPort) -> fmt::Result {
    write!(f, "switch port {}", port.device)?;
    write_some(f, "source", port.source)?;
    write_some(f, "vlan", port.vlan.map(|vlan| vlan.get()))?;
    write_some(f, "trunks", port.vlan.map(|_| list(&port.trunks)))?;
    write_some(f, "lacp_sinks", (!port.lacp_sinks.is_empty()).then(|| list(&port.lacp_sinks)))
}

fn write_route(f: &mut Formatter<'_>, ns: &NsName, route: &Route) -> fmt::Result {
    let to = route.to.map_or_else(|| "default".into(), |to| to.to_string());
    write!(f, "route in {ns} to {to}")?;
    write_some(f, "via", route.via)?;
    write_some(f, "dev", route.dev.as_ref())?;
    let RouteExtras { kind, table, metric, src, mtu, onlink } = &route.extras;
    write_some(f, "type", kind.as_ref())?;
    write_some(f, "table", *table)?;
    write_some(f, "metric", *metric)?;
    write_some(f, "src", *src)?;
    write_some(f, "mtu", *mtu)?;
    f.write_str(if *onlink { " onlink" } else { "" })
}

fn write_server(f: &mut Formatter<'_>, server: &Server) -> fmt::Result {
    let Server { network, device, first, last, router, lease_s, .. } = server;
    write!(f, "serve DHCP of {network} at {device} {first}..{last} lease_s {lease_s}")?;
    write_some(f, "router", router.as_ref())
}

fn write_attach(f: &mut Formatter<'_>, pod: &NsName, parts: &[Part], fails: Option<&String>) -> fmt::Result {
    write!(f, "attach {pod}")?;
    write_some(f, "fails", fails)?;
    for Part { network, ops, undo } in parts {
        write!(f, "\n    ADD {network}")?;
        ops.iter().try_for_each(|op| write!(f, "\n      {op}"))?;
        write_undo(f, undo)?;
    }
    Ok(())
}

fn write_undo(f: &mut Formatter<'_>, undo: &Undo) -> fmt::Result {
    write!(f, "\n    DEL {}", undo.network)?;
    if let Some(device) = &undo.unless_gone {
        write!(f, " unless {device} is gone")?;
    }
    undo.ops.iter().try_for_each(|op| write!(f, "\n      {op}"))
}

fn list(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn write_some(f: &mut Formatter<'_>, key: &str, value: Option<impl Display>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, " {key} {value}"))
}

fn write_link(f: &mut Formatter<'_>, link: &Link) -> fmt::Result {
    write!(f, "{} {}", link.kind.word(), link.device)?;
    match &link.kind {
        LinkKind::Dummy => {}
        LinkKind::Veth { peer } | LinkKind::Gadget { peer } | LinkKind::GadgetHost { peer } => {
            write!(f, " peer {peer}")?;
        }
        LinkKind::Tun(tun) => {
            write!(f, " backpressure {}", tun.backpressure)?;
            write_some(f, "peer", tun.peer.as_ref())?;
        }
        LinkKind::Bond(bond) => write_bond(f, bond)?,
        LinkKind::Vlan { parent, id, protocol } => {
            write_parent(f, link, parent)?;
            write!(f, " id {} protocol {protocol}", id.get())?;
        }
        LinkKind::Ipvlan { parent, mode, flag } => {
            write_parent(f, link, parent)?;
            write!(f, " mode {mode} flag {flag}")?;
        }
        LinkKind::Macvlan { parent, mode } => {
            write_parent(f, link, parent)?;
            write!(f, " mode {mode}")?;
        }
        LinkKind::Bridge { vlan_filtering, .. } => write!(f, " vlan_filtering {vlan_filtering}")?,
        LinkKind::Virtual(virtual_link) => {
            if let Some(parent) = &virtual_link.parent {
                write_parent(f, link, parent)?;
            }
        }
        LinkKind::Netdevsim(sim) => {
            write_some(f, "peer", sim.peer.as_ref())?;
            write!(f, " vfs {}", sim.vfs.len())?;
        }
        LinkKind::Nic(nic) => write!(f, " driver {} peer {}", nic.driver, nic.peer)?,
        LinkKind::Pf(nic) => write!(f, " driver {} peer {} vfs {}", nic.driver, nic.peer, nic.vfs.len())?,
        LinkKind::Vf { of, index } => write!(f, " of {of} index {index}")?,
    }
    write_some(f, "mac", link.mac)?;
    write_some(f, "mtu", link.mtu)?;
    write_some(f, "txqueuelen", link.txqueuelen)?;
    link.extras.words(link.kind.word()).iter().try_for_each(|words| write!(f, " {words}"))
}

fn write_parent(f: &mut Formatter<'_>, link: &Link, parent: &DeviceRef) -> fmt::Result {
    if parent.ns == link.device.ns {
        write!(f, " parent {}", parent.name)
    } else {
        write!(f, " parent {parent}")
    }
}

fn write_adopted(f: &mut Formatter<'_>, place: &str, link: &Link) -> fmt::Result {
    write!(f, "adopt {place}")?;
    write_link(f, link)
}

fn write_flood(f: &mut Formatter<'_>, flow: u16, broken: Option<&Broken>) -> fmt::Result {
    write!(f, "flood {flow}")?;
    let Some(Broken { at_frame, name, fault }) = broken else { return Ok(()) };
    write!(f, ", at frame {at_frame} ")?;
    write_fault(f, "inject", name, fault)
}

fn write_vf(f: &mut Formatter<'_>, pf: &DeviceRef, index: u8, settings: &VfSettings) -> fmt::Result {
    write!(f, "vf {index} of {pf}")?;
    write_some(f, "mac", settings.mac)?;
    write_some(f, "vlan", settings.vlan.map(|vlan| vlan.get()))?;
    write_some(f, "qos", settings.qos)?;
    write_some(f, "spoofchk", settings.spoofchk)?;
    write_some(f, "trust", settings.trust)?;
    write_some(f, "link_state", settings.link_state)?;
    write_some(f, "max_tx_rate", settings.max_tx_rate)?;
    write_some(f, "min_tx_rate", settings.min_tx_rate)
}

fn write_bond(f: &mut Formatter<'_>, bond: &Bond) -> fmt::Result {
    write_options(f, &bond.values())
}

fn write_options(f: &mut Formatter<'_>, values: &[(&OptionRow, Value)]) -> fmt::Result {
    values.iter().try_for_each(|(row, value)| write!(f, " {} {}", row.key, row.wire.shown(value)))
}

fn write_change(f: &mut Formatter<'_>, device: &DeviceRef, change: &BondChange) -> fmt::Result {
    let what = match change {
        BondChange::Bond { .. } => "bond",
        BondChange::Port(_) => "port",
    };
    write!(f, "set {what} {device}")?;
    write_options(f, &change.values())
}

fn write_fault(f: &mut Formatter<'_>, verb: &str, name: &str, fault: &Fault) -> fmt::Result {
    write!(f, "{verb} {name}: ")?;
    match fault {
        Fault::Qdisc { device, qdisc } => write!(f, "qdisc of {device} {qdisc}"),
        Fault::Filter { device, hook, vlan, kind } => {
            write!(f, "{} {} filter of {device}", hook.word(), kind.word())?;
            write_some(f, "vlan", vlan.map(|vlan| vlan.get()))
        }
        Fault::Down { device } => write!(f, "down {device}"),
        Fault::Release { device, controller } => write!(f, "release {device} from {controller}"),
        Fault::Mtu { device, mtu, .. } => write!(f, "mtu of {device} {mtu}"),
        Fault::Hold { device, .. } => write!(f, "hold {device}"),
        Fault::Unplug { device, .. } => write!(f, "unplug {device}"),
        Fault::CarrierLost { device, down } => write!(f, "down {}, for {device}", list(down)),
        Fault::Stall { device, peer } => write!(f, "stall {device}, of which {peer} gets no frames"),
        Fault::Partner { device, peer, script: PartnerScript { sends, in_sync, key, system, flap_s } } => {
            write!(
                f,
                "partner of {device} at {peer}, {}",
                if *in_sync { "in sync" } else { "never in sync" }
            )?;
            f.write_str(match sends {
                PartnerSends::Fast => "",
                PartnerSends::Slow => ", slow",
                PartnerSends::Never => ", silent",
            })?;
            write_some(f, "flap_s", *flap_s)?;
            write_some(f, "key", *key)?;
            write_some(f, "system", *system)
        }
        other => f.write_str(&other.words()),
    }
}
