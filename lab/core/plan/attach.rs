//! From an attachment to operations: ADD of each delegate, DEL of each, and what CHECK reads back.

use crate::net::address::Mac;
use crate::net::dhcp::DAEMON_SOCKET;
use crate::net::link::{Link, LinkKind};
use crate::net::name::{DeviceRef, IfName};
use crate::net::nic::VfSettings;
use crate::plan::op::{Op, Part, Undo};
use crate::plan::{LeaseCall, PluginCall, attach_bond};
use crate::topology::cni::{Attached, Attachment, Delegate, Ipam};

/// ADD, in the annotation's order; each with its DEL.
pub fn add(attachment: &Attachment) -> Op {
    let part = |attached: &Attached| {
        if attached.network.real {
            let ops = vec![plugin("ADD", attached, attachment), Op::Verify { links: read_back(attached) }];
            return Part { network: attached.network.name.clone(), ops, undo: undo(attached, attachment) };
        }
        let mut ops = match &attached.network.delegate {
            Delegate::Bond(bond) => attach_bond::add(bond, attached, attachment),
            Delegate::HostDevice { .. } | Delegate::Sriov(_) => take(attached),
            Delegate::Bridge { .. } => bridge(attached),
            Delegate::Macvlan { .. } | Delegate::Ipvlan { .. } | Delegate::Vlan { .. } => on_parent(attached),
        };
        ops.extend(configure(attached, attachment));
        ops.extend(gateway(attached));
        ops.push(Op::Verify { links: attached.links.clone() });
        Part { network: attached.network.name.clone(), ops, undo: undo(attached, attachment) }
    };
    Op::Attach {
        pod: attachment.pod.clone(),
        parts: attachment.delegates.iter().map(part).collect(),
        fails: attachment.fails.clone(),
        refused: attachment.refused.clone(),
    }
}

/// DEL, in reverse order (`delPlugins()` of Multus).
pub fn del(attachment: &Attachment) -> Op {
    let undos = attachment.delegates.iter().rev().map(|attached| undo(attached, attachment)).collect();
    Op::Detach { pod: attachment.pod.clone(), undos }
}

/// CHECK: everything is still as ADD made it.
pub fn check(attachment: &Attachment) -> Op {
    let links = attachment.delegates.iter().flat_map(read_back);
    let mut all: Vec<Link> = Vec::new();
    // A port of a later bond was first a link of its own: the last word counts.
    for link in links {
        all.retain(|earlier| earlier.device != link.device);
        all.push(link);
    }
    Op::CheckPod { pod: attachment.pod.clone(), links: all }
}

/// What can be read back: the end of a cable that the bridge plugin makes at the node has a name of chance, and the bond
/// plugin gives a link whose address another has an address of chance.
fn read_back(attached: &Attached) -> Vec<Link> {
    match (&attached.network.delegate, &attached.links[..]) {
        (Delegate::Bridge { .. }, [bridge, far, near]) if attached.network.real => {
            let mut bridge = bridge.clone();
            if let LinkKind::Bridge { ports, .. } = &mut bridge.kind {
                ports.retain(|port| *port != far.device.name);
            }
            vec![bridge, near.clone()]
        }
        (Delegate::Bond(_), links) if attached.network.real => {
            let of_chance = |mac: &Mac| *mac == crate::topology::cni::attach::ASCII_OF_02_3F;
            let known = |link: &Link| Link { mac: link.mac.filter(|mac| !of_chance(mac)), ..link.clone() };
            links.iter().map(known).collect()
        }
        (_, links) => links.to_vec(),
    }
}

/// The link in the pod: the last that a delegate made.
fn made(attached: &Attached) -> &Link {
    attached.links.last().expect("every delegate makes one")
}

/// `ConfigureIface()`: addresses, then routes.
fn configure(attached: &Attached, attachment: &Attachment) -> Vec<Op> {
    if let Some(call) = lease(attached, attachment) {
        return vec![Op::Lease(call)];
    }
    let mut ops = Vec::new();
    if !attached.addresses.is_empty() {
        ops.push(Op::Addresses(made(attached).clone()));
    }
    let routes = attached.routes.iter().cloned();
    ops.extend(routes.map(|route| Op::Route { ns: attachment.pod.clone(), route }));
    ops
}

