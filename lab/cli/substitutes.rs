//! Substitutes for emulated NICs that are not to be had.

use lab::host::vm::nics;
use lab::host::vm::qemu::Qemu;
use lab::topology::{Topology, substitute};

/// Substitutes for the NICs that this QEMU has not.
pub fn for_qemu(qemu: &Qemu, topology: &mut Topology) {
    if !nics::has_all(qemu, topology) {
        for_all(topology);
    }
}

/// Substitutes for all emulated NICs; the result says so. What they do not do is a skip, as without them.
pub fn for_all(topology: &mut Topology) {
    if let Err(why) = substitute::fall_back(topology) {
        let name = &topology.name;
        eprintln!("note: nothing stands in for the emulated NICs of {name}: the topology {why}");
    }
}
