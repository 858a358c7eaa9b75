//! Lint of bonds: monitors, addresses of VFs, LACP's rates, selectors.

use crate::net::link::{Link, LinkKind};
use crate::net::mode::{BondMode, FailOverMac, LacpRate};
use crate::net::name::{DeviceRef, NsName};
use crate::topology::check::selectors;
use crate::topology::lint::table::{
    ARP_MONITOR_REFUSED, FAIL_OVER_MAC_VF, LACP_RATE_DIFFERS, LACP_RATE_UNSET, MIIMON_OFF,
    SELECTOR_AMBIGUOUS, TWO_MONITORS,
};
use crate::topology::lint::{NOWHERE, Scope, WrittenBond};

/// Modes without the ARP monitor; the kernel sets their miimon to 100 when they are chosen (`bond_option_mode_set()`).
fn lacks_arp_monitor(mode: BondMode) -> bool {
    matches!(mode, BondMode::Ieee8023Ad | BondMode::BalanceTlb | BondMode::BalanceAlb)
}

pub(super) fn miimon_off(scope: &mut Scope<'_>) {
    for written in scope.bonds() {
        let options = &written.bond.options;
        let is_off = options.miimon.map_or(!lacks_arp_monitor(written.bond.mode), |ms| ms == 0);
        let has_arp = options.arp_interval.unwrap_or(0) > 0;
        if is_off && !has_arp && !written.bond.ports.is_empty() {
            let said = if options.miimon.is_some() { "miimon 0" } else { "no miimon, which is 0" };
            let message = format!("{} has {said}, and no ARP monitor", written.device);
            scope.find(&MIIMON_OFF, &written.place("miimon"), message);
        }
    }
}

pub(super) fn arp_monitor_refused(scope: &mut Scope<'_>) {
    for written in scope.bonds().into_iter().filter(|written| lacks_arp_monitor(written.bond.mode)) {
        let options = &written.bond.options;
        let asked = [
            ("arp_interval", options.arp_interval.is_some()),
            ("arp_ip_target", options.arp_ip_target.is_some()),
            ("arp_validate", options.arp_validate.is_some()),
        ];
        for (key, _) in asked.into_iter().filter(|(_, is_asked)| *is_asked) {
            let message = format!("{} has {key} in mode {}", written.device, written.bond.mode);
            scope.find(&ARP_MONITOR_REFUSED, &written.place(key), message);
        }
    }
}

pub(super) fn two_monitors(scope: &mut Scope<'_>) {
    for written in scope.bonds() {
        let options = &written.bond.options;
        if options.miimon.unwrap_or(0) > 0 && options.arp_interval.unwrap_or(0) > 0 {
            let message = format!("{} has both miimon and arp_interval", written.device);
            scope.find(&TWO_MONITORS, &written.place("arp_interval"), message);
        }
    }
}

pub(super) fn fail_over_mac_vf(scope: &mut Scope<'_>) {
    let topology = scope.topology;
    let written = scope.bonds();
    for link in topology.all_links() {
        let LinkKind::Bond(bond) = &link.kind else { continue };
        let is_safe = match bond.mode {
            BondMode::ActiveBackup => {
                bond.options.fail_over_mac.is_some_and(|policy| policy != FailOverMac::None)
            }
            BondMode::BalanceAlb => false,
            // Their ports take the bond's address once, before anything is sent: the PF of a VF can be given it.
            _ => true,
        };
        let mut ports = bond.ports.iter().map(|port| DeviceRef::new(&link.device.ns, port));
        let Some(port) = ports.find(|port| is_untrusted_vf(scope, port)).filter(|_| !is_safe) else {
            continue;
        };
        let message = format!(
            "{} in mode {} has the VF {port} as its port, without fail_over_mac active or a trusted VF",
            link.device, bond.mode
        );
        let own = written.iter().find(|written| written.device == link.device);
        let span = own.map_or(NOWHERE, |written| written.place("fail_over_mac"));
        scope.find(&FAIL_OVER_MAC_VF, &span, message);
    }
}

