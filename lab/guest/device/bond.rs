//! A bond's options as netlink attributes, and whether what is read back is what was asked for.

use netlink_packet_core::Nla;
use netlink_packet_route::link::{
    BondAdSelect, BondAllPortActive, BondArpValidate, BondFailOverMac, BondLacpRate, BondMode,
    BondPrimaryReselect, BondXmitHashPolicy, InfoBond,
};

use bondlab_core::net::bond::Bond;

/// What was asked for, and nothing else. `primary` is the number of that port, which need not have joined yet:
/// `bond_option_primary_set()` keeps its name.
pub fn attributes(bond: &Bond, primary: Option<u32>) -> Vec<InfoBond> {
    let mut all = vec![InfoBond::Mode(BondMode::from(bond.mode.number()))];
    all.extend(bond.miimon.map(InfoBond::MiiMon));
    all.extend(bond.updelay.map(InfoBond::UpDelay));
    all.extend(bond.downdelay.map(InfoBond::DownDelay));
    all.extend(bond.use_carrier.map(InfoBond::UseCarrier));
    all.extend(bond.arp_interval.map(InfoBond::ArpInterval));
    if !bond.arp_ip_target.is_empty() {
        all.push(InfoBond::ArpIpTarget(bond.arp_ip_target.clone()));
    }
    if !bond.ns_ip6_target.is_empty() {
        all.push(InfoBond::NsIp6Target(bond.ns_ip6_target.clone()));
    }
    all.extend(bond.missed_max.map(InfoBond::MissedMax));
    all.extend(bond.arp_validate.map(|v| InfoBond::ArpValidate(BondArpValidate::from(v.number()))));
    all.extend(primary.map(InfoBond::Primary));
    let reselect = bond.primary_reselect.map(|v| BondPrimaryReselect::from(v.number()));
    all.extend(reselect.map(InfoBond::PrimaryReselect));
    all.extend(bond.fail_over_mac.map(|v| InfoBond::FailOverMac(BondFailOverMac::from(v.number()))));
    let policy = bond.xmit_hash_policy.map(|v| BondXmitHashPolicy::from(v.number()));
    all.extend(policy.map(InfoBond::XmitHashPolicy));
    all.extend(bond.lacp_rate.map(|v| InfoBond::AdLacpRate(BondLacpRate::from(v.number()))));
    all.extend(bond.lacp_active.map(InfoBond::AdLacpActive));
    all.extend(bond.ad_select.map(|v| InfoBond::AdSelect(BondAdSelect::from(v.number()))));
    all.extend(bond.min_links.map(InfoBond::MinLinks));
    let active = bond.all_slaves_active.map(|v| BondAllPortActive::from(u8::from(v)));
    all.extend(active.map(InfoBond::AllPortsActive));
    all.extend(bond.tlb_dynamic_lb.map(InfoBond::TlbDynamicLb));
    all.extend(bond.num_grat_arp.map(InfoBond::NumPeerNotif));
    all
}

/// One line for each attribute that does not stand in `got` as asked. Kernels take attributes they do not know
/// without a word (`bond_policy` ends where they do), so one that is not there is a difference too.
pub fn differences(asked: &[InfoBond], got: &[InfoBond], name_of: impl Fn(u32) -> String) -> Vec<String> {
    let mut out = Vec::new();
    for want in asked {
        let (word, value) = describe(want, &name_of);
        match got.iter().find(|attribute| attribute.kind() == want.kind()) {
            Some(have) if have == want => {}
            Some(have) => out.push(format!("{word} asked {value}, is {}", describe(have, &name_of).1)),
            None if matches!(want, InfoBond::Primary(_)) => {
                out.push(format!("{word} asked {value}, is none"));
            }
            None => out.push(format!("{word} asked {value}, but this kernel does not know it")),
        }
    }
    out
}

