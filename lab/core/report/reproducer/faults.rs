//! Queueing disciplines and faults as commands of `tc`, `ip` and `nft`.

use std::fmt::Write;

use crate::net::name::{DeviceRef, VlanId};
use crate::net::qdisc::Qdisc;
use crate::report::reproducer::script::{Script, quoted};
use crate::topology::fault::{Fault, FilterKind, Hook};

/// Namespace and device, each as a word of a command.
pub fn words(device: &DeviceRef) -> (String, String) {
    (quoted(device.ns.as_str()), quoted(device.name.as_str()))
}

/// Puts a queueing discipline at the root of a device.
pub fn qdisc(script: &mut Script, device: &DeviceRef, qdisc: &Qdisc) {
    let (ns, name) = words(device);
    if let Some(kind) = unwritten(qdisc) {
        return script.missing(
            &format!("qdisc of {device} {qdisc}"),
            &format!("the script has no command for {kind}"),
        );
    }
    script.run(format!("tc -n {ns} qdisc replace dev {name} root{}{}", handle(qdisc), options(qdisc)));
    if let Some(child) = qdisc.child() {
        script.run(format!("tc -n {ns} qdisc replace dev {name} parent 1:1 handle 2:{}", options(child)));
    }
}

/// The kind of a discipline, or of one inside it, whose options are not written as `tc` has them.
fn unwritten(qdisc: &Qdisc) -> Option<&'static str> {
    match qdisc {
        Qdisc::Pie { .. }
        | Qdisc::Red { .. }
        | Qdisc::Htb { .. }
        | Qdisc::Hfsc { .. }
        | Qdisc::Multiq
        | Qdisc::Mqprio { .. }
        | Qdisc::Mq { .. }
        | Qdisc::Teql => Some(qdisc.kind()),
        _ => qdisc.child().and_then(unwritten),
    }
}

/// Only what has something inside needs a handle.
fn handle(qdisc: &Qdisc) -> &'static str {
    if qdisc.child().is_some() { " handle 1:" } else { "" }
}

/// A discipline as `tc` writes it: rates in bit/s, sizes in bytes.
fn options(qdisc: &Qdisc) -> String {
    let mut out = format!(" {}", qdisc.kind());
    let mut word = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(out, " {key} {value}");
        }
    };
    match qdisc {
        Qdisc::Pfifo { limit }
        | Qdisc::Bfifo { limit }
        | Qdisc::PfifoHeadDrop { limit }
        | Qdisc::Plug { limit }
        | Qdisc::Sfq { limit } => word("limit", Some(limit.to_string())),
        Qdisc::Tbf { rate, burst, limit, .. } => {
            word("rate", Some(format!("{rate}bit")));
            word("burst", Some(format!("{burst}b")));
            word("limit", Some(format!("{limit}b")));
        }
        Qdisc::Netem { limit, delay_us, loss_percent } => {
            word("limit", Some(limit.to_string()));
            word("delay", Some(format!("{delay_us}us")));
            word(
                "loss",
                Some(*loss_percent).filter(|percent| *percent > 0).map(|percent| format!("{percent}%")),
            );
        }
        Qdisc::Codel { limit } | Qdisc::FqCodel { limit } => {
            word("limit", limit.map(|limit| limit.to_string()))
        }
        Qdisc::Fq { limit, flow_limit } => {
            word("limit", limit.map(|limit| limit.to_string()));
            word("flow_limit", flow_limit.map(|limit| limit.to_string()));
        }
        Qdisc::Cake { rate, limit } => {
            word("bandwidth", rate.map(|rate| format!("{rate}bit")));
            word("memlimit", limit.map(|limit| format!("{limit}b")));
        }
        // The rest has no options, or is not written at all.
        _ => {}
    }
    out
}

/// Breaks something.
pub fn inject(script: &mut Script, name: &str, fault: &Fault) {
    script.comment(&format!("inject {name}"));
    let (ns, device) = words(fault.device());
    match fault {
        Fault::Qdisc { device, qdisc: broken } => qdisc(script, device, broken),
        Fault::Filter { hook, vlan, kind, .. } => filter(script, (&ns, &device), (*hook, *vlan, *kind), name),
        Fault::Down { .. } => script.run(format!("ip -n {ns} link set {device} down")),
        Fault::Release { .. } => script.run(format!("ip -n {ns} link set {device} nomaster")),
        Fault::Mtu { mtu, .. } => script.run(format!("ip -n {ns} link set {device} mtu {mtu}")),
        Fault::CarrierLost { down, .. } => {
            for one in down {
                let (ns, device) = words(one);
                script.run(format!("ip -n {ns} link set {device} down"));
            }
        }
        Fault::Backlog { limit, .. } => {
            script.comment("This setting is the whole machine's, and stays after the script.");
            script.run(format!("echo {limit} > /proc/sys/net/core/netdev_max_backlog"));
        }
        _ => script.missing(&format!("inject {name}"), why(fault)),
    }
}