/// Whether a device is a VF that its PF does not trust, whatever is in its place here.
fn is_untrusted_vf(scope: &Scope<'_>, device: &DeviceRef) -> bool {
    let table = |ns: &NsName| scope.namespaces().find(|(known, _)| *known == ns).map(|(_, table)| table);
    let written = table(&device.ns).and_then(|table| {
        table
            .vf
            .iter()
            .find(|(name, _)| name.value == device.name)
            .map(|(_, vf)| (&vf.of.value, vf.index.value))
    });
    let Some((of, index)) = written else {
        // A pod's VF has no table of its own.
        return matches!(scope.topology.link(device).map(|link| &link.kind), Some(LinkKind::Vf { .. }));
    };
    let pf = table(&of.ns)
        .and_then(|table| table.pf.iter().find(|(name, _)| name.value == of.name).map(|(_, pf)| pf));
    let said = pf.and_then(|pf| pf.vf.iter().find(|(number, _)| number.value == index.to_string()));
    said.and_then(|(_, settings)| settings.trust) != Some(true)
}

pub(super) fn selector_ambiguous(scope: &mut Scope<'_>) {
    for written in scope.bonds().into_iter().filter(|written| !written.table.device_selectors.is_empty()) {
        let Some((_, table)) = scope.namespaces().find(|(ns, _)| **ns == written.device.ns) else { continue };
        for stranger in selectors::strangers(table, scope.topology, &written.device) {
            let kind = scope.topology.links.get(&stranger).map_or("device", |link| link.kind.word());
            let message =
                format!("selectors of {} match the {kind} {stranger} too, once it is there", written.device);
            scope.find(&SELECTOR_AMBIGUOUS, &written.name.span, message);
        }
        for name in selectors::matched_twice(table, written.table) {
            let message = format!("two selectors of {} match {name}: it has one port less", written.device);
            scope.find(&SELECTOR_AMBIGUOUS, &written.name.span, message);
        }
    }
}

fn is_lacp(link: &Link) -> bool {
    matches!(&link.kind, LinkKind::Bond(bond) if bond.mode == BondMode::Ieee8023Ad)
}

pub(super) fn lacp_rate_unset(scope: &mut Scope<'_>) {
    for written in scope.bonds() {
        if written.bond.mode == BondMode::Ieee8023Ad && written.bond.options.lacp_rate.is_none() {
            let message = format!("{} does not say lacp_rate", written.device);
            scope.find(&LACP_RATE_UNSET, &written.name.span, message);
        }
    }
}

pub(super) fn lacp_rate_differs(scope: &mut Scope<'_>) {
    for written in scope.bonds().into_iter().filter(|written| asks_fast(written)) {
        let ports = written.bond.ports.iter().map(|port| DeviceRef::new(&written.device.ns, port));
        let peers = ports.filter_map(|port| match &scope.topology.links.get(&port)?.kind {
            LinkKind::Veth { peer } => Some(peer.clone()),
            LinkKind::Nic(nic) | LinkKind::Pf(nic) => Some(nic.peer.clone()),
            _ => None,
        });
        let partner = peers.filter_map(|peer| scope.bond_of(&peer)).find(|bond| is_lacp(bond));
        let Some(Link { device, kind: LinkKind::Bond(bond), .. }) = partner else { continue };
        if bond.options.lacp_rate != Some(LacpRate::Fast) {
            let message =
                format!("{} asks for LACPDUs each second, its partner {device} each 30 s", written.device);
            scope.find(&LACP_RATE_DIFFERS, &written.place("lacp_rate"), message);
        }
    }
}

fn asks_fast(written: &WrittenBond<'_>) -> bool {
    written.bond.mode == BondMode::Ieee8023Ad && written.bond.options.lacp_rate == Some(LacpRate::Fast)
}
