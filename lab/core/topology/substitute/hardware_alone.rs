//! What a topology does or expects that no substitute for an emulated NIC does.

use crate::net::layer::Layer;
use crate::net::link::LinkKind;
use crate::net::name::{DeviceRef, NsName};
use crate::net::switch_port::{SwitchPort, unsupported_setting};
use crate::topology::Topology;
use crate::topology::cni::Attached;
use crate::topology::condition::Subject;
use crate::topology::fault::Fault;

/// The first such thing, in words that follow "the topology".
pub fn found(topology: &Topology) -> Option<String> {
    attachments(topology)
        .or_else(|| links(topology))
        .or_else(|| {
            topology.scenario.expect.iter().find_map(|expected| expectation(topology, &expected.subject))
        })
        .or_else(|| faults(topology))
}

/// Of a pod's attachment.
fn attachments(topology: &Topology) -> Option<String> {
    let attachments = topology.attachments.by_step.values();
    if let Some(network) = attachments.clone().find_map(|attachment| attachment.fails.as_ref()) {
        return Some(format!("expects ADD of {network} to fail"));
    }
    let told = |attached: &Attached| {
        let settings = attached.network.delegate.vf_settings()?;
        attached.taken.iter().find_map(|link| {
            let LinkKind::Vf { of, index } = &link.kind else { return None };
            let Some(LinkKind::Pf(nic)) = topology.links.get(of).map(|pf| &pf.kind) else { return None };
            let has = nic.vfs.get(usize::from(*index)).cloned().unwrap_or_default();
            let port = SwitchPort {
                address: has.mac,
                source: has.mac.filter(|_| has.spoofchk == Some(true)),
                vlan: has.vlan,
                ..SwitchPort::plain(link.device.clone())
            };
            port.told(settings).err()
        })
    };
    let word = attachments.flat_map(|attachment| &attachment.delegates).find_map(told)?;
    Some(format!("has a sriov plugin ask for {word}"))
}

/// Of its PFs and the settings of their VFs.
fn links(topology: &Topology) -> Option<String> {
    topology.links.values().find_map(|link| {
        let LinkKind::Pf(nic) = &link.kind else { return None };
        if topology.links.get(&nic.peer).is_some_and(|peer| matches!(peer.kind, LinkKind::Pf(_))) {
            return Some(format!("links two PFs ({} and {})", link.device, nic.peer));
        }
        let word = nic.vfs.iter().find_map(unsupported_setting)?;
        Some(format!("sets {word} of a VF of {}", link.device))
    })
}

fn expectation(topology: &Topology, subject: &Subject) -> Option<String> {
    let kind = |device: &DeviceRef| {
        topology.links.get(device).or_else(|| topology.attachments.devices.get(device)).map(|link| &link.kind)
    };
    match subject {
        Subject::Refused { .. } => Some(format!("expects a refusal of a driver's own ({subject})")),
        // A NIC refuses frames to other addresses before its driver sees them, in no counter; a veth takes every frame.
        Subject::Fate { layer, .. } if *layer == Layer::Wire.to_string() => {
            Some(format!("expects what a NIC itself refuses ({subject})"))
        }
        // Frames to an address that no VF has: igb hands them to its PF, the switch drops them (`DIFFERENCES`).
        Subject::Fate { layer, device: Some(device), .. }
            if *layer == Layer::Ip.to_string() && matches!(kind(device), Some(LinkKind::Pf(_))) =>
        {
            Some(format!("expects what a PF does with frames ({subject})"))
        }
        Subject::IpAddrOutput { ns, are } => {
            let is_hardware = |ns: &NsName, name: &str| {
                let name = name.parse().ok()?;
                kind(&DeviceRef { ns: ns.clone(), name }).map(LinkKind::is_hardware)
            };
            let plain = are.iter().filter(|one| one.on.is_none());
            let name = plain.map(|one| &one.name).find(|name| is_hardware(ns, name) == Some(true))?;
            Some(format!("expects what `ip address` prints of {name}: a veth has `@`"))
        }
        _ => None,
    }
}

fn faults(topology: &Topology) -> Option<String> {
    let unplugs = |(_, fault): &(&String, &Fault)| matches!(fault, Fault::Unplug { .. });
    let (name, _) = topology.scenario.faults.iter().find(unplugs)?;
    // An emulated igb's VFs do not hear of it (docs/vf.md), a switch's do: what the file expects is of the former.
    Some(format!("pulls a cable out (fault {name})"))
}
