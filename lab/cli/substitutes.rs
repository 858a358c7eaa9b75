//! Substitutes for emulated NICs that are not to be had.

use lab::host::vm::nics;
use lab::host::vm::qemu::Qemu;
use lab::topology::{Topology, substitute};

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