/// What a DHCP server is asked for. The client's name is that of the plugins' daemon: container, network, interface.
fn lease(attached: &Attached, attachment: &Attachment) -> Option<LeaseCall> {
    (attached.network.ipam == Some(Ipam::Dhcp)).then(|| LeaseCall {
        network: attached.network.name.clone(),
        device: made(attached).device.clone(),
        client: format!("{}/{}/{}", attachment.pod, attached.network.name, attached.ifname),
    })
}

/// host-device, and sriov after it has set the VF's options at the PF: moved, renamed, up.
fn take(attached: &Attached) -> Vec<Op> {
    let to = &made(attached).device;
    let mut ops = Vec::new();
    for link in &attached.taken {
        ops.extend(tell_pf(attached, link));
        ops.push(Op::Down(link.device.clone()));
        ops.push(Op::Move { from: link.device.clone(), to: to.clone() });
        ops.extend(own_mac(&attached.network.delegate, to));
    }
    ops.push(Op::Up(to.clone()));
    ops
}

/// `ApplyVFConfig()` of sriov-cni: what the configuration says of the VF, by way of its PF, before it is moved. Where a
/// switch is the substitute, its port is set.
fn tell_pf(attached: &Attached, link: &Link) -> Option<Op> {
    let settings = attached.network.delegate.vf_settings()?;
    let Some(port) = &attached.port else { return told(settings, link) };
    let told = port.told(settings).expect("checked: a switch does it");
    (told != *port).then_some(Op::SwitchPort(told))
}

fn told(settings: &VfSettings, vf: &Link) -> Option<Op> {
    let LinkKind::Vf { of, index } = &vf.kind else { return None };
    let says_something = *settings != VfSettings::default();
    says_something.then(|| Op::SetVf { pf: of.clone(), index: *index, settings: settings.clone() })
}

/// `SetVFEffectiveMAC()` of sriov-cni: the VF's own address, besides what the PF says it is.
fn own_mac(delegate: &Delegate, device: &DeviceRef) -> Option<Op> {
    let Delegate::Sriov(VfSettings { mac: Some(mac), .. }) = delegate else { return None };
    Some(Op::Address { device: device.clone(), mac: *mac })
}

/// The bridge unless it is there, a cable, and its end at the node into the bridge.
fn bridge(attached: &Attached) -> Vec<Op> {
    let [bridge, far, near] = &attached.links[..] else { return Vec::new() };
    let mut ops = Vec::new();
    if attached.bridged.is_new {
        ops.push(Op::Create { link: bridge.clone(), peer: None });
        ops.push(Op::Up(bridge.device.clone()));
    }
    ops.push(Op::Create { link: near.clone(), peer: Some(far.clone()) });
    ops.push(Op::Up(near.device.clone()));
    ops.push(Op::Up(far.device.clone()));
    ops.push(Op::Join { port: far.device.clone(), controller: bridge.device.clone() });
    ops
}

/// `isGateway`: the bridge's own address, after the pod's, and forwarding.
fn gateway(attached: &Attached) -> Vec<Op> {
    let (Delegate::Bridge { is_gateway: true, .. }, Some(bridge)) =
        (&attached.network.delegate, attached.links.first())
    else {
        return Vec::new();
    };
    let gateways = Link { addresses: attached.bridged.gateways.clone(), ..bridge.clone() };
    vec![Op::Addresses(gateways), Op::Forward(bridge.device.ns.clone())]
}

/// macvlan, ipvlan and vlan: made on a parent of the node, and up.
fn on_parent(attached: &Attached) -> Vec<Op> {
    let link = made(attached);
    vec![Op::Create { link: link.clone(), peer: None }, Op::Up(link.device.clone())]
}

