//! Substitutes for emulated NICs that are not to be had.

use bondlab_core::topology::{Topology, substitute};
use bondlab_host::vm::nics;
use bondlab_host::vm::qemu::Qemu;

/// Substitutes for the NICs that this QEMU has not; whether there are any.
pub fn for_qemu(qemu: &Qemu, topology: &mut Topology) -> bool {
    !nics::has_all(qemu, topology) && for_all(topology)
}

/// Substitutes for all emulated NICs; whether there are any, which the result says. What they do not do is a skip, as
/// without them.
pub fn for_all(topology: &mut Topology) -> bool {
    match substitute::fall_back(topology) {
        Ok(used_fallback) => used_fallback,
        Err(why) => {
            let name = &topology.name;
            eprintln!("note: nothing stands in for the emulated NICs of {name}: the topology {why}");
            false
        }
    }
}
