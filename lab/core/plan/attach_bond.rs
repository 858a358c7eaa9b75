//! What the bond plugin does, in the order of bond/bond.go of k8snetworkplumbingwg/bond-cni.

use crate::net::link::Link;
use crate::net::name::{DeviceRef, IfName};
use crate::plan::op::{Op, Undo};
use crate::topology::cni::attach::ASCII_OF_02_3F;
use crate::topology::cni::{Attached, Attachment, BondNet};

/// What the plugin takes for a bond's MTU when none is given, to compare with its links'.
const MTU_DEFAULT: u32 = 1500;

/// `createBond()`: links moved in, MTU compared, bond made, equal addresses changed, links enslaved, bond up.
pub(crate) fn add(bond: &BondNet, attached: &Attached, attachment: &Attachment) -> Vec<Op> {
    let in_pod = |name: &IfName| DeviceRef::new(&attachment.pod, name);
    let mut ops = Vec::new();
    for link in &attached.taken {
        ops.push(Op::Down(link.device.clone()));
        ops.push(Op::Move { from: link.device.clone(), to: in_pod(&link.device.name) });
    }
    ops.extend(refused_mtu(attached));
    let (made, ports) = attached.links.split_last().expect("the bond is the last of its links");
    ops.push(Op::Create { link: made.clone(), peer: None });
    ops.extend(duplicated_macs(ports));
    for name in &bond.links {
        let port = in_pod(name);
        ops.push(Op::Down(port.clone()));
        ops.push(Op::Join { port: port.clone(), controller: made.device.clone() });
        ops.push(Op::Up(port));
    }
    ops.push(Op::Up(made.device.clone()));
    ops
}

/// `ValidateMTU()`: only now, when the links have been moved.
fn refused_mtu(attached: &Attached) -> Option<Op> {
    let mtu = attached.network.mtu.unwrap_or(MTU_DEFAULT);
    let too_small = |link: &&Link| mtu > link.mtu.unwrap_or(MTU_DEFAULT);
    let link = attached.taken.iter().find(too_small)?;
    Some(Op::Refuse(format!(
        "invalid MTU ({mtu}). The requested MTU for bond is bigger than that of the slave link ({}), slave MTU ({})",
        link.device.name,
        link.mtu.unwrap_or(MTU_DEFAULT),
    )))
}

/// `HandleMacDuplicates()`: a link whose address an earlier one has gets a new one.
fn duplicated_macs(ports: &[Link]) -> Vec<Op> {
    let changed = ports.iter().filter(|link| link.mac == Some(ASCII_OF_02_3F));
    changed.map(|link| Op::Address { device: link.device.clone(), mac: ASCII_OF_02_3F }).collect()
}

/// `cmdDel()`: nothing at all when the bond is not there. Links given back stay down.
pub(crate) fn del(bond: &BondNet, attached: &Attached, attachment: &Attachment) -> Undo {
    let in_pod = |name: &IfName| DeviceRef::new(&attachment.pod, name);
    let made = in_pod(&attached.ifname);
    let mut ops = vec![Op::Down(made.clone())];
    for name in &bond.links {
        ops.extend([Op::Down(in_pod(name)), Op::Leave(in_pod(name)), Op::Up(in_pod(name))]);
    }
    ops.push(Op::Delete(made.clone()));
    for link in &attached.taken {
        let here = in_pod(&link.device.name);
        ops.push(Op::Down(here.clone()));
        ops.push(Op::Move { from: here, to: link.device.clone() });
    }
    Undo { network: attached.network.name.clone(), unless_gone: Some(made), ops }
}
