//! A bond's options in the spellings of all formats, as words and values of a topology.

use crate::import::model::{Kind, Model};
use crate::net::address::Mac;
use crate::net::name::IfName;

/// What an option's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number,
    /// A truth value.
    Bool,
    /// One of these words, or its number.
    Word(&'static [&'static str]),
    /// A device.
    Device,
    /// IPv4 addresses.
    Addresses,
    /// IPv6 addresses.
    Addresses6,
    /// An Ethernet address.
    Mac,
}

/// The modes by their numbers.
pub const MODES: &[&str] =
    &["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"];

/// One option.
#[derive(Debug)]
pub struct Spec {
    /// The topology's word.
    pub name: &'static str,
    /// All spellings, in small letters without `-`, `_`, spaces and `bond` before them.
    spellings: &'static [&'static str],
    /// Its values.
    pub value: Value,
    /// What the kernel has without it; not written then.
    pub default: &'static str,
    /// Modes, by number, in which it does something; empty is all.
    pub modes: &'static [usize],
}

const POLICIES: &[&str] = &["layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"];
const VALIDATE: &[&str] = &["none", "active", "backup", "all", "filter", "filter_active", "filter_backup"];

/// All that topologies have. Modes: `unsuppmodes` of `bond_opts[]`, and what the driver reads in which mode.
pub const SPECS: &[Spec] = &[
    Spec {
        name: "mode",
        spellings: &["mode", "bondingmode"],
        value: Value::Word(MODES),
        default: "",
        modes: &[],
    },
    Spec {
        name: "miimon",
        spellings: &["miimon", "miimonitorinterval", "miimonitorsec", "miipollinginterval"],
        value: Value::Number,
        default: "",
        modes: &[],
    },
    Spec {
        name: "updelay",
        spellings: &["updelay", "updelaysec"],
        value: Value::Number,
        default: "0",
        modes: &[],
    },
    Spec {
        name: "downdelay",
        spellings: &["downdelay", "downdelaysec"],
        value: Value::Number,
        default: "0",
        modes: &[],
    },
    Spec { name: "use_carrier", spellings: &["usecarrier"], value: Value::Bool, default: "true", modes: &[] },
    Spec {
        name: "arp_interval",
        spellings: &["arpinterval", "arpintervalsec", "arppollinginterval"],
        value: Value::Number,
        default: "0",
        modes: &[0, 1, 2, 3],
    },
    Spec {
        name: "arp_ip_target",
        spellings: &["arpiptarget", "arpiptargets", "arpiptarget(s)"],
        value: Value::Addresses,
        default: "",
        modes: &[0, 1, 2, 3],
    },
    Spec {
        name: "arp_validate",
        spellings: &["arpvalidate"],
        value: Value::Word(VALIDATE),
        default: "none",
        modes: &[0, 1, 2, 3],
    },
    Spec {
        name: "arp_missed_max",
        spellings: &["missedmax", "arpmissedmax"],
        value: Value::Number,
        default: "2",
        modes: &[0, 1, 2, 3],
    },
    Spec {
        name: "primary",
        spellings: &["primary", "primaryslave"],
        value: Value::Device,
        default: "none",
        modes: &[1, 5, 6],
    },
    Spec {
        name: "primary_reselect",
        spellings: &["primaryreselect", "primaryreselectpolicy"],
        value: Value::Word(&["always", "better", "failure"]),
        default: "always",
        modes: &[1, 5, 6],
    },
    Spec {
        name: "fail_over_mac",
        spellings: &["failovermac", "failovermacpolicy"],
        value: Value::Word(&["none", "active", "follow"]),
        default: "none",
        modes: &[1],
    },
    Spec {
        name: "xmit_hash_policy",
        spellings: &["xmithashpolicy", "transmithashpolicy"],
        value: Value::Word(POLICIES),
        default: "layer2",
        modes: &[2, 4, 5],
    },
    Spec {
        name: "lacp_rate",
        spellings: &["lacprate", "lacptransmitrate"],
        value: Value::Word(&["slow", "fast"]),
        default: "slow",
        modes: &[4],
    },
    Spec {
        name: "lacp_active",
        spellings: &["lacpactive", "adlacpactive"],
        value: Value::Bool,
        default: "true",
        modes: &[4],
    },
    Spec {
        name: "ad_select",
        spellings: &["adselect", "aggregatorselectionpolicy", "aggregatorselectionpolicy(adselect)"],
        value: Value::Word(&["stable", "bandwidth", "count"]),
        default: "stable",
        modes: &[4],
    },
    Spec { name: "min_links", spellings: &["minlinks"], value: Value::Number, default: "0", modes: &[4] },
    Spec {
        name: "all_slaves_active",
        spellings: &["allslavesactive", "allportsactive", "allmembersactive"],
        value: Value::Bool,
        default: "false",
        modes: &[],
    },
    Spec {
        name: "tlb_dynamic_lb",
        spellings: &["tlbdynamiclb", "tlblogicallb", "dynamictransmitloadbalancing"],
        value: Value::Bool,
        default: "true",
        modes: &[5, 6],
    },
    Spec {
        name: "num_grat_arp",
        spellings: &["numgratarp", "numunsolna", "gratuitousarp", "gratuitiousarp", "numpeernotif"],
        value: Value::Number,
        default: "1",
        modes: &[],
    },
    Spec {
        name: "arp_all_targets",
        spellings: &["arpalltargets"],
        value: Value::Word(&["any", "all"]),
        default: "any",
        modes: &[0, 1, 2, 3],
    },
    Spec { name: "resend_igmp", spellings: &["resendigmp"], value: Value::Number, default: "1", modes: &[] },
    Spec {
        name: "lp_interval",
        spellings: &["lpinterval"],
        value: Value::Number,
        default: "1",
        modes: &[5, 6],
    },
    Spec {
        name: "packets_per_slave",
        spellings: &["packetsperslave"],
        value: Value::Number,
        default: "1",
        modes: &[0],
    },
    Spec {
        name: "peer_notif_delay",
        spellings: &["peernotifydelay", "peernotifdelay"],
        value: Value::Number,
        default: "0",
        modes: &[],
    },
    Spec {
        name: "ad_actor_sys_prio",
        spellings: &["adactorsysprio"],
        value: Value::Number,
        default: "65535",
        modes: &[4],
    },
    Spec {
        name: "ad_user_port_key",
        spellings: &["aduserportkey"],
        value: Value::Number,
        default: "0",
        modes: &[4],
    },
    Spec {
        name: "ad_actor_system",
        spellings: &["adactorsystem"],
        value: Value::Mac,
        default: "00:00:00:00:00:00",
        modes: &[4],
    },
    Spec {
        name: "coupled_control",
        spellings: &["coupledcontrol"],
        value: Value::Bool,
        default: "true",
        modes: &[4],
    },
    Spec {
        name: "broadcast_neighbor",
        spellings: &["broadcastneighbor", "broadcastneigh"],
        value: Value::Bool,
        default: "false",
        modes: &[4],
    },
    Spec {
        name: "lacp_strict",
        spellings: &["lacpstrict"],
        value: Value::Bool,
        default: "false",
        modes: &[4],
    },
    Spec {
        name: "ns_ip6_target",
        spellings: &["nsip6target", "nsip6targets"],
        value: Value::Addresses6,
        default: "",
        modes: &[0, 1, 2, 3],
    },
];