/// Mends it; `standing` is the discipline that the topology itself gives the device.
pub fn clear(script: &mut Script, name: &str, fault: &Fault, standing: Option<&Qdisc>) {
    script.comment(&format!("clear {name}"));
    let (ns, device) = words(fault.device());
    match (fault, standing) {
        (Fault::Qdisc { device, .. }, Some(standing)) => qdisc(script, device, standing),
        (Fault::Qdisc { .. }, None) => script.run(format!("tc -n {ns} qdisc del dev {device} root")),
        (Fault::Filter { hook, vlan, kind: FilterKind::Clsact, .. }, _) => {
            script.run(format!(
                "tc -n {ns} filter del dev {device} {} pref {}",
                hook.word(),
                preference(*vlan)
            ));
        }
        (Fault::Filter { kind: FilterKind::Nft | FilterKind::NftInput, .. }, _) => {
            let family =
                if matches!(fault, Fault::Filter { kind: FilterKind::Nft, .. }) { "netdev" } else { "ip" };
            script.run(format!("ip netns exec {ns} nft delete table {family} {}", table(name)));
        }
        (Fault::Down { .. }, _) => script.run(format!("ip -n {ns} link set {device} up")),
        (Fault::Release { controller, .. }, _) => {
            let controller = quoted(controller.name.as_str());
            script.run(format!("ip -n {ns} link set {device} down"));
            script.run(format!("ip -n {ns} link set {device} master {controller}"));
            script.run(format!("ip -n {ns} link set {device} up"));
        }
        (Fault::Mtu { standing, .. }, _) => {
            script.run(format!("ip -n {ns} link set {device} mtu {standing}"))
        }
        (Fault::CarrierLost { down, .. }, _) => {
            for one in down {
                let (ns, device) = words(one);
                script.run(format!("ip -n {ns} link set {device} up"));
            }
        }
        _ => script.missing(&format!("clear {name}"), why(fault)),
    }
}

fn filter(
    script: &mut Script,
    (ns, device): (&str, &str),
    (hook, vlan, kind): (Hook, Option<VlanId>, FilterKind),
    name: &str,
) {
    let table = table(name);
    let hook = hook.word();
    match (kind, vlan) {
        (FilterKind::Clsact, _) => {
            let what = match vlan {
                None => "protocol all pref 1 matchall".to_owned(),
                Some(id) => format!("protocol 802.1Q pref {} flower vlan_id {}", preference(vlan), id.get()),
            };
            script.run(format!("tc -n {ns} qdisc add dev {device} clsact 2>/dev/null || :"));
            script.run(format!("tc -n {ns} filter add dev {device} {hook} {what} action drop"));
        }
        (FilterKind::Nft, None) => {
            script.run(format!("ip netns exec {ns} nft add table netdev {table}"));
            script.run(format!(
                "ip netns exec {ns} nft \"add chain netdev {table} drop_all {{ type filter hook {hook} device {device} priority 0; policy drop; }}\""
            ));
        }
        (FilterKind::NftInput, None) => {
            script.run(format!("ip netns exec {ns} nft add table ip {table}"));
            script.run(format!("ip netns exec {ns} nft \"add chain ip {table} input {{ type filter hook input priority 0; }}\""));
            script.run(format!("ip netns exec {ns} nft add rule ip {table} input iifname {device} drop"));
        }
        (FilterKind::Tcx | FilterKind::Xdp | FilterKind::XdpGeneric, _) => {
            script.missing(
                &format!("inject {name}"),
                "it is a BPF program, and no command of ip or tc has one",
            );
        }
        (FilterKind::Nft | FilterKind::NftInput, Some(_)) => {
            script.missing(&format!("inject {name}"), "nftables sees no tag there");
        }
    }
}

/// The preference says what a filter matches, so that it can be taken away by it.
fn preference(vlan: Option<VlanId>) -> u32 {
    vlan.map_or(1, |id| 2 + u32::from(id.get()))
}

/// A name of a table: letters, digits and underlines.
fn table(fault: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("lab_{}", fault.chars().map(plain).collect::<String>())
}

fn why(fault: &Fault) -> &'static str {
    match fault {
        Fault::Hold { .. } => "no command stops the receiving end of a veth",
        Fault::Unplug { .. } => "the cable of an emulated NIC is QEMU's",
        Fault::Stall { .. } => "no command stops the driver of a USB gadget, or what reads a tap",
        Fault::Partner { .. } => "no command answers as an LACP partner",
        Fault::Rcvbuf { .. } | Fault::Closed { .. } => "the receiving socket is the script's own",
        Fault::Backlog { .. } => "the value before it is not known to the script",
        Fault::Filter { .. } => "a BPF program is no command",
        _ => "no command of ip or tc does this",
    }
}
