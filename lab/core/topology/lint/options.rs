//! Lint of options that the kernel takes and does nothing with.

use crate::net::bond_option::BondOptions;
use crate::net::mode::BondMode::{
    self, ActiveBackup, BalanceAlb, BalanceRr, BalanceTlb, BalanceXor, Ieee8023Ad,
};
use crate::net::option::Value;
use crate::topology::lint::Scope;
use crate::topology::lint::table::OPTION_IGNORED;

/// Options and the modes in which the driver reads them: Documentation/networking/bonding.rst, and who reads the parameter in
/// drivers/net/bonding. What the kernel refuses in a mode is not here: the checker says so.
const EFFECTIVE: &[(&str, &[BondMode])] = &[
    ("xmit_hash_policy", &[BalanceXor, Ieee8023Ad, BalanceTlb]),
    ("min_links", &[Ieee8023Ad]),
    ("ad_select", &[Ieee8023Ad]),
    ("fail_over_mac", &[ActiveBackup]),
    ("primary_reselect", &[ActiveBackup, BalanceTlb, BalanceAlb]),
    ("resend_igmp", &[BalanceRr, ActiveBackup, BalanceTlb, BalanceAlb]),
    ("num_grat_arp", &[ActiveBackup, Ieee8023Ad]),
    ("peer_notif_delay", &[ActiveBackup, Ieee8023Ad]),
    ("lp_interval", &[BalanceTlb, BalanceAlb]),
];

/// Options that are about another one: `option`, `needs`.
const NEEDS: &[(&str, &str)] = &[
    ("arp_ip_target", "arp_interval"),
    ("arp_validate", "arp_interval"),
    ("arp_missed_max", "arp_interval"),
    ("ns_ip6_target", "arp_interval"),
    ("arp_all_targets", "arp_validate"),
    ("primary_reselect", "primary"),
];

/// Modes in which an option does something; `None` where it does in all.
pub fn effective_in(key: &str) -> Option<&'static [BondMode]> {
    EFFECTIVE.iter().find(|(known, _)| *known == key).map(|(_, modes)| *modes)
}

fn has(options: &BondOptions, key: &str) -> bool {
    options.values().iter().any(|(row, value)| row.key == key && *value != Value::Number(0))
}

pub(super) fn ignored(scope: &mut Scope<'_>) {
    for written in scope.bonds() {
        let (device, mode) = (&written.device, written.bond.mode);
        for (row, _) in written.bond.options.values() {
            if let Some(modes) = effective_in(row.key).filter(|modes| !modes.contains(&mode)) {
                let words: Vec<&str> = modes.iter().map(|mode| mode.word()).collect();
                let message = format!(
                    "{device} has {}, which does nothing in mode {mode}, only in {}",
                    row.key,
                    words.join(", ")
                );
                scope.find(&OPTION_IGNORED, &written.place(row.key), message);
                continue;
            }
            let lacks =
                NEEDS.iter().find(|(key, needs)| *key == row.key && !has(&written.bond.options, needs));
            // Where there is no such monitor at all, that is what is said.
            let is_other = effective_in(row.key).is_none() && row.key.starts_with("arp_");
            let is_said = is_other && matches!(mode, Ieee8023Ad | BalanceTlb | BalanceAlb);
            if let Some((_, needs)) = lacks.filter(|_| !is_said) {
                let message = format!("{device} has {}, which does nothing without {needs}", row.key);
                scope.find(&OPTION_IGNORED, &written.place(row.key), message);
            }
        }
    }
}