/// Options of a bond's port: their words, their least and largest value, and the one that the kernel has without them.
pub const OF_PORTS: [(&str, i64, i64, i64); 3] = [
    ("queue_id", 0, 65_535, 0),
    ("prio", i32::MIN as i64, i32::MAX as i64, 0),
    ("actor_port_prio", 0, 65_535, 255),
];

/// Sets an option of a bond's port, in any spelling; whether topologies have it.
pub fn set_of_port(model: &mut Model, port: &str, name: &str, value: &str) -> bool {
    let plain = plain(name);
    // nmstate and NetworkManager call it that.
    let plain = if plain == "priority" { "prio" } else { &plain };
    let Some((key, least, most, default)) =
        OF_PORTS.into_iter().find(|(key, ..)| key.replace('_', "") == plain)
    else {
        return false;
    };
    match value.parse::<i64>().ok().filter(|value| (least..=most).contains(value)) {
        Some(value) => {
            if let Some(link) = model.link(port).filter(|_| value != default) {
                link.port_options.insert(key, value);
            }
        }
        None => model.note(format!("option {name} of {port}: {value:?} is none of its values")),
    }
    true
}

/// Options without an effect on what a topology shows, with why; not worth a word where they have their default.
const KNOWN_ELSEWHERE: &[&str] = &[
    "packetspermember",
    "resendigmpmsec",
    "learnpacketinterval",
    "learnpacketintervalsec",
    "peernotificationdelay",
    "primaryname",
    "activeslave",
];

