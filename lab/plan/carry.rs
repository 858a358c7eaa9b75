//! Which links will have carrier, so that a run can wait for it.

use crate::topology::{Link, LinkKind, Topology};

/// Whether a link will have carrier once everything is up: itself, what it stands on, and a cable's other end.
pub fn can_carry(topology: &Topology, link: &Link) -> bool {
    if !link.up {
        return false;
    }
    // Of 802.3ad: fewer ports than min_links are no carrier (`bond_3ad_set_carrier()`).
    let fewest = match &link.kind {
        LinkKind::Bond(bond) => bond.min_links.unwrap_or(0).max(1) as usize,
        _ => 1,
    };
    match &link.kind {
        LinkKind::Dummy => true,
        LinkKind::Veth { peer } => topology.links.get(peer).is_some_and(|peer| peer.up),
        // QEMU's NICs have carrier by themselves, as long as the cable is in.
        LinkKind::Nic(_) | LinkKind::Pf(_) => true,
        LinkKind::Vf { of, .. } => topology.links.get(of).is_some_and(|pf| pf.up),
        LinkKind::Vlan { .. }
        | LinkKind::Ipvlan { .. }
        | LinkKind::Macvlan { .. }
        | LinkKind::Bond(_)
        | LinkKind::Bridge { .. } => {
            let below = link.below();
            let below = below.iter().filter_map(|below| topology.links.get(below));
            below.filter(|it| can_carry(topology, it)).count() >= fewest
        }
    }
}
