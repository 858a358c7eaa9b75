//! The machine's NICs in QEMU's words: a PCIe slot each, and cables that stay inside the process.

use crate::hardware::{Slot, permanent_mac};
use crate::host::qemu::VmSpec;

/// Puts NICs into a machine. A cable is a hub with two ports: nothing of it leaves QEMU.
pub fn plug(spec: &mut VmSpec, slots: &[Slot]) {
    for (slot, Slot { driver, peer, .. }) in slots.iter().enumerate() {
        let hub = slot.min(*peer);
        spec.netdevs.push(format!("hubport,id=port{slot},hubid={hub}"));
        // igb's VFs need a function number of their own bus: behind a root port they have one (ARI).
        spec.devices.push(format!("pcie-root-port,id=root{slot},chassis={0},slot={0}", slot + 1));
        // Without the option ROM, which only a firmware that boots from the network would run.
        spec.devices.push(format!(
            "{driver},id={},bus=root{slot},netdev=port{slot},mac={},romfile=",
            name(slot),
            permanent_mac(slot)
        ));
    }
}

/// What QMP calls the NIC of a slot.
pub fn name(slot: usize) -> String {
    format!("nic{slot}")
}