/// A spelling without what formats differ in.
fn plain(name: &str) -> String {
    let name: String =
        name.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect();
    match name.strip_prefix("bond") {
        Some(rest) if !rest.is_empty() && rest != "ingmode" => rest.to_owned(),
        _ => name,
    }
}

/// The option of a name in any spelling.
pub fn spec(name: &str) -> Option<&'static Spec> {
    let name = plain(name);
    SPECS.iter().find(|spec| spec.spellings.contains(&name.as_str()))
}

/// Sets an option of a bond; one that no topology has is a note.
pub fn set(model: &mut Model, bond: &str, name: &str, value: &str) {
    let Some(spec) = spec(name) else {
        if !KNOWN_ELSEWHERE.contains(&plain(name).as_str()) {
            model.note(format!("option {name} of {bond}: a topology has none of this name"));
        }
        return;
    };
    let value = value.trim().trim_matches(['"', '\'']);
    match normal(spec, value) {
        Some(value) => {
            if let Some(link) = model.link(bond) {
                link.kind = Kind::Bond;
                link.options.insert(spec.name, value);
            }
        }
        None if value.is_empty() || spec.value == Value::Device && value.eq_ignore_ascii_case("none") => {}
        None => model.note(format!("option {name} of {bond}: {value:?} is none of its values")),
    }
}

/// A value as a topology writes it.
fn normal(spec: &Spec, value: &str) -> Option<String> {
    let lower = value.to_lowercase();
    match spec.value {
        Value::Number => {
            let number = lower.trim_end_matches("ms").trim();
            if let Some(seconds) = number.strip_suffix('s') {
                let ms = seconds.trim().parse::<f64>().ok()? * 1000.0;
                return (0.0..=1e9).contains(&ms).then(|| format!("{ms:.0}"));
            }
            let most = match spec.name {
                "arp_missed_max" | "num_grat_arp" | "resend_igmp" => 255,
                "packets_per_slave" | "ad_actor_sys_prio" => 65_535,
                "ad_user_port_key" => 1023,
                "peer_notif_delay" => 300_000,
                _ => i32::MAX.unsigned_abs(),
            };
            number.parse::<u32>().ok().filter(|number| *number <= most).map(|number| number.to_string())
        }
        Value::Bool => match lower.as_str() {
            "1" | "on" | "true" | "yes" => Some("true".into()),
            "0" | "off" | "false" | "no" => Some("false".into()),
            _ => None,
        },
        Value::Word(words) => word(spec.name, words, &lower),
        Value::Device => {
            let name = value.split_whitespace().next()?;
            (!name.eq_ignore_ascii_case("none") && name.parse::<IfName>().is_ok()).then(|| name.to_owned())
        }
        Value::Addresses => {
            let parts = value.split([',', ' ']).map(str::trim).filter(|part| !part.is_empty());
            let all: Option<Vec<String>> =
                parts.map(|part| part.parse::<std::net::Ipv4Addr>().ok().map(|ip| ip.to_string())).collect();
            // BOND_MAX_ARP_TARGETS.
            all.filter(|all| (1..=16).contains(&all.len())).map(|all| all.join(","))
        }
        Value::Addresses6 => {
            let parts = value.split([',', ' ']).map(str::trim).filter(|part| !part.is_empty());
            let all: Option<Vec<String>> =
                parts.map(|part| part.parse::<std::net::Ipv6Addr>().ok().map(|ip| ip.to_string())).collect();
            // BOND_MAX_NS_TARGETS.
            all.filter(|all| (1..=16).contains(&all.len())).map(|all| all.join(","))
        }
        Value::Mac => lower.parse::<Mac>().ok().map(|mac| mac.to_string()),
    }
}