/// The plugin's own program. It moves or makes links behind the lab's back.
fn plugin(command: &str, attached: &Attached, attachment: &Attachment) -> Op {
    let made = attached.links.iter().chain(&attached.taken).map(|link| link.device.clone());
    let asks_daemon = attached.network.ipam == Some(Ipam::Dhcp);
    let config = &attached.network.json;
    Op::Plugin(Box::new(PluginCall {
        command: command.into(),
        plugin: attached.network.delegate.plugin().into(),
        node: attachment.node.clone(),
        pod: attachment.pod.clone(),
        ifname: attached.ifname.clone(),
        args: args_of(attachment),
        config: if asks_daemon { asking_daemon(config) } else { config.clone() },
        changes: made.collect(),
        vf: vf_of(attached).filter(|_| command == "ADD"),
        asks_daemon,
    }))
}

/// What a device plugin hands out: sriov-cni knows its VF by `deviceID` alone.
fn vf_of(attached: &Attached) -> Option<IfName> {
    let is_sriov = matches!(attached.network.delegate, Delegate::Sriov(_));
    attached.taken.first().filter(|_| is_sriov).map(|link| link.device.name.clone())
}

/// CNI_ARGS as kubelet's runtime gives it (`toCNIArgs()` of containerd).
fn args_of(Attachment { pod, .. }: &Attachment) -> String {
    format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_INFRA_CONTAINER_ID={pod}")
}

/// `daemonSocketPath` of the plugin `dhcp`. `@` is the abstract namespace, which each network namespace has its own of:
/// there is no file, and the daemons of two trials do not meet.
fn asking_daemon(config: &str) -> String {
    let Ok(mut config) = serde_json::from_str::<serde_json::Value>(config) else { return config.into() };
    config["ipam"]["daemonSocketPath"] = format!("@{DAEMON_SOCKET}").into();
    config.to_string()
}

/// DEL of IPAM comes before the plugin's own.
fn undo(attached: &Attached, attachment: &Attachment) -> Undo {
    let mut undo = undo_link(attached, attachment);
    if let Some(call) = lease(attached, attachment).filter(|_| !attached.network.real) {
        undo.ops.insert(0, Op::Release(call));
    }
    undo
}

fn undo_link(attached: &Attached, attachment: &Attachment) -> Undo {
    let here = DeviceRef::new(&attachment.pod, &attached.ifname);
    let ops = match &attached.network.delegate {
        _ if attached.network.real => {
            // Whether there is something to do is for the program to say.
            let ops = vec![plugin("DEL", attached, attachment)];
            return Undo { network: attached.network.name.clone(), unless_gone: None, ops };
        }
        Delegate::Bond(bond) => return attach_bond::del(bond, attached, attachment),
        Delegate::HostDevice { .. } | Delegate::Sriov(_) => {
            let back = |link: &Link| {
                let own = link.mac.filter(|_| own_mac(&attached.network.delegate, &here).is_some());
                let own = own.map(|mac| Op::Address { device: here.clone(), mac });
                own.into_iter().chain([Op::Move { from: here.clone(), to: link.device.clone() }])
            };
            // cmdDel() of sriov-cni: the PF speaks first, then the VF is released, with the address it had (ReleaseVF()).
            let reset = attached.taken.iter().filter_map(|link| told(&attached.said_before, link));
            let down = [Op::Down(here.clone())];
            reset.chain(down).chain(attached.taken.iter().flat_map(back)).collect()
        }
        _ => vec![Op::Delete(here.clone())],
    };
    Undo { network: attached.network.name.clone(), unless_gone: Some(here), ops }
}

#[cfg(test)]
mod tests {
    use crate::plan::attach::asking_daemon;

    #[test]
    fn the_plugin_asks_the_daemon_that_the_lab_starts() {
        let pasted = r#"{"ipam":{"daemonSocketPath":"/run/cni/dhcp.sock","type":"dhcp"},"type":"macvlan"}"#;
        let asked = pasted.replace("/run/cni/dhcp.sock", "@lab-cni-dhcp");
        assert_eq!(asking_daemon(pasted), asked);
        let bare = asking_daemon(r#"{"ipam":{"type":"dhcp"}}"#);
        assert!(bare.contains(r#""daemonSocketPath":"@lab-cni-dhcp""#), "{bare}");
    }
}
