//! The machine's NICs in QEMU's words: a PCIe slot each, and cables that stay inside the process.

use crate::vm::qemu::{Qemu, Version, VmSpec};
use bondlab_core::net::mode::NicDriver;
use bondlab_core::net::nic::{Slot, permanent_mac, slots};
use bondlab_core::topology::Topology;

/// hw/net/igb.c came with QEMU 8.0.
pub(crate) const IGB_SINCE: Version = Version { major: 8, minor: 0 };

/// Puts NICs into a machine. A cable is a hub with two ports: nothing of it leaves QEMU.
pub fn plug(spec: &mut VmSpec, slots: &[Slot]) {
    for (slot, Slot { driver, peer, .. }) in slots.iter().enumerate() {
        let hub = slot.min(*peer);
        spec.netdevs.push(format!("hubport,id=port{slot},hubid={hub}"));
        // igb's VFs need a function number of their own bus: behind a root port they have one (ARI).
        spec.devices.push(format!("pcie-root-port,id=root{slot},chassis={0},slot={0}", slot + 1));
        // Without the option ROM, which only a firmware that boots from the network would run.
        spec.devices.push(format!(
            "{},id={},bus=root{slot},netdev=port{slot},mac={},romfile=",
            model(*driver),
            name(slot),
            permanent_mac(slot)
        ));
    }
}

/// What QEMU calls a NIC that the kernel has that driver for.
fn model(driver: NicDriver) -> &'static str {
    match driver {
        // With guest_announce, QEMU 10.0 dies of announce-rounds 0 at the device's reset: its timer is gone then
        // (virtio_net_post_load_device(), virtio_net_reset()).
        NicDriver::VirtioNet => "virtio-net-pci,guest_announce=off",
        NicDriver::Igb | NicDriver::E1000e => driver.word(),
    }
}

/// What this QEMU has not of these NICs, in words.
pub fn lacks(qemu: &Qemu, slots: &[Slot]) -> Option<String> {
    let has_igb = qemu.version >= IGB_SINCE;
    let is_igb = |slot: &Slot| slot.driver == NicDriver::Igb;
    (!has_igb && slots.iter().any(is_igb)).then(|| {
        let release = &qemu.release;
        format!(
            "an emulated igb: QEMU {release} has none, 8.0 and later have (Debian 12: bookworm-backports)"
        )
    })
}

/// Whether this QEMU has all NICs of a topology.
pub fn has_all(qemu: &Qemu, topology: &Topology) -> bool {
    lacks(qemu, &slots(&topology.links)).is_none()
}

/// What QMP calls the NIC of a slot.
pub fn name(slot: usize) -> String {
    format!("nic{slot}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(driver: NicDriver, peer: usize) -> Slot {
        Slot { device: "node:eth0".parse().unwrap(), driver, peer }
    }

    #[test]
    fn both_ends_of_a_cable_are_in_one_hub() {
        let mut spec = VmSpec::new("/k".into(), "/i".into());
        let slots = [
            slot(NicDriver::Igb, 2),
            slot(NicDriver::E1000e, 3),
            slot(NicDriver::E1000e, 0),
            slot(NicDriver::Igb, 1),
        ];
        plug(&mut spec, &slots);
        let hubs: Vec<&str> =
            spec.netdevs.iter().filter_map(|netdev| netdev.split("hubid=").nth(1)).collect();
        assert_eq!(hubs, ["0", "1", "0", "1"]);
        assert_eq!(spec.devices.len(), 8);
        assert_eq!(spec.devices[7], "igb,id=nic3,bus=root3,netdev=port3,mac=02:00:5e:50:00:03,romfile=");
    }

    #[test]
    fn a_virtio_nic_has_a_name_of_its_own_in_qemu() {
        let mut spec = VmSpec::new("/k".into(), "/i".into());
        plug(&mut spec, &[slot(NicDriver::VirtioNet, 1), slot(NicDriver::E1000e, 0)]);
        assert!(
            spec.devices[1].starts_with("virtio-net-pci,guest_announce=off,id=nic0,"),
            "{:?}",
            spec.devices
        );
        assert!(spec.devices[3].starts_with("e1000e,id=nic1,"), "{:?}", spec.devices);
    }

    #[test]
    fn an_old_qemu_has_no_igb() {
        let qemu = |major, minor| Qemu {
            path: "/q".into(),
            release: format!("{major}.{minor}.19"),
            version: Version { major, minor },
        };
        let igb = [slot(NicDriver::Igb, 1), slot(NicDriver::E1000e, 0)];
        assert_eq!(lacks(&qemu(10, 0), &igb), None);
        assert_eq!(lacks(&qemu(7, 2), &igb[1..]), None);
        assert!(lacks(&qemu(7, 2), &igb).unwrap().contains("QEMU 7.2.19 has none"));
    }
}