/// A word of the list, its number, or what /proc/net/bonding and others say for it.
fn word(option: &str, words: &[&str], value: &str) -> Option<String> {
    let first = value.split_whitespace().next().unwrap_or_default();
    if let Some(word) = words.iter().find(|word| **word == value || **word == first) {
        return Some((*word).into());
    }
    if let Some(word) = first.parse::<usize>().ok().and_then(|number| words.get(number)) {
        return Some((*word).into());
    }
    let said = match option {
        "mode" => mode_in_words(value)?,
        "lacp_rate" if value.starts_with('1') => "fast",
        "lacp_rate" if value.starts_with("30") => "slow",
        "xmit_hash_policy" => match value {
            "layer-2" => "layer2",
            "layer-3-and-4" | "layer34" => "layer3+4",
            "layer-2-and-3" | "layer23" => "layer2+3",
            _ => return None,
        },
        _ => return None,
    };
    Some(said.into())
}

/// `bond_mode_name()` of drivers/net/bonding/bond_main.c.
fn mode_in_words(value: &str) -> Option<&'static str> {
    let names = [
        ("load balancing (round-robin)", 0),
        ("fault-tolerance (active-backup)", 1),
        ("load balancing (xor)", 2),
        ("fault-tolerance (broadcast)", 3),
        ("ieee 802.3ad dynamic link aggregation", 4),
        ("transmit load balancing", 5),
        ("adaptive load balancing", 6),
    ];
    names.iter().find(|(name, _)| value.starts_with(name)).map(|(_, mode)| MODES[*mode])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("bond-lacp-rate", "1", "lacp_rate", "fast")]
    #[case("xmitHashPolicy", "layer3+4", "xmit_hash_policy", "layer3+4")]
    #[case("Transmit Hash Policy", "layer2+3 (2)", "xmit_hash_policy", "layer2+3")]
    #[case("mii-monitor-interval", "1s", "miimon", "1000")]
    #[case("MIIMonitorSec", "100ms", "miimon", "100")]
    #[case("bond_mode", "4", "mode", "802.3ad")]
    #[case("Bonding Mode", "adaptive load balancing", "mode", "balance-alb")]
    #[case("failOverMac", "1", "fail_over_mac", "active")]
    #[case("adLACPActive", "on", "lacp_active", "true")]
    fn options_are_known_by_every_spelling(
        #[case] name: &str,
        #[case] value: &str,
        #[case] option: &str,
        #[case] expected: &str,
    ) {
        let mut model = Model::default();
        set(&mut model, "bond0", name, value);
        let (_, link) = model.links.first().expect("it is made");
        assert_eq!(link.options.get(option).map(String::as_str), Some(expected), "{:?}", model.notes);
    }

    /// The port that is active now is a state, and no configuration.
    #[test]
    fn each_option_of_a_topology_can_be_imported() {
        let of_bonds = crate::net::bond_option::BOND_OPTIONS.iter().map(|row| row.key);
        let lost: Vec<&str> = of_bonds.filter(|key| !SPECS.iter().any(|spec| spec.name == *key)).collect();
        assert_eq!(lost, ["active_slave"]);
        let of_ports = crate::net::bond_option::PORT_OPTIONS.iter().map(|row| row.key);
        let lost: Vec<&str> =
            of_ports.filter(|key| !OF_PORTS.iter().any(|(known, ..)| known == key)).collect();
        assert_eq!(lost, [""; 0]);
    }

    #[test]
    fn an_option_or_value_that_no_topology_has_is_a_note() {
        let mut model = Model::default();
        set(&mut model, "bond0", "frobnicate", "1");
        set(&mut model, "bond0", "lacp_rate", "often");
        assert_eq!(model.notes.len(), 2, "{:?}", model.notes);
    }
}