/// An attribute's word in `ip link` and its value in words.
fn describe(attribute: &InfoBond, name_of: impl Fn(u32) -> String) -> (&'static str, String) {
    let on = |on: &bool| String::from(if *on { "true" } else { "false" });
    match attribute {
        InfoBond::Mode(v) => ("mode", v.to_string()),
        InfoBond::MiiMon(v) => ("miimon", v.to_string()),
        InfoBond::UpDelay(v) => ("updelay", v.to_string()),
        InfoBond::DownDelay(v) => ("downdelay", v.to_string()),
        InfoBond::UseCarrier(v) => ("use_carrier", on(v)),
        InfoBond::ArpInterval(v) => ("arp_interval", v.to_string()),
        InfoBond::ArpIpTarget(v) => {
            ("arp_ip_target", v.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        }
        InfoBond::NsIp6Target(v) => {
            ("ns_ip6_target", v.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        }
        InfoBond::MissedMax(v) => ("missed_max", v.to_string()),
        InfoBond::ArpValidate(v) => ("arp_validate", v.to_string()),
        InfoBond::Primary(v) => ("primary", name_of(*v)),
        InfoBond::PrimaryReselect(v) => ("primary_reselect", v.to_string()),
        InfoBond::FailOverMac(v) => ("fail_over_mac", v.to_string()),
        InfoBond::XmitHashPolicy(v) => ("xmit_hash_policy", v.to_string()),
        InfoBond::AdLacpRate(v) => ("lacp_rate", v.to_string()),
        InfoBond::AdLacpActive(v) => ("lacp_active", on(v)),
        InfoBond::AdSelect(v) => ("ad_select", v.to_string()),
        InfoBond::MinLinks(v) => ("min_links", v.to_string()),
        InfoBond::AllPortsActive(v) => ("all_slaves_active", (u8::from(*v) != 0).to_string()),
        InfoBond::TlbDynamicLb(v) => ("tlb_dynamic_lb", on(v)),
        InfoBond::NumPeerNotif(v) => ("num_grat_arp", v.to_string()),
        other => ("attribute", format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;

    use super::*;
    use bondlab_core::net::name;

    fn bond() -> Bond {
        let topology = bondlab_core::topology::Topology::parse(
            "t",
            "t.toml",
            "[ns.node.dummy.d0]\n[ns.node.bond.bond0]\nmode = \"802.3ad\"\nports = [\"d0\"]\nmiimon = 100\nlacp_rate = \"fast\"\nlacp_active = false\n",
        )
        .unwrap();
        let link = &topology.links[&"node:bond0".parse::<name::DeviceRef>().unwrap()];
        match &link.kind {
            bondlab_core::net::link::LinkKind::Bond(bond) => (**bond).clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_was_asked_is_sent() {
        let attributes = attributes(&bond(), None);
        let mut bytes = vec![0; attributes.as_slice().buffer_len()];
        attributes.as_slice().emit(&mut bytes);
        assert_eq!(
            bytes,
            [
                5, 0, 1, 0, 4, 0, 0, 0, // IFLA_BOND_MODE
                8, 0, 3, 0, 100, 0, 0, 0, // IFLA_BOND_MIIMON
                5, 0, 21, 0, 1, 0, 0, 0, // IFLA_BOND_AD_LACP_RATE
                5, 0, 29, 0, 0, 0, 0, 0, // IFLA_BOND_AD_LACP_ACTIVE
            ]
        );
    }

    #[test]
    fn every_difference_has_a_name() {
        let asked = attributes(&Bond { primary: Some("d0".parse().unwrap()), ..bond() }, Some(7));
        let got = [
            InfoBond::Mode(BondMode::Ieee8023Ad),
            InfoBond::MiiMon(0),
            InfoBond::MinLinks(3),
            InfoBond::AdLacpRate(BondLacpRate::Slow),
        ];
        let name_of = |index| format!("d{}", index - 7);
        assert_eq!(
            differences(&asked, &got, name_of),
            [
                "miimon asked 100, is 0",
                "primary asked d0, is none",
                "lacp_rate asked fast, is slow",
                "lacp_active asked false, but this kernel does not know it",
            ]
        );
        assert!(differences(&asked, &asked, name_of).is_empty());
    }
}
